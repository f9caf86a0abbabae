"""Sessions that nobody here wrote, in the folder that VOICESPAN_TEST_RECORDINGS names, and what is right for each.

What is expected was read from the recordings by a person. Recordings hold no times, and next to no audio.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import player
import pytest
from opentelemetry.trace import StatusCode
from span_content import came, given

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

FOLDER = os.environ.get("VOICESPAN_TEST_RECORDINGS")
METADATA = "langsmith.metadata."


@dataclass
class Expected:
    #: The root's messages: role and content, or the arguments of what is called.
    transcript: list[tuple[str, Any]]
    #: Of each turn: prompt's roles, content, status, and tokens (input, output, total).
    turns: list[tuple[list[str], str, str, tuple[int, int, int]]]
    #: Of each call: name, arguments, answer.
    calls: list[tuple[str, Any, Any]]
    #: Names in the order in which they began, without those of single events of the wire.
    names: list[str]
    #: Of each turn: the details of its usage that are not 0.
    details: list[dict[str, int]]


#: The words of the user come while the answer is under way.
SPOKEN = ["turn_complete", "input_transcription", "output_transcription"]
MARCELO = ("user", "Hello, my name is Marcelo.")
HELLO = "Hello, Marcelo! Great to meet you. How can I help you today?"
FOG = "It is foggy and 12 degrees in London."
READING = {"zqx_measurement": 5, "qbf_note": "steady"}
RECORDED = 'I have recorded a reading of 5 with the note "steady."'
HOW_ABOUT_YOU = "I'm doing great, thanks for asking! How about you?"
WHATEVER = (
    "I'm here to help with whatever you need. You can think of me as your friendly, digital assistant. "
    "What's on your mind?"
)
HEY = "Hey there! How can I help you today?"

#: Where it is not one. In this one the user pauses for 96 ms, and goes on before there is an answer.
USER_TURNS = {"openai_webrtc_barge_in": 2}
EXPECTED = {
    "azure_text_in_audio_out": Expected(
        [("user", "Say a short greeting."), ("assistant", "Hello there! Great to meet you!")],
        [(["user"], "Hello there! Great to meet you!", "completed", (16, 98, 114))],
        [],
        ["turn_complete", "output_transcription"],
        [{"text.input": 16, "text.output": 16, "audio.output": 82}],
    ),
    "openai_spoken_turn": Expected(
        [MARCELO, ("assistant", HELLO)],
        [(["user"], HELLO, "completed", (41, 164, 205))],
        [],
        SPOKEN,
        [{"text.input": 14, "audio.input": 27, "text.output": 28, "audio.output": 136}],
    ),
    "openai_tool_call": Expected(
        [
            ("user", "What is the weather in London?"),
            ("assistant", [{"city": "London"}]),
            ("tool", FOG),
            ("assistant", FOG),
        ],
        [(["user"], "", "completed", (63, 22, 85)), (["tool"], FOG, "completed", (103, 13, 116))],
        [("get_weather", {"city": "London"}, {"text": FOG})],
        ["turn_complete", "function_call: get_weather", "function_response: get_weather", "turn_complete"],
        [
            {"text.input": 63, "text.output": 22},
            {"text.input": 103, "cache_read.input": 64, "text.cache_read.input": 64, "text.output": 13},
        ],
    ),
    # On WebRTC: the audio did not cross this socket, and nobody was transcribed. The one answer that the user's
    # speech cut off had not begun to sound.
    "openai_webrtc_barge_in": Expected(
        [("assistant", HEY), ("assistant", HOW_ABOUT_YOU), ("assistant", WHATEVER)],
        [
            ([], HEY, "completed", (111, 55, 166)),
            ([], HOW_ABOUT_YOU, "completed", (187, 79, 266)),
            ([], "", "cancelled", (0, 0, 0)),
            ([], WHATEVER, "completed", (295, 157, 452)),
        ],
        [],
        [
            *["turn_complete", "output_transcription"] * 2,
            *["turn_complete", "turn_complete", "output_transcription"],
        ],
        [
            {"text.input": 111, "audio.output": 37, "text.output": 18},
            {
                "audio.input": 48,
                "text.input": 139,
                "cache_read.input": 128,
                "text.cache_read.input": 128,
                "audio.output": 55,
                "text.output": 24,
            },
            {},
            {
                "audio.input": 114,
                "text.input": 181,
                "cache_read.input": 192,
                "text.cache_read.input": 128,
                "audio.cache_read.input": 64,
                "audio.output": 117,
                "text.output": 40,
            },
        ],
    ),
    # 1197 + 37, and 28 for thoughts, which the service leaves out of its total.
    "gemini_spoken_turn": Expected(
        [MARCELO, ("assistant", "Hello, Marcelo.")],
        [(["user"], "Hello, Marcelo.", "completed", (1197, 65, 1262))],
        [],
        ["input_transcription", "turn_complete", "output_transcription"],
        [{"text.input": 1196, "audio.input": 1, "audio.output": 37, "reasoning.output": 28}],
    ),
    "gemini_tool_call": Expected(
        [
            ("user", 'Please record a reading of 5 with the note "steady".'),
            ("assistant", [READING]),
            ("tool", '{"output": "Recorded 5 (steady)."}'),
            ("assistant", RECORDED),
        ],
        [(["user"], RECORDED, "completed", (1267, 103, 1370))],
        [("record_reading", READING, {"output": "Recorded 5 (steady)."})],
        [
            "function_call: record_reading",
            "function_response: record_reading",
            # The turn goes on when the function was answered.
            "output_transcription",
            "turn_complete",
        ],
        [{"text.input": 1267, "text.output": 22, "audio.output": 81}],
    ),
}


def sessions() -> list[Any]:
    if FOLDER is None:
        return [pytest.param(None, marks=pytest.mark.skip("VOICESPAN_TEST_RECORDINGS names no folder"))]
    return [pytest.param(path, id=path.stem) for path in sorted(Path(FOLDER).glob("*.jsonl"))]


def sides(span: Any) -> tuple[Any, Any]:
    return given(span) or {}, came(span) or {}


def as_pair(message: dict[str, Any]) -> tuple[str, Any]:
    called = [json.loads(call["function"]["arguments"]) for call in message.get("tool_calls", [])]
    return message["role"], called or message["content"]


def token_details(span: Any) -> dict[str, int]:
    """Those of a turn's usage that are not 0, without the totals."""
    usage = {
        key.removeprefix("gen_ai.usage.").removesuffix("_tokens"): tokens
        for key, tokens in span.attributes.items()
        if key.startswith("gen_ai.usage.") and tokens
    }
    return {name: tokens for name, tokens in usage.items() if "." in name}


@pytest.fixture
def instrumentors(tracer_provider):
    both = GeminiLiveInstrumentor(), OpenAIRealtimeInstrumentor()
    for each in both:
        each.instrument(tracer_provider=tracer_provider)
    yield
    for each in both:
        each.uninstrument()


@pytest.mark.parametrize("path", sessions())
async def test_a_real_session(path, instrumentors, span_exporter):
    expected = EXPECTED.get(path.stem)
    assert expected is not None, f"nobody has read {path.name} yet"
    play = player.play_gemini if path.stem.startswith("gemini") else player.play_openai
    await play(player.read(path))

    (root,) = [span for span in span_exporter.get_finished_spans() if span.parent is None]
    spans = [span for span in span_exporter.get_finished_spans() if span.parent is not None]
    spans.sort(key=lambda span: (span.start_time, span.end_time))
    assert {span.parent.span_id for span in spans} == {root.context.span_id}
    assert {span.status.status_code for span in (root, *spans)} == {StatusCode.UNSET}
    assert root.attributes[METADATA + "status"] == "completed"
    messages = [message for side in sides(root) for message in side.get("messages", [])]
    assert [as_pair(message) for message in messages] == expected.transcript
    asked = root.attributes[METADATA + "user_turn_count"], root.attributes[METADATA + "unanswered_turn_count"]
    assert asked == (USER_TURNS.get(path.stem, 1), 0)

    turns, details = [], []
    for turn in (span for span in spans if span.name == "turn_complete"):
        given, made = (side["messages"] for side in sides(turn))
        tokens = tuple(
            turn.attributes[f"gen_ai.usage.{side}_tokens"] for side in ("input", "output", "total")
        )
        status = turn.attributes[METADATA + "status"]
        turns.append(([message["role"] for message in given], made[-1]["content"], status, tokens))
        details.append(token_details(turn))
    assert turns == expected.turns
    assert details == expected.details

    calls = [span for span in spans if span.name.startswith("function_call: ")]
    assert [(call.name.partition(": ")[2], *sides(call)) for call in calls] == expected.calls
    kinds = ("turn_complete", "interrupted", "error", "_transcription", "function_")
    named = [span.name for span in spans if any(kind in span.name for kind in kinds)]
    assert named == expected.names
