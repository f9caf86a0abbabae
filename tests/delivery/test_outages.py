"""Days without LangSmith, in simulated time: nothing is lost, and nobody is pestered."""

from __future__ import annotations

import itertools

import pytest

from voicespan.delivery.export.responses import BackOff
from voicespan.testing import LangSmithServer

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def voice(manual):
    return manual()


def converse(voice, spans=3):
    conversation = voice.conversation()
    for _ in range(spans):
        voice.child(conversation, "turn_complete")
    conversation.attach_recording(b"sound" * 100, "audio/ogg")
    voice.finish(conversation)
    return conversation


@pytest.mark.parametrize(("outage", "days"), [("refused", 2), ("503", 1), ("reset", 0.5)])
def test_an_outage_of_days_costs_nothing(voice, langsmith_server, spool_dir, outage, days):
    converse(voice)
    voice.send()
    if outage == "refused":
        langsmith_server.down()
    else:
        langsmith_server.fail(**{"503": {"status": 503}, "reset": {"reset": "body"}}[outage], times=None)
    for _ in range(12):
        converse(voice)
        voice.send_for(days * DAY / 12)
    if outage != "refused":
        # A try each five minutes at most, half of them at chance, one for each conversation that has
        # just ended, and those of the first minutes.
        tries = len(langsmith_server.requests) - 2
        assert days * DAY / 300 <= tries <= days * DAY / 150 + 12 + 10
    assert len(langsmith_server.roots) == 1
    langsmith_server.clear_failures()
    langsmith_server.up()
    voice.send_for(301)
    assert len(langsmith_server.roots) == 13
    assert len(langsmith_server.runs) == 13 * 4
    assert all(root.attachments for root in langsmith_server.roots)
    assert (langsmith_server.waiting, langsmith_server.dropped) == ([], [])
    assert list(spool_dir.iterdir()) == []


def test_children_go_again_when_their_root_took_longer_than_langsmith_keeps_them(voice, langsmith_server):
    """LangSmith drops children whose root has not come in its window, twelve hours where it is known."""
    conversation = converse(voice)
    langsmith_server.fail(status=503, after=1, times=None)
    voice.send_for(13 * HOUR)
    assert (langsmith_server.waiting, len(langsmith_server.dropped)) == ([], 3)
    langsmith_server.clear_failures()
    voice.send_for(600)
    root = langsmith_server.run(conversation.run_id)
    assert len(root.children) == 3
    accepted = [request.status for request in langsmith_server.requests if request.status != 503]
    assert accepted[0] == 200
    assert accepted[-1] == 200
    assert len(accepted) == 3


def test_children_do_not_go_again_before(voice, langsmith_server):
    converse(voice)
    langsmith_server.fail(status=503, after=1, times=None)
    voice.send_for(5 * HOUR)
    langsmith_server.clear_failures()
    voice.send_for(600)
    accepted = [request.status for request in langsmith_server.requests if request.status != 503]
    assert accepted == [200, 200]


def test_a_wall_clock_that_is_set_back_loses_nothing(voice, langsmith_server):
    converse(voice)
    langsmith_server.fail(status=503, after=1, times=1)
    voice.send()
    voice.clock.step_wall(-5 * DAY)
    voice.send_for(600)
    assert len(langsmith_server.runs) == 4


def test_one_folder_that_always_fails_holds_no_other_up(voice, langsmith_server):
    """A 500 for one conversation is not an outage."""
    poisoned = converse(voice)
    voice.send_for(0)
    langsmith_server.clear()
    poisoned = converse(voice)
    poisoned_size = {}

    def is_poisoned(request):
        return poisoned_size.setdefault("length", request.length) == request.length

    langsmith_server.fail(status=500, times=None, match=is_poisoned)
    voice.send()
    others = []
    for count in itertools.chain([7, 9, 11]):
        others.append(converse(voice, spans=count))
        voice.send_for(60)
    roots = {root.id for root in langsmith_server.roots}
    assert {each.run_id for each in others} <= roots
    assert poisoned.run_id not in roots


def test_the_own_conversations_go_before_what_the_dead_left(manual, langsmith_server):
    dead = manual()
    langsmith_server.down()
    left = [converse(dead) for _ in range(3)]
    dead.send_for(60)
    langsmith_server.up()
    living = manual()
    mine = converse(living)
    for _ in range(4):
        living.send()
    order = [root.id for root in langsmith_server.roots]
    assert order[0] == mine.run_id
    assert set(order[1:]) == {each.run_id for each in left}


def test_two_senders_share_one_spool_and_send_each_conversation_once(manual, langsmith_server):
    first, second = manual(), manual()
    langsmith_server.down()
    conversations = [converse(first) for _ in range(6)]
    first.send_for(60)
    langsmith_server.up()
    second.pipeline.scheduler.sweep()
    for _ in range(200):
        for voice in (first, second):
            voice.send()
            voice.clock.advance(1)
    assert {root.id for root in langsmith_server.roots} == {each.run_id for each in conversations}
    assert {langsmith_server.received_count(run.id) for run in langsmith_server.runs} == {1}
    assert first.pipeline.scheduler.delivered + second.pipeline.scheduler.delivered == 6


def test_what_is_sent_again_is_sent_byte_for_byte(manual, monkeypatch):
    bodies = []
    with LangSmithServer() as server:
        voice = manual(server)
        post = voice.pipeline.http

        def keep(body):
            bodies.append(b"".join(body))
            return post(body)

        voice.pipeline.scheduler._uploader._post = keep
        server.fail(reset="answer", times=4)
        converse(voice)
        voice.send_for(100)
        assert len(server.runs) == 4
    assert len(bodies) == 6
    assert len(set(bodies)) == 2


def test_the_back_off_doubles_up_to_its_cap_and_begins_anew():
    certain = BackOff(1.0, 300.0, lambda: 1.0)
    assert [certain.failed() for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    certain.succeeded()
    assert certain.failed() == 1
    assert BackOff(1.0, 300.0, lambda: 0.0).failed() == 0.5
    patient = BackOff(1.0, 300.0, lambda: 1.0)
    assert patient.failed(retry_after=120) == 120
    assert patient.failed(retry_after=1e9) == 3600
    for _ in range(10_000):
        patient.failed()
    assert patient.failed() == 300
