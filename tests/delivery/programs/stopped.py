"""Calls one after the other until a SIGTERM comes, whose handler shuts the tracer provider down: `stopped.py WAY SECONDS`.

After `SECONDS` the signal comes WAY: by `kill` from outside, or raised by a `hook` of the application's inside our own
code. `thread`: the handler has another thread shut it down, and waits for that one.

Prints how long the shutdown took and which conversations had ended.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import voicespan
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.openai_realtime.protocol import Protocol
from voicespan.runtime import settings
from voicespan.tracing import tracer as tracing_tracer

way, ready_at = sys.argv[1], time.monotonic() + float(sys.argv[2])
provider = TracerProvider(shutdown_on_exit=False)
ended = []


def stop(*_):
    began = time.monotonic()
    if way == "thread":
        stopping = threading.Thread(target=provider.shutdown)
        stopping.start()
        stopping.join()
    else:
        provider.shutdown()
    sys.stdout.write(json.dumps({"took": time.monotonic() - began, "ended": ended}))
    sys.stdout.flush()
    os._exit(0)


def reached(place):
    """One of the application's hooks is called in the middle of our code, on the thread of the signal's handler."""
    if (
        place == way
        and ended
        and time.monotonic() > ready_at
        and threading.current_thread() is threading.main_thread()
    ):
        signal.raise_signal(signal.SIGTERM)


class Processor(SpanProcessor):
    def on_start(self, span, parent_context=None):
        reached("on_start")

    def on_end(self, span):
        reached("on_end")


class Filter(logging.Filter):
    def filter(self, record):
        reached("log")
        return True


def redact(text, *_arguments, **_named):
    reached("redact")
    return text


def arguments_done(number):
    done = {"type": "response.function_call_arguments.done", "response_id": "r", "name": "look_up"}
    return json.dumps({**done, "item_id": f"i{number}", "call_id": f"c{number}", "arguments": "{}"}).encode()


def answered(number):
    output = {"type": "function_call_output", "call_id": f"c{number}", "output": "{}"}
    return json.dumps({"type": "conversation.item.create", "item": output})


def call(first):
    with voicespan.conversation() as conversation:
        connection = conversation.connect(Protocol(), {})
        for number in range(first, first + 20):
            connection.received(arguments_done(number))
            with provider.get_tracer("the-app").start_as_current_span("own"):
                pass
            connection.sent(answered(number))
            # More than are kept: each says so, once.
            conversation.set_metadata(**{f"fact_{number}": number})
    ended.append(conversation.run_id)


signal.signal(signal.SIGTERM, stop)
settings.set_redaction(redact)
provider.add_span_processor(LangSmithSpanProcessor())
provider.add_span_processor(Processor())
tracing_tracer.name_provider(provider)
logging.getLogger("voicespan").addFilter(Filter())
if way in ("kill", "thread"):
    later = threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGTERM))
    later.daemon = True
    later.start()
for first in range(0, 1_000_000, 20):
    call(first)
    if way == "log":
        logging.getLogger("voicespan").warning("as ours")
