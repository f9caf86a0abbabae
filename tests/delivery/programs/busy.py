"""A process that holds conversations without end, and writes down what has ended, when it has.

Usage: busy.py LOG [record]. What stands in LOG is known to have ended then, whatever happens to the process. `record`:
what no client records is recorded by voicespan.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
import time
import uuid

from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.tracing.conversation import Conversation

provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor())
tracer = provider.get_tracer("voicespan")
record = "record" in sys.argv
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def tell(**facts):
    os.write(log, json.dumps({"at": time.time(), **facts}).encode() + b"\n")


def run_id(span):
    return str(uuid.UUID(int=span.context.span_id))


def converse(chance):
    conversation = Conversation(tracer_provider=provider)
    for _ in range(chance.randint(1, 12)):
        with conversation.use():
            span = tracer.start_span(
                "turn_complete", attributes={"gen_ai.completion": "x" * chance.randint(1, 5000)}
            )
        time.sleep(chance.uniform(0, 0.03))
        span.end()
        tell(run=run_id(span), root=conversation.run_id)
    recording = None
    if chance.random() < 0.7:
        recording = chance.randbytes(chance.randint(1, 200_000))
        conversation.attach_recording(recording, "audio/ogg")
    elif record:
        conversation.recorder.user(chance.randbytes(9600))
        conversation.recorder.agent(chance.randbytes(9600))
    conversation.end()
    tell(
        run=conversation.run_id,
        root=conversation.run_id,
        recording=recording and hashlib.sha256(recording).hexdigest(),
        recorded=record and recording is None,
        ended=True,
    )


def talk(seed):
    chance = random.Random(seed)
    while True:
        converse(chance)


if __name__ == "__main__":
    for seed in range(2):
        threading.Thread(target=talk, args=(f"{os.getpid()}-{seed}",), daemon=True).start()
    time.sleep(60)
