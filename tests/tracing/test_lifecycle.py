"""A conversation ends once and says how; no hook that hangs, no missing thread and no missing memory is the application's."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from opentelemetry.sdk.trace import SpanProcessor

import voicespan
from voicespan.openai_realtime.protocol import Protocol
from voicespan.protocol import events
from voicespan.runtime import guard
from voicespan.runtime.settings import Settings
from voicespan.tracing import event_queue, resumption, scope
from voicespan.tracing.conversation import Conversation


class ConnectionClosedOK(Exception):  # noqa: N818  as in websockets
    """A normal close."""


@pytest.fixture
def conversation(tracer_provider):
    return Conversation(tracer_provider=tracer_provider, scoped=True, settings=Settings())


@pytest.fixture
def status(span_exporter):
    """The root's status, as metadata and as a status code."""

    def status():
        (root,) = [span for span in span_exporter.get_finished_spans() if span.parent is None]
        return root.attributes["langsmith.metadata.status"], root.status.status_code.name

    return status


def error(message):
    return events.ErrorReported(1, "error", events.WireError("server_error", message))


def happen(conversation, *happened):
    with conversation.lifecycle.lock:
        conversation.lifecycle.ingest(list(happened))


def test_a_normal_close_that_leaves_the_block_is_no_error(conversation, status):
    connection = conversation.connect(Protocol(), {})
    closed = ConnectionClosedOK()
    connection.lost(closed, 1000, "")
    connection.closed(error=closed)
    conversation.end(closed)
    assert status() == ("completed", "UNSET")


def test_a_task_that_is_cancelled_once_the_socket_has_closed_is_completed(conversation, status):
    connection = conversation.connect(Protocol(), {})
    connection.lost(ConnectionClosedOK(), 1000, "")
    connection.closed(error=asyncio.CancelledError())
    conversation.end(asyncio.CancelledError())
    assert status() == ("completed", "UNSET")


def group(*errors):
    """What a task group raises (Python 3.11 has one, others install it)."""
    kind = type("ExceptionGroup", (Exception,), {})
    raised = kind("tasks")
    raised.exceptions = errors
    return raised


@pytest.mark.parametrize(
    "closed", [ConnectionClosedOK(), LookupError("the SDK's own, which its code explains")], ids=["OK", "SDK"]
)
def test_a_normal_close_that_leaves_one_block_after_the_other_is_no_error(conversation, status, closed):
    connection = conversation.connect(Protocol(), {})
    connection.lost(closed, 1000, "")
    connection.closed(error=group(closed))
    conversation.end(group(group(closed), closed))
    assert status() == ("completed", "UNSET")
    assert conversation.lifecycle._status._loss is None


def test_what_fails_beside_the_close_is_an_error(conversation, status):
    connection = conversation.connect(Protocol(), {})
    closed = ConnectionClosedOK()
    connection.lost(closed, 1000, "")
    connection.closed()
    conversation.end(group(closed, LookupError("mine")))
    assert status() == ("error", "ERROR")


def test_a_group_of_cancellations_is_one(conversation, status):
    connection = conversation.connect(Protocol(), {})
    cancelled = group(asyncio.CancelledError(), asyncio.CancelledError())
    connection.closed(error=cancelled)
    conversation.end(cancelled)
    assert status() == ("cancelled", "UNSET")


def test_a_task_that_is_cancelled_in_the_middle_is_cancelled(conversation, status):
    connection = conversation.connect(Protocol(), {})
    connection.closed(error=asyncio.CancelledError())
    conversation.end(asyncio.CancelledError())
    assert status() == ("cancelled", "UNSET")


def test_the_users_code_runs_under_no_lock_but_the_queues(conversation, tracer_provider, unattended):
    """In another thread the lifecycle's lock is free while a processor hears of a span, of the root as well."""
    free = []

    class Processor(SpanProcessor):
        def on_end(self, span):
            def look():
                acquired = conversation.lifecycle.lock.acquire(timeout=0)
                free.append((span.name, acquired))
                if acquired:
                    conversation.lifecycle.lock.release()

            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

    tracer_provider.add_span_processor(Processor())
    connection = conversation.connect(Protocol(), {})
    happen(conversation, error("one"))
    connection.closed()
    conversation.end()
    assert ("error", True) in free
    assert ("conversation", True) in free
    assert all(acquired for _, acquired in free)


def test_a_hook_that_hangs_holds_neither_a_checkpoint_nor_the_end(conversation, tracer_provider, monkeypatch):
    monkeypatch.setattr(event_queue, "PATIENCE", 0.01)
    hangs, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    class Hanging(SpanProcessor):
        def on_end(self, span):
            if span.name == "error":
                hangs.set()
                goes_on.wait(60)
            elif span.name == "conversation":
                ended.set()

    tracer_provider.add_span_processor(Hanging())
    happen(conversation, error("one"))
    assert hangs.wait(30)
    assert conversation.root_facts() is None
    with conversation.tool_call("c1"):
        pass
    conversation.end()
    assert not ended.is_set()
    goes_on.set()
    assert ended.wait(30)
    assert conversation.ended


def test_who_waits_for_a_resumption_is_given_up_although_no_thread_could_be_started_at_first(
    monkeypatch, fake_clock
):
    given_up = threading.Event()

    class Waiting:
        def resume_timeout(self):
            given_up.set()

    span_thread = event_queue.SpanThread()
    monkeypatch.setattr(event_queue, "_span_thread", span_thread)
    with monkeypatch.context() as patched:
        patched.setattr(
            "_thread.start_new_thread", lambda *_: (_ for _ in ()).throw(RuntimeError("no thread"))
        )
        resumption.wait(Waiting(), fake_clock.monotonic_ns(), fake_clock)
        event_queue.watch_resumptions()
    event_queue.watch_resumptions()
    assert given_up.wait(30)


def test_a_block_of_an_async_generator_that_is_closed_elsewhere_logs_nothing(conversation, caplog):
    conversation.connect(Protocol(), {})
    happen(conversation, events.FunctionCalled(1, "call", "c1", "weather", "{}"))

    def stream():
        with conversation.tool_call("c1"), conversation.use():
            yield

    here = contextvars.copy_context()
    generator = stream()
    here.run(next, generator)
    contextvars.copy_context().run(generator.close)
    assert caplog.text == ""
    conversation.end()


def test_a_conversation_that_cannot_be_opened_does_nothing(monkeypatch):
    def no_memory(**_):
        raise MemoryError

    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setattr(scope, "Conversation", no_memory)
    with voicespan.conversation(thread_id="caller") as conversation:
        conversation.set_metadata(a=1)
        conversation.add_tags("b")
        with conversation.tool_call("c"), conversation.use():
            pass
        assert not conversation.recording
