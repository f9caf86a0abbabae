"""Short sessions of our own through the real clients: each one was told wrongly once, or could easily be."""

from __future__ import annotations

import base64
from typing import Any

import player
import pytest
from span_content import came, given

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.tracing import semconv

METADATA = "langsmith.metadata."
USAGE = {"total_tokens": 10, "input_tokens": 4, "output_tokens": 6}
SECOND = base64.b64encode(bytes(48_000)).decode()


class Trace:
    def __init__(self, spans: Any) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start_time, span.end_time))
        (self.root,) = [span for span in spans if span.parent is None]

    def all(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def facts(self, name: str, *facts: str) -> list[tuple[Any, ...]]:
        return [tuple(span.attributes.get(METADATA + fact) for fact in facts) for span in self.all(name)]

    @property
    def transcript(self) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in messages(self.root)]


def messages(span: Any) -> list[dict[str, Any]]:
    sides = (given(span), came(span))
    return [message for side in sides if side for message in side.get("messages", [])]


@pytest.fixture
def play(tracer_provider, span_exporter):
    both = GeminiLiveInstrumentor(), OpenAIRealtimeInstrumentor()
    for each in both:
        each.instrument(tracer_provider=tracer_provider)

    async def played(*frames: dict[str, Any]) -> Trace:
        is_openai = any("type" in frame["event"] for frame in frames)
        await (player.play_openai if is_openai else player.play_gemini)(list(frames))
        return Trace(span_exporter.get_finished_spans())

    yield played
    for each in both:
        each.uninstrument()


# OpenAI Realtime.


def server(kind: str, **fields: Any) -> dict[str, Any]:
    return {"dir": "server", "event": {"type": kind, "event_id": "event_1", **fields}}


def client(kind: str, **fields: Any) -> dict[str, Any]:
    return {"dir": "client", "event": {"type": kind, **fields}}


SESSION = server(
    "session.created",
    session={
        "id": "sess_1",
        "type": "realtime",
        "model": "gpt-realtime",
        "audio": {
            "input": {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}}
        },
    },
)


def begin(number: int, **fields: Any) -> list[dict[str, Any]]:
    """A response that has a message of speech."""
    item = {
        "id": f"a{number}",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    place = {"response_id": f"r{number}", "output_index": 0}
    return [
        server(
            "response.created", response={"id": f"r{number}", "status": "in_progress", "output": [], **fields}
        ),
        server("response.output_item.added", **place, item=item),
        server("conversation.item.added", previous_item_id=None, item=item),
    ]


def part(number: int, kind: str, **fields: Any) -> dict[str, Any]:
    place = {"response_id": f"r{number}", "item_id": f"a{number}", "output_index": 0, "content_index": 0}
    return server(f"response.{kind}", **place, **fields)


def words(number: int, text: str) -> dict[str, Any]:
    return part(number, "output_audio_transcript.done", transcript=text)


def end(number: int, status: str = "completed", reason: str | None = None, **fields: Any) -> dict[str, Any]:
    details = None if status == "completed" else {"type": status, "reason": reason}
    response = {"id": f"r{number}", "status": status, "status_details": details, "output": [], "usage": USAGE}
    return server("response.done", response={**response, **fields})


def speech(item: str) -> list[dict[str, Any]]:
    message = {"id": item, "type": "message", "role": "user", "status": "completed"}
    return [
        server("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0),
        server("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=500),
        server("input_audio_buffer.committed", item_id=item, previous_item_id=None),
        server(
            "conversation.item.added",
            previous_item_id=None,
            item={**message, "content": [{"type": "input_audio", "transcript": None}]},
        ),
    ]


def heard(item: str, text: str, **fields: Any) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return server(kind, item_id=item, content_index=0, transcript=text, usage=USAGE, **fields)


async def test_a_truncation_before_anything_was_heard(play):
    trace = await play(
        SESSION,
        *begin(1),
        part(1, "output_audio.delta", delta=SECOND),
        server("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=100),
        client("conversation.item.truncate", item_id="a1", content_index=0, audio_end_ms=0),
        server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=0),
        end(1, "cancelled"),
        *begin(2),
        part(2, "output_audio.delta", delta=SECOND),
        end(2),
    )
    assert trace.facts("interrupted", "heard_ms", "generated_ms") == [(0, 1000)]
    assert trace.facts("turn_complete", "status") == [("cancelled",), ("completed",)]


async def test_words_of_an_answer_that_was_cancelled(play):
    trace = await play(
        SESSION,
        *begin(1),
        part(1, "output_audio.delta", delta=SECOND),
        part(1, "output_audio_transcript.delta", delta="Once upon "),
        part(1, "output_audio_transcript.delta", delta="a time"),
        server("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=100),
        end(1, "cancelled", "turn_detected"),
        *speech("u2"),
        *begin(2),
        words(2, "Yes?"),
        end(2),
    )
    assert trace.transcript == [("assistant", "Once upon a time"), ("assistant", "Yes?")]


async def test_words_of_an_answer_that_the_close_cut_off(play):
    trace = await play(SESSION, *begin(1), part(1, "output_audio_transcript.delta", delta="Once upon a time"))
    assert trace.transcript == [("assistant", "Once upon a time")]
    assert trace.facts("turn_complete", "status") == [("incomplete",)]


async def test_an_error_a_failed_and_an_incomplete_answer(play):
    trace = await play(
        SESSION,
        server(
            "error", error={"type": "invalid_request_error", "code": "invalid_value", "message": "Bad thing."}
        ),
        *begin(1),
        end(1, "incomplete", "max_output_tokens"),
        *begin(2),
        end(2, "failed", usage=None),
    )
    assert trace.facts("turn_complete", "status") == [("incomplete",), ("failed",)]
    assert len(trace.all("error")) == 1
    assert trace.root.attributes[METADATA + "error_count"] == 1


async def test_transcripts_that_come_late_and_in_the_wrong_order(play):
    trace = await play(
        SESSION,
        *speech("u1"),
        *begin(1),
        words(1, "First answer."),
        end(1),
        *speech("u2"),
        heard("u2", "Second question?"),
        heard("u1", "First question?"),
        *begin(2),
        words(2, "Second answer."),
        end(2),
    )
    assert sorted(map(messages_of, trace.all("turn_complete"))) == [
        ["First question?", "First answer."],
        ["Second question?", "Second answer."],
    ]


def messages_of(span: Any) -> list[str]:
    return [message["content"] for message in messages(span)]


async def test_a_transcript_that_is_sent_while_the_service_listens(play):
    trace = await play(
        SESSION,
        *speech("u1"),
        heard("u1", "Hello?", status="in_progress"),
        heard("u1", "Hello, my name is", status="in_progress"),
        heard("u1", "Hello, my name is Ann.", status="completed"),
        *begin(1),
        words(1, "Hi Ann."),
        end(1),
    )
    assert [messages_of(span) for span in trace.all("input_transcription")] == [["Hello, my name is Ann."]]
    assert trace.transcript == [("user", "Hello, my name is Ann."), ("assistant", "Hi Ann.")]


async def test_an_answer_out_of_band(play):
    text = [
        {
            "id": "o1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "angry"}],
        }
    ]
    trace = await play(
        SESSION,
        *speech("u1"),
        heard("u1", "I want my money back."),
        *begin(1),
        words(1, "Of course."),
        end(1),
        client(
            "response.create", response={"conversation": "none", "metadata": {"topic": "mood"}, "input": []}
        ),
        server(
            "response.created",
            response={
                "id": "r2",
                "status": "in_progress",
                "output": [],
                "conversation_id": None,
                "metadata": {"topic": "mood"},
            },
        ),
        end(2, output=text, conversation_id=None, metadata={"topic": "mood"}),
    )
    assert trace.transcript == [("user", "I want my money back."), ("assistant", "Of course.")]
    assert trace.facts("turn_complete", "out_of_band") == [(None,), (True,)]


async def test_a_session_with_nothing_but_an_answer_out_of_band(play):
    text = [
        {
            "id": "o1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}],
        }
    ]
    trace = await play(
        SESSION,
        client(
            "response.create", response={"conversation": "none", "instructions": "Classify.", "input": []}
        ),
        server(
            "response.created",
            response={"id": "r1", "status": "in_progress", "output": [], "conversation_id": None},
        ),
        end(1, output=text, conversation_id=None),
    )
    assert trace.transcript == []
    assert [messages_of(span) for span in trace.all("turn_complete")] == [["Classify.", "a"]]
    assert trace.facts("turn_complete", "out_of_band") == [(True,)]
    assert trace.root.attributes[METADATA + "status"] == "completed"


async def test_an_answer_that_a_button_stopped_is_no_barge_in(play):
    trace = await play(
        SESSION,
        *begin(1),
        part(1, "output_audio.delta", delta=SECOND),
        part(1, "output_audio_transcript.delta", delta="Once "),
        client("response.cancel"),
        end(1, "cancelled", "client_cancelled"),
    )
    assert trace.all("interrupted") == []
    assert trace.root.attributes[METADATA + "interruption_count"] == 0
    assert trace.facts("turn_complete", "status", "generated_ms") == [("cancelled", 1000)]


async def test_two_calls_that_are_answered_in_reverse(play):
    def call(number: int, name: str) -> dict[str, Any]:
        asked = {
            "item_id": f"f{number}",
            "call_id": f"c{number}",
            "name": name,
            "arguments": f'{{"x": {number}}}',
        }
        return server(
            "response.function_call_arguments.done", response_id="r1", output_index=number - 1, **asked
        )

    def answer(number: int, output: str) -> dict[str, Any]:
        item = {"type": "function_call_output", "call_id": f"c{number}", "output": output}
        return client("conversation.item.create", item=item)

    created = server("response.created", response={"id": "r1", "status": "in_progress", "output": []})
    trace = await play(
        SESSION,
        created,
        call(1, "a"),
        call(2, "b"),
        end(1),
        answer(2, '{"two": 2}'),
        answer(1, '{"one": 1}'),
        client("response.create"),
        *begin(2),
        words(2, "Both."),
        end(2),
    )
    for name, argument, result in (("a", '{"x":1}', '{"one":1}'), ("b", '{"x":2}', '{"two":2}')):
        (span,) = trace.all(f"function_call: {name}")
        assert span.attributes[semconv.TOOL_ARGUMENTS] == argument
        assert span.attributes[semconv.TOOL_RESULT] == result


# Gemini Live.


def gemini(**event: Any) -> dict[str, Any]:
    return {"dir": "server", "event": event}


async def test_an_interruption_before_speech_and_a_close(play):
    call = {"id": "c1", "name": "lookup", "args": {"city": "Tokyo"}}
    answer = {"id": "c1", "name": "lookup", "response": {"ok": 1}}
    trace = await play(
        gemini(toolCall={"functionCalls": [call]}),
        {"dir": "client", "event": {"toolResponse": {"functionResponses": [answer]}}},
        gemini(serverContent={"interrupted": True}),
    )
    assert len(trace.all("interrupted")) == 1
    assert trace.root.attributes[METADATA + "interruption_count"] == 1
    assert trace.facts("turn_complete", "status") == [("interrupted",)]


async def test_an_interruption_after_text_and_a_close(play):
    trace = await play(
        gemini(serverContent={"modelTurn": {"parts": [{"text": "Once upon"}]}}),
        gemini(serverContent={"interrupted": True}),
    )
    assert trace.transcript == [("assistant", "Once upon")]
    assert len(trace.all("interrupted")) == 1


async def test_a_last_fragment_that_repeats_the_one_before(play):
    trace = await play(
        gemini(serverContent={"outputTranscription": {"text": "ha"}}),
        gemini(serverContent={"outputTranscription": {"text": "ha", "finished": True}}),
        gemini(serverContent={"turnComplete": True}),
    )
    assert trace.transcript == [("assistant", "haha")]


async def test_two_reports_of_usage_in_one_turn(play):
    call = {"id": "c1", "name": "f", "args": {}}
    answer = {"id": "c1", "name": "f", "response": {"ok": 1}}

    def usage(prompt: int, response: int) -> dict[str, Any]:
        counts = {"promptTokenCount": prompt, "responseTokenCount": response}
        return {**counts, "totalTokenCount": prompt + response}

    trace = await play(
        gemini(toolCall={"functionCalls": [call]}, usageMetadata=usage(10, 2)),
        {"dir": "client", "event": {"toolResponse": {"functionResponses": [answer]}}},
        gemini(serverContent={"outputTranscription": {"text": "Done."}}),
        gemini(serverContent={"turnComplete": True}, usageMetadata=usage(14, 3)),
    )
    (turn,) = trace.all("turn_complete")
    assert [turn.attributes[f"gen_ai.usage.{kind}_tokens"] for kind in ("input", "output", "total")] == [
        24,
        5,
        29,
    ]
    assert trace.root.attributes[METADATA + "total_tokens"] == 29
    assert trace.transcript == [("assistant", ""), ("tool", '{"ok": 1}'), ("assistant", "Done.")]
