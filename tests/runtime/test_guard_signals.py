"""What a signal's handler of the application raises reaches the application, also out of our code."""

from __future__ import annotations

import json
import signal

import pytest

from voicespan.openai_realtime.protocol import Protocol
from voicespan.runtime import guard, settings
from voicespan.tracing.conversation import Conversation

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signals here")


class TimeUpError(Exception):
    """As Celery's `SoftTimeLimitExceeded`, or what people raise from SIGALRM."""


def time_is_up(*_):
    raise TimeUpError


class Limits:
    def time_is_up(self, *_):
        raise TimeUpError


@pytest.fixture(params=[time_is_up, Limits().time_is_up], ids=["function", "method"])
def signalled(request, monkeypatch):
    """Sends the signal to this thread, as when an alarm rings in the middle of what it does."""
    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setattr(guard, "_reported", set())
    before = signal.signal(signal.SIGUSR1, request.param)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_it_passes_the_guard(signalled):
    with pytest.raises(TimeUpError):
        guard.guarded(signalled)()
    with pytest.raises(TimeUpError), guard.guard():
        signalled()


def test_what_anybody_else_raises_does_not(signalled, caplog):
    def broken():
        raise TimeUpError

    assert guard.guarded(broken)() is None
    with guard.guard():
        raise TimeUpError
    assert "could not record something" in caplog.text


def test_it_reaches_who_reads_frames_and_the_conversation_goes_on(
    signalled, tracer_provider, span_exporter, monkeypatch
):
    rings = iter([True])

    def redact(text, *_arguments, **_named):
        if next(rings, False):
            signalled()
        return text

    monkeypatch.setattr(settings, "_redact", redact)
    conversation = Conversation(tracer_provider=tracer_provider)
    connection = conversation.connect(Protocol(), {})
    with pytest.raises(TimeUpError):
        for number in range(3):
            connection.received(called(number))
            conversation.flush()
    connection.received(called(7))
    conversation.end()
    assert "function_call: look_up" in [span.name for span in span_exporter.get_finished_spans()]


def called(number):
    done = {"type": "response.function_call_arguments.done", "response_id": "r", "name": "look_up"}
    return json.dumps(
        {**done, "item_id": f"i{number}", "call_id": f"c{number}", "arguments": '{"a": "b"}'}
    ).encode()
