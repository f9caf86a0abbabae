"""Holds as many calls as it can open sockets for, each with a recording, and says how many. Then they end.

Arguments: the descriptors that it may have; `traced` or `untraced`.
"""

from __future__ import annotations

import resource
import socket
import sys
import time

from opentelemetry.sdk.trace import TracerProvider

import voicespan

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
traced = sys.argv[2] == "traced"
provider = TracerProvider(shutdown_on_exit=False)
if traced:
    processor = voicespan.LangSmithSpanProcessor()
    provider.add_span_processor(processor)
    voicespan.tracing.tracer.name_provider(provider)
held, calls, opened = [], [], []
try:
    while True:
        held.append(socket.socket())
        if traced:
            scope = voicespan.conversation()
            calls.append(scope)
            opened.append(scope.__enter__())
            opened[-1].recorder.user(b"\1\2" * 4_800, 24_000)
            # In the middle of the calls there is time for them to be written, and files to be opened.
            if len(held) % 50 == 0:
                time.sleep(0.7)
except OSError:
    sys.stdout.write(f"{len(held)}\n")
    sys.stdout.flush()
for each in held:
    each.close()
for conversation in opened:
    conversation.recorder.user(b"\1\2" * 4_800, 24_000)
for scope in calls:
    scope.__exit__(None, None, None)
if traced:
    processor.shutdown()
