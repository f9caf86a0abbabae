"""The figures of a conversation as LangSmith's feedback on its root (VOICESPAN_FEEDBACK)."""

from __future__ import annotations

import uuid

import pytest

from voicespan.delivery.spool.folder import PROGRESS
from voicespan.protocol.events import SpeechStopped


@pytest.fixture
def voice(manual, monkeypatch):
    monkeypatch.setenv("VOICESPAN_FEEDBACK", "1")
    return manual()


def speak(conversation, clock):
    """The user has a turn, and is not answered."""
    with conversation.lifecycle.lock:
        conversation.lifecycle.ingest([SpeechStopped(clock.monotonic_ns(), "speech_stopped", "u1")])
    conversation.flush()


def hold(voice):
    conversation = voice.conversation()
    speak(conversation, voice.clock)
    voice.finish(conversation)
    return conversation


def scored(server):
    """The requests that had scores in them."""
    return [request for request in server.requests if request.path.endswith("/runs/multipart")]


def test_the_figures_are_scores_on_the_root(voice, langsmith_server, spool_dir):
    conversation = hold(voice)
    voice.send_for(2)

    [root] = langsmith_server.roots
    assert root.id == conversation.run_id
    assert root.scores == {"barge_in_count": 0, "user_turn_count": 1, "unanswered_turn_count": 1}
    feedback = next(iter(root.feedback.values()))
    assert (feedback.source, feedback.comment) == ("api", "measured by voicespan; basis: server")
    assert feedback.id == str(uuid.uuid5(uuid.UUID(root.id), feedback.key))
    assert feedback.project_id is not None
    assert langsmith_server.dropped == []
    assert list(spool_dir.iterdir()) == []


def test_a_call_that_is_shown_while_it_goes_on_is_scored_at_its_end(manual, langsmith_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_FEEDBACK", "1")
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    voice = manual()
    conversation = voice.conversation()
    voice.write()
    voice.clock.advance(0.3)
    voice.pipeline.live.step()
    [root] = langsmith_server.roots
    assert (root.status, root.feedback) == ("pending", {})
    speak(conversation, voice.clock)
    voice.finish(conversation)
    voice.clock.advance(0.3)
    voice.pipeline.live.step()
    voice.send_for(2)
    assert (root.status, len(root.feedback)) == ("success", 3)
    assert langsmith_server.dropped == []


def test_there_are_none_unless_they_are_asked_for(manual, langsmith_server):
    voice = manual()
    hold(voice)
    voice.send_for(2)
    [root] = langsmith_server.roots
    assert root.metadata["user_turn_count"] == 1
    assert root.feedback == {}
    assert scored(langsmith_server) == []


def test_a_collector_is_sent_none(manual, langsmith_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_FEEDBACK", "1")
    langsmith_server.api_keys = []
    monkeypatch.setenv("VOICESPAN_ENDPOINT", langsmith_server.traces_url)
    voice = manual(endpoint=None, api_key=None)
    hold(voice)
    voice.send_for(2)
    assert len(langsmith_server.roots) == 1
    assert scored(langsmith_server) == []


def test_the_run_goes_first(voice, langsmith_server):
    langsmith_server.fail(status=503, match="/otel/v1/traces")
    hold(voice)
    voice.send()
    assert scored(langsmith_server) == []
    langsmith_server.clear_failures()
    voice.send_for(10)
    taken = [
        request.path.rpartition("/")[2] for request in langsmith_server.requests if request.status != 503
    ]
    assert taken == ["traces", "sessions?name=default&limit=1", "multipart"]
    assert len(langsmith_server.roots[0].feedback) == 3


def test_what_was_not_taken_is_sent_again_and_counts_once(voice, langsmith_server, spool_dir):
    # The request is taken, and its answer lost.
    langsmith_server.fail(reset="answer", match="/runs/multipart", times=1, stored=True)
    hold(voice)
    voice.send_for(30)
    [root] = langsmith_server.roots
    assert len(scored(langsmith_server)) == 2
    assert len(root.feedback) == len(root.scores) == 3
    assert langsmith_server.received_count(root.id) == 1
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_scores_that_are_refused_hold_up_nothing(voice, langsmith_server, spool_dir, caplog, status):
    langsmith_server.fail(status=status, match="/runs/multipart")
    hold(voice)
    voice.send_for(2)
    assert len(scored(langsmith_server)) == 1
    assert len(langsmith_server.roots) == 1
    assert list(spool_dir.iterdir()) == []
    assert "did not take the scores of a conversation" in caplog.text


def test_scores_that_nobody_takes_are_given_up(voice, langsmith_server, spool_dir, caplog):
    """The conversation is there: its folder does not wait for ever."""
    langsmith_server.fail(status=503, match="/runs/multipart", times=None)
    hold(voice)
    voice.send_for(3_600)
    assert len(scored(langsmith_server)) == 8
    assert list(spool_dir.iterdir()) == []
    assert "did not take the scores of a conversation" in caplog.text


def test_without_the_projects_id_they_go_as_well(voice, langsmith_server):
    langsmith_server.fail(status=403, match="/sessions")
    hold(voice)
    voice.send_for(2)
    [root] = langsmith_server.roots
    assert {feedback.project_id for feedback in root.feedback.values()} == {None}
    assert len(root.feedback) == 3


def test_the_project_is_asked_for_once(voice, langsmith_server):
    for _ in range(3):
        hold(voice)
        voice.send_for(2)
    asked = [request for request in langsmith_server.requests if "/sessions" in request.path]
    assert len(asked) == 1
    assert all(len(root.feedback) == 3 for root in langsmith_server.roots)


def test_what_another_process_delivered_is_scored_by_the_next(manual, voice, langsmith_server, spool_dir):
    """It was killed between the root and the scores."""
    langsmith_server.fail(status=503, match="/runs/multipart", times=1)
    hold(voice)
    voice.send()
    [folder] = [path for path in spool_dir.iterdir() if (path / PROGRESS).exists()]
    assert b'"scored": false' in (folder / PROGRESS).read_bytes()
    other = manual()
    other.conversation().end()
    other.send_for(120)
    assert len(langsmith_server.roots[0].feedback) == 3


def test_nothing_that_is_hidden_becomes_a_score(manual, langsmith_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_FEEDBACK", "1")
    monkeypatch.setenv("LANGSMITH_HIDE_METADATA", "true")
    voice = manual()
    hold(voice)
    voice.send_for(2)
    [root] = langsmith_server.roots
    assert root.feedback == {}
    assert scored(langsmith_server) == []
