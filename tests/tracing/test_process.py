"""What becomes of open conversations when a process ends or forks: real processes, and what they export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Send

CREATED = {"type": "session.created", "event_id": "e", "session": {"id": "sess_1"}}

PROLOGUE = """
import json, os, signal, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class Lines(SpanExporter):
    def export(self, spans):
        for span in spans:
            line = {"pid": os.getpid(), "name": span.name, "id": span.context.span_id, "root": span.parent is None}
            line["status"] = span.attributes.get("langsmith.metadata.status")
            os.write(1, (json.dumps(line) + "\\n").encode())
        return SpanExportResult.SUCCESS
    def shutdown(self): ...

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
OpenAIRealtimeInstrumentor().instrument(tracer_provider=provider)
from openai import OpenAI
connection = OpenAI(api_key="k", websocket_base_url=sys.argv[1]).realtime.connect(model="m").enter()
connection.recv()
"""


@pytest.fixture
def run():
    def run(program, *, code=0):
        with OpenAIRealtimeServer([Send(CREATED)]) as server:
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", PROLOGUE + textwrap.dedent(program), server.url],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        assert done.returncode == code, done.stderr
        assert "Exception ignored" not in done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise SystemExit", 0),
    ],
)
def test_a_process_that_ends_ends_its_conversations(run, program, code):
    (root,) = [span for span in run(program, code=code) if span["root"]]
    assert root["status"] == "process ended"


def test_a_scope_that_an_exception_leaves_is_ended_by_it(run):
    spans = run(
        """
        import voicespan
        connection.close()
        try:
            with voicespan.conversation():
                raise ValueError
        except ValueError:
            pass
        """
    )
    assert [span["status"] for span in spans if span["root"]] == ["completed", "error"]


def test_a_forked_child_leaves_the_conversation_to_its_parent(run):
    spans = run(
        """
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            # Whatever the child does with what it inherited: the spans are the parent's to tell.
            from voicespan.tracing.scope import current_conversation
            from voicespan.tracing.registry import open_conversations
            assert not open_conversations()
            assert current_conversation() is None
            connection._voicespan.connection.received(b'{"type": "rate_limits.updated"}')
            with provider.get_tracer("app").start_as_current_span("work of the child"):
                pass
            sys.exit(0)
        os.waitpid(child, 0)
        connection.close()
        """
    )
    (root,) = [span for span in spans if span["name"] == "conversation"]
    assert root["status"] == "completed"
    (work,) = [span for span in spans if span["name"] == "work of the child"]
    assert work["pid"] != root["pid"]
    assert work["root"]


def test_a_child_can_hold_conversations_of_its_own(run):
    spans = run(
        """
        child = os.fork()
        if child == 0:
            with OpenAI(api_key="k", websocket_base_url=sys.argv[1]).realtime.connect(model="m") as own:
                own.recv()
            sys.exit(0)
        os.waitpid(child, 0)
        connection.close()
        """
    )
    roots = [span for span in spans if span["root"]]
    assert len({root["pid"] for root in roots}) == 2
    assert len({root["id"] for root in roots}) == 2
