from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery.processor import LangSmithSpanProcessor
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.registry import open_conversations

_OURS = ("LANGSMITH_", "LANGCHAIN_", "VOICESPAN_", "HOSTED_LANGSERVE")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path, tmp_path_factory):
    """Nothing of the machine's own settings, and no spool outside of the test's folder."""
    import os

    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "no-profiles.json"))
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    # Where a spool goes that cannot be used; every spool looks there for what waits.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "10")


@pytest.fixture
def spool_dir(tmp_path):
    return tmp_path / "spool"


class Agent:
    """A process with a processor, as far as one test needs it."""

    def __init__(self, server, **arguments):
        arguments = {"endpoint": server.url, "api_key": server.api_key, **arguments}
        self.server = server
        self.processor = LangSmithSpanProcessor(**arguments)
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("voicespan")

    def conversation(self, **arguments):
        return Conversation(tracer_provider=self.provider, **arguments)

    def child(self, conversation, name="turn_complete", tracer=None, **attributes):
        """A span below the conversation's root that starts and ends now."""
        with conversation.use():
            span = (tracer or self.tracer).start_span(name, attributes=attributes)
            span.end()
        return span

    def deliver(self, timeout=10.0):
        return self.processor.force_flush(int(timeout * 1000))


@pytest.fixture
def agent(langsmith_server):
    agents = []

    def start(**arguments):
        started = Agent(langsmith_server, **arguments)
        agents.append(started)
        return started

    yield start
    for started in agents:
        langsmith_server.clear_failures()
        langsmith_server.release()
        started.processor.shutdown()


class ManualAgent(Agent):
    """The same without threads: the test calls the steps, and the clock moves when the test says so."""

    def __init__(self, server, clock, **arguments):
        super().__init__(server, **arguments)
        self.clock = clock
        self.processor._clock = clock

    @property
    def pipeline(self):
        return self.processor._running()

    def write(self):
        """What the writer's thread does, after that which copies recordings; seconds until it is due again."""
        while self.pipeline.spool.copies.pending:
            self.pipeline.spool.copies.step()
        return self.pipeline.writer.step()

    def send(self):
        """What the sender's thread does: one folder; seconds until it is due again."""
        return self.pipeline.scheduler.step()

    def send_for(self, seconds):
        """Let so many seconds pass, the sender working as it likes; how many steps it took."""
        end = self.clock.monotonic_ns() + round(seconds * 1e9)
        steps = 0
        while True:
            left = (end - self.clock.monotonic_ns()) / 1e9
            delay = self.send()
            steps += 1
            if delay >= left:
                self.clock.advance(max(left, 0.0))
                return steps
            self.clock.advance(delay)

    def conversation(self, **arguments):
        conversation = super().conversation(clock=self.clock, **arguments)
        self.write()
        return conversation

    def finish(self, conversation):
        """End the conversation and have its folder complete."""
        conversation.end()
        self.write()


@pytest.fixture
def manual(monkeypatch, langsmith_server, fake_clock):
    from voicespan.runtime.background import Loop

    monkeypatch.setattr(Loop, "wake", lambda self, *, urgent=False: None)

    def start(server=langsmith_server, **arguments):
        return ManualAgent(server, fake_clock, **arguments)

    yield start
    # What a test left open must not be ended, and delivered, when the tests are over.
    for conversation in open_conversations():
        conversation.discard_after_fork()
