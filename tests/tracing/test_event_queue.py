"""What has happened is written soon after, by one thread for all, in its order, and before anybody asks for it."""

from __future__ import annotations

import json
import os
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from voicespan.content.policy import Content
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.openai_realtime.protocol import Protocol
from voicespan.protocol import events
from voicespan.runtime import guard
from voicespan.runtime.settings import Level, Settings
from voicespan.tracing import event_queue, registry, semconv
from voicespan.tracing.conversation import Conversation


@pytest.fixture
def exported(tracer_provider):
    """Names of the spans that have ended, as they end, and the threads that ended them."""

    class Listener(SpanProcessor):
        def __init__(self):
            self.names, self.threads, self.spans, self.ended = [], [], [], threading.Condition()

        def on_end(self, span):
            with self.ended:
                self.names.append(span.name)
                self.spans.append(span)
                self.threads.append(threading.current_thread().name)
                self.ended.notify_all()

        def has(self, count):
            with self.ended:
                return self.ended.wait_for(lambda: len(self.names) >= count, 30)

    listener = Listener()
    tracer_provider.add_span_processor(listener)
    return listener


@pytest.fixture
def conversation(tracer_provider):
    return Conversation(tracer_provider=tracer_provider, scoped=True, settings=Settings())


def told(conversation, *happened, frame=None):
    with conversation.lifecycle.lock:
        return conversation.lifecycle.ingest(list(happened), frame)


def said(text, at=1):
    return events.TranscriptCompleted(at, "transcript", "user", f"item {text}", at, text)


def error(message):
    return events.ErrorReported(1, "error", events.WireError("server_error", message))


def called(call_id="c1"):
    return events.FunctionCalled(1, "call", call_id, "weather", "{}")


def test_what_happened_is_written_by_another_thread_in_its_order(conversation, exported):
    for text in ("one", "two"):
        told(conversation, said(text), error(text))
    assert exported.has(4)
    assert exported.names == ["input_transcription", "error"] * 2
    assert set(exported.threads) == {"voicespan-spans"}


def test_all_is_written_before_the_root_ends(conversation, exported, unattended):
    told(conversation, said("one"))
    told(conversation, error("two"))
    assert exported.names == []
    conversation.end()
    assert exported.names == ["input_transcription", "error", "conversation"]


def test_who_asks_for_the_facts_writes_nothing(conversation, exported, unattended):
    """The thread of the spool asks: what hangs in a hook of the application's must not hang there."""
    told(conversation, said("one"))
    assert semconv.INPUT_MESSAGES not in conversation.root_facts()
    assert exported.names == []
    conversation.flush()
    assert "one" in conversation.root_facts()[semconv.INPUT_MESSAGES]


def test_a_function_call_is_current_before_the_application_has_the_frame(conversation, exported, unattended):
    told(conversation, said("one"))
    assert told(conversation, called()) is True
    conversation.flush()
    assert exported.names == ["input_transcription"]
    conversation.attach()
    (name, span) = conversation.open_calls()["c1"]
    assert name == "weather"
    assert trace.get_current_span().get_span_context() == span.get_span_context()


def test_a_function_call_that_is_not_written_yet_is_found_when_it_is_asked_for(conversation, unattended):
    told(conversation, called())
    with conversation.tool_call("c1"):
        assert (
            trace.get_current_span().get_span_context()
            == conversation.open_calls()["c1"][1].get_span_context()
        )


def test_an_event_that_is_the_applications_own_is_written_before_it_has_it_back(conversation, unattended):
    event = {"type": "session.update"}
    assert told(conversation, events.ProviderEvent(1, "session.update", Level.STANDARD, event), frame=event)
    assert not told(conversation, said("one"), frame=b"{}")


def test_who_tells_more_than_is_written_writes_it_itself(conversation, exported, unattended):
    full = [told(conversation, error("again")) for _ in range(event_queue._MOST_WAITING + 1)]
    assert full == [False] * event_queue._MOST_WAITING + [True]


def test_a_hook_that_wants_to_exit_ends_no_thread_of_ours(tracer_provider, exported, caplog):
    def redact(text, *, role, place):
        if text == "first":
            raise SystemExit
        return text

    conversation = Conversation(
        tracer_provider=tracer_provider, scoped=True, settings=Settings(redact=redact)
    )
    told(conversation, said("first"))
    told(conversation, said("second"))
    assert exported.has(1)
    assert exported.names == ["input_transcription"]
    assert "SystemExit" in caplog.text


def test_what_raises_takes_nothing_else_along(conversation, exported, monkeypatch, unattended):
    monkeypatch.setattr(guard, "reraise", False)
    told(conversation, said("one"), object(), error("three"))
    conversation.end()
    assert exported.names == ["input_transcription", "error", "conversation"]


class Contended:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self, lock):
        self._lock = lock
        self.awaited = threading.Event()

    def acquire(self, timeout=-1):
        if self._lock.acquire(blocking=False):
            return True
        self.awaited.set()
        return self._lock.acquire(timeout=timeout)

    def release(self, *_):
        self._lock.release()

    __enter__, __exit__ = acquire, release


@pytest.mark.parametrize("heard_of", ["error", "interrupted"])
def test_a_processor_may_end_the_conversation(conversation, tracer_provider, exported, unattended, heard_of):
    """Also while it is being ended: a barge-in waits for how much was heard until then."""

    class Impatient(SpanProcessor):
        def on_end(self, span):
            if span.name == heard_of:
                conversation.end()

    tracer_provider.add_span_processor(Impatient())
    told(conversation, events.Interrupted(1, "response.done", "r1", "i1", "response.done"))
    told(conversation, error("one"), said("two"))
    conversation.flush()
    conversation.end()
    assert conversation.ended
    assert exported.names.count("conversation") == 1
    assert exported.names.count(heard_of) == 1


def test_a_processor_may_use_the_conversation_while_the_application_does(conversation, tracer_provider):
    writing = threading.Event()
    lock = conversation.lifecycle.events.lock = Contended(conversation.lifecycle.events.lock)

    class Curious(SpanProcessor):
        def on_end(self, span):
            if span.name == "error":
                writing.set()
                assert lock.awaited.wait(30)
                conversation.set_metadata(seen=True)

    tracer_provider.add_span_processor(Curious())
    connection = conversation.connect(Protocol(), {})
    told(conversation, error("one"))
    assert writing.wait(30)
    call = {"id": "c1", "call_id": "c1", "type": "function_call", "name": "weather", "arguments": "{}"}
    frame = json.dumps(
        {"type": "response.output_item.done", "item": {**call, "status": "completed"}}
    ).encode()
    reading = threading.Thread(target=connection.received, args=[frame], daemon=True)
    reading.start()
    reading.join(30)
    assert not reading.is_alive()
    assert list(conversation.open_calls()) == ["c1"]
    assert conversation.root_facts()["langsmith.metadata.seen"] is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
# Python 3.12 warns of forks beside threads, which is just what is tried here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_scribe_of_its_own(tracer_provider, exported, conversation):
    told(conversation, error("parent"))
    assert exported.has(1)
    child = os.fork()
    if not child:
        status = 1
        try:
            own = Conversation(tracer_provider=tracer_provider, scoped=True, settings=Settings())
            told(own, said("child"))
            status = 0 if exported.has(2) and exported.threads[-1] == "voicespan-spans" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_hook_that_hangs_holds_up_its_own_conversation_alone(tracer_provider, exported, monkeypatch):
    """The spans of all others waited for their conversations to end: a kill cost more than a quarter of a second."""
    monkeypatch.setattr(event_queue, "_span_thread", event_queue.SpanThread())
    release, hangs = threading.Event(), threading.Semaphore(0)

    class Hanging(SpanProcessor):
        calls = 0

        def on_end(self, span):
            self.calls += 1
            if self.calls <= 2:
                hangs.release()
                release.wait()

    stuck, also_stuck, other = (
        Conversation(tracer_provider=tracer_provider, scoped=True, settings=Settings()) for _ in range(3)
    )
    tracer_provider.add_span_processor(Hanging())
    try:
        for each in (stuck, also_stuck):
            told(each, said("hang"))
        told(other, said("heard"))
        assert hangs.acquire(timeout=30)
        assert hangs.acquire(timeout=30)
        # The two that hang were told to the other processor before, and the third comes although both threads hang.
        assert exported.has(3)
        told(other, said("heard too"))
        assert exported.has(4)
    finally:
        release.set()
    for each in (stuck, also_stuck, other):
        each.end()


def test_where_no_thread_can_be_started_it_is_written_at_the_end(conversation, exported, monkeypatch):
    class NoMore(event_queue.threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread at interpreter shutdown")

    span_thread = event_queue.SpanThread()
    monkeypatch.setattr(event_queue, "_span_thread", span_thread)
    monkeypatch.setattr(event_queue.threading, "Thread", NoMore)
    told(conversation, error("one"))
    conversation.end()
    assert exported.names == ["error", "conversation"]


def test_what_is_added_while_the_scribe_turns_away_is_not_forgotten():
    class Raced(event_queue.EventQueue):
        """Another thread adds something in the very moment in which nothing more seems to wait."""

        seen = True

        def __init__(self):
            self.begun, self.late = False, [((), None)]
            super().__init__(None)

        @property
        def _announced(self):
            return self.seen

        @_announced.setter
        def _announced(self, seen):
            self.seen = seen
            if self.begun and not seen and self.late:
                self._waiting.append(self.late.pop())

    raced = Raced()
    raced.begun = True
    assert raced.write_some() is True
    assert raced.write_some() is False


def test_an_answer_is_marked_before_the_application_can_play_it(conversation, unattended):
    class Marked:
        marks, status, cuts = 0, "off", ()

        def mark_answer(self):
            self.marks += 1

    conversation.lifecycle.spans.playback.recorder = Marked()
    told(conversation, events.FirstAudio(1, "audio", "response"))
    assert conversation.lifecycle.spans.playback.recorder.marks == 1
    conversation.flush()
    assert conversation.lifecycle.spans.playback.recorder.marks == 1


def test_two_threads_may_redact_at_the_same_time():
    asked, answer = threading.Event(), threading.Event()

    def redact(text, *, role, place):
        if text == "slow":
            asked.set()
            answer.wait(30)
        return text.upper()

    stored = []
    content = Content(Settings(redact=redact))
    slow = threading.Thread(
        target=lambda: stored.append(content.text("slow", role="user", place="transcript"))
    )
    slow.start()
    assert asked.wait(30)
    assert content.text("quick", role="user", place="transcript") == "QUICK"
    answer.set()
    slow.join(30)
    assert stored == ["SLOW"]


def test_a_flush_writes_what_has_happened(conversation, tracer_provider, exported, unattended, tmp_path):
    tracer_provider.add_span_processor(
        LangSmithSpanProcessor(endpoint="http://127.0.0.1:9", api_key="key", spool_dir=tmp_path)
    )
    told(conversation, error("one"))
    tracer_provider.force_flush()
    assert exported.names == ["error"]


def test_what_the_earlier_connection_told_is_written_with_its_own_model(
    conversation, tracer_provider, exported, unattended
):
    conversation.connect(Protocol(), {"gen_ai.request.model": "first"})
    told(
        conversation,
        events.GenerationStarted(1, "response.created", "r1"),
        events.GenerationEnded(2, "response.done", "r1", "completed", None, "Hello", (), None, None, False),
    )
    conversation.connect(Protocol(), {"gen_ai.request.model": "second"})
    conversation.end()
    (turn,) = [span for span in exported.spans if span.name == "turn_complete"]
    assert turn.attributes["gen_ai.request.model"] == "first"


def test_two_flushes_out_of_two_conversations_do_not_wait_for_each_other(
    conversation, tracer_provider, monkeypatch, unattended
):
    monkeypatch.setattr(registry, "_PATIENCE", 0.01)
    other = Conversation(tracer_provider=tracer_provider, scoped=True, settings=Settings())
    both = threading.Barrier(2)

    class Flushing(SpanProcessor):
        def on_end(self, span):
            if span.name == "error":
                both.wait(30)
                registry.flush()

    tracer_provider.add_span_processor(Flushing())
    threads = [threading.Thread(target=each.flush) for each in (conversation, other)]
    for each, thread in zip((conversation, other), threads, strict=True):
        told(each, error("one"))
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
