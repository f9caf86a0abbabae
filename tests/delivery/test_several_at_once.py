"""Several conversations are delivered at the same time where LangSmith takes long, and only there."""

from __future__ import annotations

import threading

import pytest

from voicespan.cli import recover
from voicespan.delivery.export.scheduler import AT_ONCE
from voicespan.runtime.background import Loop

_wake = Loop.wake


def converse(voice, spans=1):
    conversation = voice.conversation()
    for _ in range(spans):
        voice.child(conversation)
    voice.finish(conversation)
    return conversation


class Interposed:
    """Calls something in the middle of a delivery, once: what another thread does at that moment."""

    def __init__(self, voice, on_request):
        self._uploader = voice.pipeline.scheduler._uploader
        self._post, self._uploader._post = self._uploader._post, self
        self._on_request = on_request

    def __call__(self, body):
        on_request, self._on_request = self._on_request, None
        if on_request is not None:
            on_request()
        return self._post(body)


def test_a_slow_langsmith_is_asked_for_several_at_once(agent, langsmith_server):
    langsmith_server.fail(hang="answer", stored=True, times=AT_ONCE)
    voice = agent()
    conversations = [voice.conversation() for _ in range(AT_ONCE + 4)]
    for conversation in conversations:
        voice.child(conversation)
        conversation.end()
    langsmith_server.wait_for(lambda server: server.hanging == AT_ONCE)
    assert len(voice.processor._running().scheduler.left()) == len(conversations)
    assert sum(thread.name == "voicespan-export" for thread in threading.enumerate()) == AT_ONCE
    langsmith_server.release()
    # What hung up is an outage for all, until one try has shown that it is over.
    assert voice.deliver(30)
    assert {root.id for root in langsmith_server.roots} == {each.run_id for each in conversations}
    assert {langsmith_server.received_count(root.id) for root in langsmith_server.roots} == {1}


def test_recover_sends_several_at_once_too(manual, langsmith_server, monkeypatch):
    voice = manual()
    langsmith_server.down()
    conversations = [converse(voice) for _ in range(AT_ONCE + 4)]
    voice.send_for(60)
    voice.pipeline.reset_after_fork()
    langsmith_server.up()
    monkeypatch.setattr(Loop, "wake", _wake)
    # None of them is answered before two are under way at once.
    langsmith_server.fail(hang="answer", stored=True, times=2)
    release = threading.Thread(
        target=lambda: (
            langsmith_server.wait_for(lambda server: server.hanging == 2) and langsmith_server.release()
        )
    )
    release.start()
    assert recover.recover(api_key=langsmith_server.api_key, endpoint=langsmith_server.url) == 0
    release.join()
    assert {root.id for root in langsmith_server.roots} == {each.run_id for each in conversations}
    assert {langsmith_server.received_count(root.id) for root in langsmith_server.roots} == {1}
    assert voice.pipeline.spool.waiting() == []


def test_no_two_threads_take_the_same_folder(manual, langsmith_server):
    voice = manual()
    conversations = [converse(voice), converse(voice)]
    sender = voice.pipeline.scheduler
    in_between = []

    def another_thread():
        voice.clock.advance(10)  # the folder that is in hand could be tried again by now
        in_between.append(sender._help(1))
        in_between.extend(root.id for root in langsmith_server.roots)
        in_between.append(sender._help(2))

    Interposed(voice, another_thread)
    voice.send()
    assert in_between[0] == 0.0
    assert len(in_between) == 3
    assert in_between[2] is None
    assert {root.id for root in langsmith_server.roots} == {each.run_id for each in conversations}
    assert {langsmith_server.received_count(root.id) for root in langsmith_server.roots} == {1}
    assert sender.delivered == 2


def test_no_other_thread_joins_while_deliveries_are_quick(manual, langsmith_server):
    voice = manual()
    for _ in range(2):
        converse(voice)
    asked = []

    def another_thread():
        voice.clock.advance(0.1)
        asked.append(voice.pipeline.scheduler._help(1))

    Interposed(voice, another_thread)
    voice.send()
    # It looks again when the delivery that goes on has taken long.
    assert asked == [pytest.approx(0.15)]
    assert len(langsmith_server.roots) == 1


def test_nor_while_langsmith_fails(manual, langsmith_server):
    voice = manual()
    langsmith_server.fail(status=503, times=1)
    for _ in range(3):
        converse(voice)
    voice.send()
    voice.clock.advance(100)
    Interposed(voice, lambda: voice.clock.advance(10) or asked.append(voice.pipeline.scheduler._help(1)))
    asked = []
    langsmith_server.fail(status=503, times=1)
    voice.send()
    assert asked == [None]
    assert not langsmith_server.roots


def test_the_first_thread_looks_soon_at_what_another_may_have_failed_with(manual, langsmith_server):
    voice = manual()
    converse(voice)
    sender = voice.pipeline.scheduler
    looks_again = []
    Interposed(voice, lambda: looks_again.append(sender._idle_for(voice.clock.monotonic_ns() / 1e9)))
    assert sender._deliver_one(1)
    assert looks_again == [1.0]


def test_several_that_fail_together_are_one_failure(manual, langsmith_server):
    """Each doubles the wait otherwise: all at once would make an outage of minutes of a moment."""
    voice = manual()
    sender = voice.pipeline.scheduler
    langsmith_server.fail(status=503, times=2)
    for _ in range(2):
        converse(voice)

    def another_thread():
        voice.clock.advance(1)
        sender._help(1)

    Interposed(voice, another_thread)
    voice.send()
    assert [request.status for request in langsmith_server.requests] == [503, 503]
    assert sender._gate.failures == 1
    voice.send_for(1.5)
    assert len(langsmith_server.roots) == 2


def test_what_must_wait_for_another_goes_as_soon_as_that_is_delivered(manual, langsmith_server):
    voice = manual()
    conversation = voice.conversation()
    with conversation.use():
        late = voice.tracer.start_span("late")
    voice.finish(conversation)
    voice.clock.advance(2)
    late.end()
    voice.write()
    voice.clock.advance(3)
    voice.write()
    sender = voice.pipeline.scheduler
    assert len(sender.left()) == 2

    def another_thread():
        voice.clock.advance(1)
        assert sender._help(1) == 0.0

    Interposed(voice, another_thread)
    voice.send()
    assert [run.name for run in langsmith_server.runs] == ["conversation"]
    voice.send()
    assert [run.name for run in langsmith_server.runs] == ["conversation", "late"]
