"""Pipecat bots with a model that hears and speaks, behind a WebSocket: the socket's frames, and what was heard."""

from __future__ import annotations

import contextlib

import pytest

pytest.importorskip(
    "pipecat.pipeline.task", reason="in an environment of its own: tests/compat/run.py pipecat"
)

from frameworks_trace import named, tracks, voiced, words

from voicespan.testing import gemini_live, openai_realtime
from voicespan.testing.cascade import audio
from voicespan.testing.gemini_live.certificates import authority

GREETING, FOG, BYE = "Hello caller!", "It is foggy in London.", "Good bye, dear!"
HEARD = ["How is the weather?", "Thanks."]


def said(kind, words, **more):
    return kind.Answer(transcript=words, audio=audio.hum(0.06 * len(words), "ash"), **more)


@pytest.fixture(params=["openai", "gemini"])
def talk(request, run, environ):
    """Plays answers to a bot, and returns how many seconds its caller heard."""

    def talk(answers, heard, *what):
        kind = {"openai": openai_realtime, "gemini": gemini_live}[request.param]
        with contextlib.ExitStack() as stack:
            if request.param == "openai":
                server = kind.OpenAIRealtimeServer.conversational(answers(kind), heard)
            else:
                pytest.importorskip("google.genai")
                server = kind.GeminiLiveServer.conversational(answers(kind), heard)
                environ["SSL_CERT_FILE"] = str(stack.enter_context(authority().file()))
            stack.enter_context(server)
            url = server.url.replace("wss://", "https://")
            printed = run("pipecat_speech_to_speech.py", request.param, url, *what)
            assert len(server.connections) == (1 if request.param == "openai" else 2)
        return float(printed.split()[-1])

    return talk


def test_a_call_with_a_function(talk, the_trace):
    """Pipecat opens a second session of Gemini as soon as its context has functions: that is the same conversation."""
    heard = talk(
        lambda kind: [
            said(kind, GREETING),
            kind.Answer(calls=[kind.FunctionCall("weather", {"city": "London"})]),
            said(kind, FOG),
            said(kind, BYE),
        ],
        HEARD,
    )
    root, _ = the_trace()
    assert words(root) == [
        ("user", "Say hello to the caller."),
        ("assistant", GREETING),
        ("user", HEARD[0]),
        ("tool", '{"weather": "foggy in London"}'),
        ("assistant", FOG),
        ("user", HEARD[1]),
        ("assistant", BYE),
    ]
    (tool,) = named(root, "function_call: weather")
    assert [child.name for child in tool.children] == ["look up"]
    user, agent = tracks(root)
    assert voiced(agent) == pytest.approx(heard, abs=0.15)
    assert voiced(user) == pytest.approx(1.0, abs=0.15)
    assert root.thread_id == "caller-42"
    assert (root.status, root.metadata["status"]) == ("success", "completed")
    assert root.metadata["input_tokens"] > 0 < root.metadata["output_tokens"]
    # The transport begins to write an answer as soon as there is some of it.
    waits = [
        turn.metadata["playout_ms"] for turn in named(root, "turn_complete") if "playout_ms" in turn.metadata
    ]
    assert len(waits) == 2
    assert max(waits) < 300


def test_a_barge_in(talk, the_trace):
    story = "Once upon a time there was a fox who lived in a wood near an old mill."
    heard = talk(lambda kind: [said(kind, GREETING), said(kind, story), said(kind, BYE)], HEARD, "barge-in")
    root, _ = the_trace()
    (cut,) = named(root, "interrupted")
    assert 400 < cut.metadata["heard_ms"] < 2_500
    assert root.metadata["interruption_count"] == 1
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(heard, abs=0.2)
    assert words(root)[-1] == ("assistant", BYE)
