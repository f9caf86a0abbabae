"""A process that holds conversations as its standard input tells it, and tells what it has done.

Each line in is a command with arguments, each line out a JSON answer to it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid

from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.tracing.conversation import Conversation

provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor())
tracer = provider.get_tracer("voicespan")
theirs = provider.get_tracer("the-app")
conversations = []
spans = {}


def open_(thread_id=None):
    conversations.append(Conversation(tracer_provider=provider, thread_id=thread_id))
    return {"run": conversations[-1].run_id, "folder": _folder(conversations[-1])}


def child(name, end=True):
    with conversations[-1].use():
        span = tracer.start_span(name)
    if end:
        span.end()
    else:
        spans[name] = span
    return {"run": str(uuid.UUID(int=span.context.span_id))}


def start(name):
    return child(name, end=False)


def attach(size):
    conversations[-1].attach_recording(b"s" * int(size), "audio/ogg")
    return {}


def expect(seconds):
    conversations[-1].expect_recording(float(seconds))
    return {}


def speak(seconds):
    """Both sides speak, in real time."""
    recorder = conversations[-1].recorder
    for _ in range(round(float(seconds) / 0.02)):
        recorder.user(b"\x10\x20" * 480)
        recorder.agent(b"\x20\x10" * 480)
        time.sleep(0.02)
    return {}


def end():
    conversations[-1].end()
    return {}


def sleep(seconds):
    time.sleep(float(seconds))
    return {}


def flush(seconds):
    return {"flushed": provider.force_flush(round(float(seconds) * 1000))}


def fork(*commands):
    """A child that does the commands and ends by `os._exit`."""
    pid = os.fork()
    if not pid:
        for command in commands:
            COMMANDS[command.split(":")[0]](*command.split(":")[1:])
        os._exit(0)
    os.waitpid(pid, 0)
    return {}


def die(how):
    if how == "os._exit":
        os._exit(3)
    if how == "sys.exit":
        sys.exit(3)
    raise RuntimeError("as an application's mistake")


def _folder(conversation):
    delivery = conversation.deliveries[0]
    delivery._wait()
    return str(delivery.folder)


COMMANDS = {
    "open": open_,
    "child": child,
    "start": start,
    "attach": attach,
    "expect": expect,
    "speak": speak,
    "end": end,
    "sleep": sleep,
    "flush": flush,
    "fork": fork,
    "die": die,
}

if __name__ == "__main__":
    for line in sys.stdin:
        command, *arguments = line.split()
        sys.stdout.write(json.dumps(COMMANDS[command](*arguments)) + "\n")
        sys.stdout.flush()
