"""What each wire message becomes, and that nothing is told twice."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_call import Call, as_wire, speech
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode
from wire_call import content, fact, messages, seconds

from voicespan.gemini_live.protocol import CLIENT, SERVER, Protocol
from voicespan.protocol import events
from voicespan.runtime.settings import Level, Settings
from voicespan.testing import FakeClock
from voicespan.testing.exporter import UpToDateSpanExporter

#: What the SDK drops, refuses or raises never comes to us as a message.
wire_only = pytest.mark.parametrize("form", [as_wire], ids=["wire"])

# Words.


def test_a_spoken_turn_is_one_transcription_of_each_side_and_one_turn(call):
    call.setup().microphone()
    call.heard(" Hello", after=1).heard(",", after=0.25).heard(" you.", after=0.25)
    call.said("Good", after=1).audio(100).said(" morning!", after=0.5).audio(100, after=0.5)
    call.content(generationComplete=True, after=0.1).complete(after=0.4).end()

    assert call.names == [
        "setup_complete",
        "input_transcription",
        "output_transcription",
        "turn_complete",
        "generation_complete",
    ]
    heard, said, turn = (
        call.named(n) for n in ("input_transcription", "output_transcription", "turn_complete")
    )
    assert messages(heard) == [{"role": "user", "content": "Hello, you."}]
    assert content(heard, "out") is None
    assert seconds(heard) == 0.5
    assert messages(said) == [{"role": "assistant", "content": "Good morning!"}]
    assert content(said, "in") is None
    assert seconds(said) == 0.5
    assert messages(turn) == [
        {"role": "user", "content": "Hello, you."},
        {"role": "assistant", "content": "Good morning!"},
    ]
    # All was generated then; the rest is Gemini's wait for the playback.
    assert seconds(turn) == 1.1
    assert fact(turn, "generated_ms") == 200
    assert fact(turn, "status") == "completed"
    assert turn.attributes["langsmith.span.kind"] == "llm"
    assert call.transcript == [("user", "Hello, you."), ("assistant", "Good morning!")]


def test_what_has_no_id_on_the_wire_has_none_in_the_trace(call):
    call.setup().microphone().heard("Hi").said("Hello").complete().end()
    for span in call.spans:
        assert not {"gen_ai.response.id"} & set(span.attributes)
        assert not {fact(span, "item_id"), fact(span, "response_id"), fact(span, "call_id")} - {None}


def test_finished_ends_a_transcript(call):
    call.setup().heard("One", after=1).heard(" two.", after=1, finished=True)
    assert messages(call.named("input_transcription")) == [{"role": "user", "content": "One two."}]
    assert seconds(call.named("input_transcription")) == 1
    call.said("Three", after=1).said(" four.", finished=True, after=2)
    assert messages(call.named("output_transcription")) == [{"role": "assistant", "content": "Three four."}]
    assert seconds(call.named("output_transcription")) == 2


@pytest.mark.parametrize("last", [{"finished": True}, {"finished": True, "text": "Hello, you."}])
def test_a_last_fragment_may_be_empty_or_repeat_the_whole(call, last):
    call.setup().heard("Hello,").heard(" you.").content(inputTranscription=last)
    assert messages(call.named("input_transcription")) == [{"role": "user", "content": "Hello, you."}]


def test_the_end_of_a_transcript_that_never_began_is_nothing(call):
    call.setup().content(inputTranscription={"finished": True}, outputTranscription={"finished": True}).end()
    assert call.names == ["setup_complete"]


def test_two_utterances_of_one_turn_are_two_transcriptions_and_one_message(call):
    call.setup().said("One.", finished=True).said(" Two.").complete().end()
    assert [messages(span)[0]["content"] for span in call.all("output_transcription")] == ["One.", "Two."]
    assert call.transcript == [("assistant", "One. Two.")]
    assert messages(call.named("turn_complete"))[-1]["content"] == "One. Two."


def test_words_that_come_during_the_answer_belong_to_what_it_answers(call):
    call.setup(inputAudioTranscription={}).microphone().audio().said("Hello!").heard(
        "Hi"
    ).audio().complete().end()
    assert messages(call.named("turn_complete")) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert call.transcript == [("user", "Hi"), ("assistant", "Hello!")]


def test_the_rest_of_the_words_may_come_during_the_answer(call):
    call.setup().microphone().heard("Hello,").audio().heard(" you.").said("Hi!").complete().end()
    assert [messages(span)[0]["content"] for span in call.all("input_transcription")] == ["Hello,", "you."]
    assert call.transcript == [("user", "Hello, you."), ("assistant", "Hi!")]


def test_words_after_the_turn_are_the_next_one_s(call):
    call.setup().microphone().audio().complete().heard("Next").microphone().audio().complete().end()
    first, second = call.all("turn_complete")
    assert content(first, "in") == {"messages": []}
    assert content(second, "in") == {"messages": [{"role": "user", "content": "Next"}]}


def test_language_and_speaker_are_facts(call):
    call.setup().heard("Hei", languageCode="nb-NO", speakerLabel="speaker_1").audio()
    assert fact(call.named("input_transcription"), "language") == "nb-NO"
    assert fact(call.named("input_transcription"), "speaker") == "speaker_1"


# Text and thoughts.


def test_a_written_answer(call):
    call.setup(generationConfig={"responseModalities": ["TEXT"]})
    call.client(clientContent={"turns": [{"role": "user", "parts": [{"text": "Hi"}]}], "turnComplete": True})
    for word in ("Good", " morning", "!"):
        call.content(modelTurn={"parts": [{"text": word}]}, after=0.1)
    call.complete(after=0.2).end()
    turn = call.named("turn_complete")
    assert messages(turn) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Good morning!"},
    ]
    assert seconds(turn) == 0.4
    assert turn.attributes["gen_ai.output.type"] == "text"
    assert call.transcript == [("user", "Hi"), ("assistant", "Good morning!")]
    assert fact(call.root, "response_modalities") == "TEXT"


def test_thoughts_are_no_words(call):
    call.setup().heard("Hi").content(modelTurn={"parts": [{"text": "Greet back.", "thought": True}]}, after=1)
    call.said("Hello!", after=1).complete().end()
    turn = call.named("turn_complete")
    assert content(turn, "out") == {
        "messages": [{"role": "assistant", "content": "Hello!", "reasoning": "Greet back."}]
    }
    assert seconds(turn) == 1
    assert call.transcript == [("user", "Hi"), ("assistant", "Hello!")]


def test_words_beside_speech_are_kept(call):
    call.setup().said("Spoken.").content(modelTurn={"parts": [speech(20), {"text": "Written."}]})
    call.complete().end()
    assert messages(call.named("turn_complete"))[-1]["content"] == "Spoken. Written."
    assert fact(call.named("turn_complete"), "generated_ms") == 20


def test_code_that_the_model_runs_is_told(call):
    call.setup().content(
        modelTurn={"parts": [{"executableCode": {"code": "1+1", "language": "PYTHON"}}]}
    ).content(modelTurn={"parts": [{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}]})
    assert content(call.named("executable_code"), "out")["executableCode"]["code"] == "1+1"
    assert content(call.named("code_execution_result"), "out")["codeExecutionResult"]["output"] == "2"


# Functions.

OSLO = {"id": "call-1", "name": "get_weather", "args": {"city": "Oslo"}}
ROME = {"id": "call-2", "name": "get_weather", "args": {"city": "Rome"}}


def test_a_call_lasts_until_its_answer_is_sent_and_the_turn_goes_on(call):
    call.setup().heard("Weather?").asks(OSLO, after=1)
    answer = {"id": "call-1", "name": "get_weather", "response": {"output": "sunny"}}
    call.answers(answer, after=2).said("It is sunny.").complete().end()
    tool = call.named("function_call: get_weather")
    assert seconds(tool) == 2
    assert content(tool, "in") == {"city": "Oslo"}
    assert content(tool, "out") == {"output": "sunny"}
    assert tool.attributes["gen_ai.tool.call.id"] == fact(tool, "call_id") == "call-1"
    assert tool.attributes["langsmith.span.kind"] == "tool"
    response = call.named("function_response: get_weather")
    assert messages(response)[0]["tool_call_id"] == "call-1"
    assert seconds(response) == 0
    turn = call.named("turn_complete")
    # The answer is what the next turn is given: this one asked for it.
    assert [message["role"] for message in content(turn, "in")["messages"]] == ["user"]
    (said,) = content(turn, "out")["messages"]
    assert said["content"] == "It is sunny."
    assert said["tool_calls"] == [
        {
            "id": "call-1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
        }
    ]
    assert [role for role, _ in call.transcript] == ["user", "assistant", "tool", "assistant"]


def test_parallel_calls_are_one_message_and_answered_in_any_order(call):
    call.setup().asks(OSLO, ROME)
    call.answers({"id": "call-2", "name": "get_weather", "response": {"output": "hot"}}, after=1)
    call.answers({"id": "call-1", "name": "get_weather", "response": {"output": "cold"}}, after=1)
    call.complete().end()
    by_city = {content(span, "in")["city"]: span for span in call.all("function_call: get_weather")}
    assert content(by_city["Rome"], "out") == {"output": "hot"}
    assert content(by_city["Oslo"], "out") == {"output": "cold"}
    assert (seconds(by_city["Rome"]), seconds(by_city["Oslo"])) == (1, 2)
    assert len(messages(call.root)[0]["tool_calls"]) == 2


def test_calls_without_ids_are_matched_by_name_in_their_order(call):
    bare = [{key: call_[key] for key in ("name", "args")} for call_ in (OSLO, ROME)]
    call.setup().asks(*bare, {"name": "get_time", "args": {}})
    call.answers({"name": "get_time", "response": {"output": "noon"}})
    call.answers({"name": "get_weather", "response": {"output": "cold"}})
    call.answers({"name": "get_weather", "response": {"output": "hot"}})
    call.complete().end()
    by_city = {content(span, "in")["city"]: span for span in call.all("function_call: get_weather")}
    assert content(by_city["Oslo"], "out") == {"output": "cold"}
    assert content(by_city["Rome"], "out") == {"output": "hot"}
    assert content(call.named("function_call: get_time"), "out") == {"output": "noon"}
    for span in call.spans:
        assert fact(span, "call_id") is None
        assert "gen_ai.tool.call.id" not in span.attributes
    # Nor is one invented for the messages.
    assert all("id" not in each for each in messages(call.root)[0]["tool_calls"])
    assert all("tool_call_id" not in message for message in messages(call.root))


def test_a_cancelled_call_is_an_error_and_a_late_answer_changes_nothing(call):
    call.setup().asks(OSLO, ROME).server(toolCallCancellation={"ids": ["call-1"]}, after=1)
    call.answers({"id": "call-1", "name": "get_weather", "response": {"output": "cold"}}, after=1)
    call.answers({"id": "call-2", "name": "get_weather", "response": {"output": "hot"}}).complete().end()
    by_city = {content(span, "in")["city"]: span for span in call.all("function_call: get_weather")}
    assert by_city["Oslo"].status.status_code is StatusCode.ERROR
    assert by_city["Oslo"].attributes["error.type"] == "cancelled"
    assert seconds(by_city["Oslo"]) == 1
    assert by_city["Rome"].status.status_code is StatusCode.UNSET
    assert content(call.named("tool_call_cancellation"), "out") == {
        "toolCallCancellation": {"ids": ["call-1"]}
    }
    assert len(call.all("function_response: get_weather")) == 2


def test_a_call_that_is_never_answered_is_an_error(call):
    call.setup().asks(OSLO).complete().end()
    assert call.named("function_call: get_weather").attributes["error.type"] == "never_answered"


def test_a_call_that_does_not_block_is_answered_in_a_later_turn(call):
    call.setup().heard("Book it").asks(OSLO).said("I am on it.").complete()
    answer = {"id": "call-1", "name": "get_weather", "response": {"output": "ok"}, "scheduling": "WHEN_IDLE"}
    call.answers(answer, after=3).said("Done.").complete().end()
    assert seconds(call.named("function_call: get_weather")) == 3
    assert fact(call.named("function_response: get_weather"), "scheduling") == "WHEN_IDLE"
    first, second = call.all("turn_complete")
    assert [message["role"] for message in content(first, "in")["messages"]] == ["user"]
    assert [message["role"] for message in content(second, "in")["messages"]] == ["tool"]


def test_a_call_that_is_answered_in_parts_ends_with_the_last(call):
    call.setup().asks(OSLO)
    part = {"id": "call-1", "name": "get_weather", "response": {"output": "1"}, "willContinue": True}
    call.answers(part, after=1).answers({**part, "response": {"output": "2"}, "willContinue": False}, after=1)
    assert len(call.all("function_response: get_weather")) == 2
    tool = call.named("function_call: get_weather")
    assert seconds(tool) == 2
    assert content(tool, "out") == {"output": "2"}


def test_arguments_in_pieces_make_one_call_when_they_are_complete(make_call):
    call = make_call().setup()
    begun = {"id": "call-1", "name": "write", "willContinue": True}
    call.asks(begun)
    call.asks({**begun, "partialArgs": [{"jsonPath": "$.text", "stringValue": "Dear "}]})
    call.asks({**begun, "partialArgs": [{"jsonPath": "$.text", "stringValue": "Ada"}]})
    call.asks({"id": "call-1", "name": "write", "partialArgs": [{"jsonPath": "$.copies", "numberValue": 2}]})
    call.end()
    assert content(call.named("function_call: write"), "in") == {"text": "Dear Ada", "copies": 2}


def test_an_answer_in_a_typed_message_is_an_answer(call):
    call.setup().asks(OSLO)
    response = {"functionResponse": {"id": "call-1", "name": "get_weather", "response": {"output": "cold"}}}
    call.client(clientContent={"turns": [{"role": "user", "parts": [response]}], "turnComplete": True})
    assert content(call.named("function_call: get_weather"), "out") == {"output": "cold"}


# Turns.

USAGE = {
    "promptTokenCount": 1197,
    "cachedContentTokenCount": 1000,
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
    "responseTokenCount": 37,
    "totalTokenCount": 1234,
    "toolUsePromptTokenCount": 7,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 1196},
        {"modality": "AUDIO", "tokenCount": 1},
    ],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 37}],
    "thoughtsTokenCount": 28,
    "trafficType": "ON_DEMAND",
}


def test_thoughts_are_output_and_the_prompts_of_tools_input(call):
    call.setup().said("Hello!").complete(usage=USAGE).end()
    turn = call.named("turn_complete")
    assert json.loads(turn.attributes["langsmith.usage_metadata"]) == {
        "input_tokens": 1204,
        "output_tokens": 65,
        "total_tokens": 1269,
        "input_token_details": {"text": 196, "audio": 1, "tool_use": 7, "cache_read": 1000},
        "output_token_details": {"audio": 37, "reasoning": 28},
    }
    assert turn.attributes["gen_ai.usage.total_tokens"] == 1269
    assert turn.attributes["gen_ai.usage.text.cache_read.input_tokens"] == 1000
    assert turn.attributes["gen_ai.usage.reasoning.output_tokens"] == 28
    assert fact(turn, "tool_use_prompt_tokens") == 7
    assert fact(turn, "traffic_type") == "ON_DEMAND"
    assert fact(call.root, "total_tokens") == 1269
    assert fact(call.root, "output_reasoning_tokens") == 28


def test_usage_in_a_message_of_its_own_belongs_to_the_turn_in_progress(call):
    call.setup().asks(OSLO).server(usageMetadata={"promptTokenCount": 10, "totalTokenCount": 15})
    call.answers({"id": "call-1", "name": "get_weather", "response": {}})
    call.complete(usage={"promptTokenCount": 20, "responseTokenCount": 3, "totalTokenCount": 23}).end()
    turn = call.named("turn_complete")
    assert turn.attributes["gen_ai.usage.input_tokens"] == 30
    assert turn.attributes["gen_ai.usage.output_tokens"] == 3
    assert turn.attributes["gen_ai.usage.total_tokens"] == 38
    assert "usage_metadata" not in call.names


def test_usage_outside_of_any_turn_is_an_event_and_counts(call):
    call.setup().said("Hello!").complete().server(usageMetadata={"totalTokenCount": 11}).end()
    assert "gen_ai.usage.total_tokens" not in call.named("turn_complete").attributes
    assert content(call.named("usage_metadata"), "out") == {"usageMetadata": {"totalTokenCount": 11}}
    assert fact(call.root, "total_tokens") == 11


def test_a_turn_that_the_server_rejects_is_an_error_of_the_turn_alone(call):
    call.setup().heard("…").complete(turnCompleteReason="RESPONSE_REJECTED").end()
    turn = call.named("turn_complete")
    assert turn.status.status_code is StatusCode.ERROR
    assert turn.attributes["error.type"] == fact(turn, "reason") == "RESPONSE_REJECTED"
    assert fact(turn, "status") == "failed"
    assert call.root.status.status_code is StatusCode.UNSET


def test_a_turn_that_needs_more_input_is_none(call):
    call.setup().heard("Well").complete(turnCompleteReason="NEED_MORE_INPUT").end()
    assert call.named("turn_complete").status.status_code is StatusCode.UNSET
    assert fact(call.named("turn_complete"), "status") == "completed"


def test_several_fields_of_one_message_are_told_in_the_order_in_which_they_happened(call):
    call.setup()
    call.server(
        serverContent={
            "turnComplete": True,
            "interrupted": True,
            "outputTranscription": {"text": "Hel"},
            "modelTurn": {"parts": [speech(40)]},
            "inputTranscription": {"text": "Hi"},
        },
        usageMetadata={"totalTokenCount": 5},
    ).end()
    assert call.names == [
        "setup_complete",
        "input_transcription",
        "output_transcription",
        "interrupted",
        "turn_complete",
    ]
    turn = call.named("turn_complete")
    assert messages(turn) == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel"}]
    assert turn.attributes["gen_ai.usage.total_tokens"] == 5
    assert fact(turn, "interrupted") is True


def test_what_is_empty_is_nothing(call):
    call.setup().server().server(serverContent={}).server(serverContent={"modelTurn": {"parts": []}})
    call.server(toolCall={}).server(toolCallCancellation={}).end()
    assert [name for name in call.names if name != "tool_call_cancellation"] == ["setup_complete"]
    assert fact(call.root, "event_count") == 7


def test_an_answer_that_the_connection_cuts_off_is_told_as_far_as_it_came(call):
    call.setup().heard("Hi").said("Good mor").audio(60).end()
    assert messages(call.named("output_transcription"))[0]["content"] == "Good mor"
    turn = call.named("turn_complete")
    assert fact(turn, "status") == "incomplete"
    assert fact(turn, "generated_ms") == 60
    assert call.transcript == [("user", "Hi"), ("assistant", "Good mor")]


def test_what_waits_is_told_when_tracing_ends(call):
    call.setup().heard("Hi")
    call.conversation.end(status="untraced")
    assert messages(call.named("input_transcription"))[0]["content"] == "Hi"
    assert fact(call.root, "status") == "untraced"


# Barge-ins.


def test_a_barge_in(call):
    call.setup().microphone().heard("Tell me").said("Once upon").audio(500, after=1)
    call.heard(" Stop", after=1).content(interrupted=True, after=0.1).complete()
    call.heard(" it!").microphone().said("Fine.", after=1).complete().end()
    cut = call.named("interrupted")
    assert fact(cut, "generated_ms") == 500
    assert fact(cut, "cause") == "interrupted"
    first, second = call.all("turn_complete")
    assert fact(first, "status") == "interrupted"
    assert fact(first, "interrupted") is True
    assert messages(second) == [
        {"role": "user", "content": "Stop it!"},
        {"role": "assistant", "content": "Fine."},
    ]
    assert [text for _, text in call.transcript] == ["Tell me", "Once upon", "Stop it!", "Fine."]
    assert messages(call.root)[1]["metadata"] == {"interrupted": True, "generated_ms": 500}
    assert fact(call.root, "interruption_count") == 1


def test_who_interrupts_may_be_transcribed_only_afterwards(call):
    call.setup(inputAudioTranscription={}).microphone().audio(100)
    call.content(interrupted=True).heard("Stop").complete()
    call.microphone().said("Fine.").heard(" it!").complete().end()
    assert [text for _, text in call.transcript if text] == ["Stop it!", "Fine."]
    assert messages(call.all("turn_complete")[1])[0] == {"role": "user", "content": "Stop it!"}


def test_an_interruption_is_told_once(call):
    call.setup().audio(100).content(interrupted=True).complete(interrupted=True).end()
    assert len(call.all("interrupted")) == 1
    assert fact(call.root, "interruption_count") == 1


def test_an_interruption_of_an_answer_that_was_complete(call):
    call.setup().audio(100).content(generationComplete=True).content(interrupted=True, after=1).complete()
    call.end()
    assert fact(call.named("turn_complete"), "status") == "interrupted"
    assert call.names.count("interrupted") == 1


def test_an_interruption_while_the_last_answer_is_still_played(call):
    call.setup().said("Once upon").audio(100).complete().content(interrupted=True, after=1).end()
    assert fact(call.named("interrupted"), "generated_ms") == 100
    assert messages(call.root)[0]["metadata"]["interrupted"] is True


def test_an_interruption_before_there_was_anything_to_hear(call):
    call.setup().asks(OSLO).server(toolCallCancellation={"ids": ["call-1"]})
    call.content(interrupted=True).complete().end()
    assert fact(call.named("interrupted"), "generated_ms") is None
    assert fact(call.named("turn_complete"), "status") == "interrupted"


# Voice activity.


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (
            {"voiceActivity": {"type": "ACTIVITY_START"}},
            {"voiceActivity": {"type": "ACTIVITY_END", "audioOffset": "1.5s"}},
        ),
        (
            {"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_SOS"}},
            {"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_EOS"}},
        ),
    ],
)
def test_the_latency_is_measured_from_the_end_of_the_user_s_speech(call, start, stop):
    call.setup().microphone().server(**start).server(**stop, after=1.5).audio(after=0.4).complete().end()
    turn = call.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_ms") == fact(turn, "response_gap_ms") == 400
    assert (fact(turn, "response_gap_from"), fact(turn, "response_gap_basis")) == ("speech_end", "server")
    assert fact(turn, "endpointing_ms") == 0
    assert len([name for name in call.names if name.startswith("voice_activity")]) == 2


@pytest.mark.parametrize(
    ("silence_ms", "offset", "silent_before_ms"),
    # The silence is not in the first offset, it is in the second; and in the third it is not known whether it is.
    [(600, "2.400s", 600), (600, "3.000s", 600), (None, "2.900s", 100)],
)
def test_the_offset_of_an_activitys_end_says_when_the_user_was_silent(
    call, silence_ms, offset, silent_before_ms
):
    """However late it comes: here 300 ms after the audio of which it speaks was sent."""
    detection = {} if silence_ms is None else {"silenceDurationMs": silence_ms}
    call.setup(realtimeInputConfig={"automaticActivityDetection": detection})
    for _ in range(150):
        call.clock.advance(0.02)
        call.microphone(20)
    call.server(voiceActivity={"type": "ACTIVITY_START", "audioOffset": "0.5s"})
    call.server(voiceActivity={"type": "ACTIVITY_END", "audioOffset": offset}, after=0.3)
    call.audio(after=0.4).complete().end()
    turn = call.named("turn_complete")
    assert fact(turn, "response_gap_ms") == pytest.approx(silent_before_ms + 300 + 400, abs=1)
    assert fact(turn, "endpointing_ms") == pytest.approx(silent_before_ms + 300, abs=1)
    assert (fact(turn, "response_gap_from"), fact(turn, "response_gap_basis")) == ("speech_end", "server")


@pytest.mark.parametrize("offset", ["", "s", "-1s", "1e3s", "1.5", "٣s", "9" * 400 + "s", 3, None, {}])
def test_an_offset_that_cannot_be_read_says_nothing(call, offset):
    call.setup().microphone(3_000)
    call.server(voiceActivity={"type": "ACTIVITY_START"})
    call.connection.received(json.dumps({"voiceActivity": {"type": "ACTIVITY_END", "audioOffset": offset}}))
    call.audio(after=0.4).complete().end()
    assert fact(call.named("turn_complete"), "response_gap_ms") == 400


def test_without_voice_activity_there_is_no_latency(call):
    call.setup().microphone().heard("Hi").audio().complete().end()
    assert fact(call.named("turn_complete"), "latency_to_first_audio_ms") is None
    assert fact(call.named("turn_complete"), "response_gap_ms") is None


def test_a_generation_says_whether_only_a_recording_knows_when_the_user_was_silent():
    def begun(*messages):
        protocol = Protocol()
        for side, message in messages:
            told = (
                getattr(protocol, side)(message, 0)
                if side == "receive"
                else protocol.skip_client_frame(message, 0)
            )
        (generation,) = [each for each in told if isinstance(each, events.GenerationStarted)]
        return generation.speech_unmarked

    microphone = ("send", {"realtimeInput": {"audio": {"data": b"1", "mimeType": "audio/pcm;rate=16000"}}})
    answer = ("receive", {"serverContent": {"modelTurn": {"parts": [speech(100)]}}})
    marked = ("receive", {"voiceActivity": {"type": "ACTIVITY_START"}})
    assert begun(microphone, answer) is True
    assert begun(answer) is False
    assert begun(marked, microphone, answer) is False


def test_the_application_s_own_turn_taking(call):
    call.setup(realtimeInputConfig={"automaticActivityDetection": {"disabled": True}})
    call.client(realtimeInput={"activityStart": {}}).client(realtimeInput={"activityEnd": {}}, after=1)
    call.audio(after=0.3).complete().end()
    assert fact(call.named("turn_complete"), "latency_to_first_audio_ms") == 300
    assert call.names[1:4] == ["activity_start", "user_speech", "activity_end"]
    assert seconds(call.named("user_speech")) == 1
    assert fact(call.root, "turn_detection") == "manual"


# What the application sends.


def test_typed_messages_and_histories(call):
    call.setup()
    turns = [
        {"role": "user", "parts": [{"text": "I am Ada."}]},
        {"role": "model", "parts": [{"text": "Hello, Ada."}]},
        {
            "role": "user",
            "parts": [{"text": "Look:"}, {"inlineData": {"mimeType": "image/png", "data": b"\x89PNG" * 99}}],
        },
    ]
    call.client(clientContent={"turns": turns, "turnComplete": True}).said("A cat.").complete().end()
    assert [text for _, text in call.transcript] == [
        "I am Ada.",
        "Hello, Ada.",
        "Look: [image/png]",
        "A cat.",
    ]
    assert len(content(call.named("turn_complete"), "in")["messages"]) == 3
    event = content(call.named("client_content"), "in")["clientContent"]
    assert event["turns"][2]["parts"][1] == {"inlineData": {"mimeType": "image/png", "bytes": 396}}


def test_text_of_the_moment(call):
    call.setup().client(realtimeInput={"text": "Hi"}).said("Hello").complete().end()
    assert call.transcript == [("user", "Hi"), ("assistant", "Hello")]
    assert content(call.named("realtime_input"), "in") == {"realtimeInput": {"text": "Hi"}}


def test_of_a_video_the_first_frame_before_each_answer_is_told(call):
    frame = {
        "realtimeInput": {"video": {"mimeType": "image/jpeg", "data": base64.b64encode(bytes(999)).decode()}}
    }
    call.setup()
    for _ in range(5):
        call.client(**frame)
    call.said("I see.").complete().client(**frame).end()
    told = call.all("realtime_input")
    assert len(told) == 2
    assert content(told[0], "in") == {"realtimeInput": {"video": {"mimeType": "image/jpeg", "bytes": 999}}}
    assert messages(call.named("turn_complete"))[0] == {"role": "user", "content": "[image/jpeg]"}
    assert fact(call.root, "event_count") == 10


@pytest.mark.parametrize(
    "given",
    [
        {"audio": {"mimeType": "audio/pcm", "data": "AAAA"}},
        {"media": {"mime_type": "audio/pcm", "data": b"\0\0"}},
        {"media_chunks": [{"mime_type": "audio/pcm;rate=16000", "data": "AAAA"}]},
    ],
)
def test_the_microphone_is_only_counted(call, given):
    call.setup()
    for _ in range(10):
        call.client(realtime_input=given)
    call.end()
    assert call.names == ["setup_complete"]
    assert fact(call.root, "event_count") == 12


def test_an_update_of_the_context_is_told(call):
    call.setup().client(contextUpdate={"systemInstruction": {"parts": [{"text": "Be brief."}]}})
    assert "Be brief." in json.dumps(content(call.named("context_update"), "in"))


# The session.


def test_what_the_session_is_stands_on_the_root(call):
    call.setup(
        generationConfig={
            "responseModalities": ["AUDIO"],
            "speechConfig": {
                "languageCode": "en-US",
                "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}},
            },
        },
        inputAudioTranscription={},
    ).end()
    root = call.root
    assert root.attributes["gen_ai.request.model"] == "gemini-live"
    assert fact(root, "realtime_session_id") == "session-1"
    assert fact(root, "response_modalities") == "AUDIO"
    assert fact(root, "voice") == "Puck"
    assert fact(root, "language") == "en-US"
    assert fact(root, "transcribes_input") is True
    assert fact(root, "transcribes_output") is False
    assert fact(root, "turn_detection") == "automatic"


def test_resumption_updates_are_told_once_for_each_handle_and_never_the_handle(make_call):
    call = make_call(settings=Settings(raw_events=True, events=Level.ALL, resume_window=0))
    call.setup(sessionResumption={"handle": "old-secret-handle"})
    for handle in ("secret-handle-1", "secret-handle-1", "secret-handle-2"):
        call.server(
            sessionResumptionUpdate={"newHandle": handle, "resumable": True},
            serverContent={"interrupted": True},
        )
    call.server(sessionResumptionUpdate={"resumable": False}).end()
    told = [content(span, "out")["sessionResumptionUpdate"] for span in call.all("session_resumption_update")]
    assert [each.get("resumable") for each in told] == [True, True, False]
    assert [len(each.get("handleSha256", "")) for each in told] == [12, 12, 0]
    assert told[0] != told[1]
    assert "secret-handle" not in json.dumps([dict(span.attributes) for span in [*call.spans, call.root]])


def test_going_away_is_told(call):
    call.setup().server(goAway={"timeLeft": "10s"}).end()
    assert content(call.named("go_away"), "out") == {"goAway": {"timeLeft": "10s"}}


def test_grounding_is_told(call):
    call.setup().content(groundingMetadata={"webSearchQueries": ["weather oslo"]}).end()
    assert "weather oslo" in json.dumps(content(call.named("grounding_metadata"), "out"))


@wire_only
def test_an_error_of_the_server_s_is_one(make_call):
    call = (
        make_call()
        .setup()
        .server(error={"code": 400, "message": "no such voice", "status": "INVALID_ARGUMENT"})
    )
    span = call.named("error")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "INVALID_ARGUMENT"
    assert span.events[0].attributes["exception.message"] == "no such voice"
    assert fact(span, "code") == 400


@wire_only
def test_unknown_fields_are_told_under_their_own_name(make_call):
    call = make_call().setup()
    call.server(moodRing={"color": "blue"}, serverContent={"laughTrack": {"length": 3}, "turnComplete": True})
    call.client(telepathy={"on": True}).end()
    assert content(call.named("mood_ring"), "out") == {"moodRing": {"color": "blue"}}
    assert content(call.named("laugh_track"), "out") == {"serverContent": {"laughTrack": {"length": 3}}}
    assert "telepathy" not in call.names


@wire_only
def test_what_is_of_another_type_than_documented_is_not_told(make_call):
    call = make_call().setup()
    for value in (7, "text", [1], {"parts": 3}, {"text": {"a": 1}}, {"functionCalls": [3, {}]}, True):
        for field in SERVER:
            call.server(**{field: value})
            call.server(serverContent={field: value})
        for field in CLIENT:
            call.client(**{field: value})
            call.client(realtimeInput={field: value})
    call.connection.received(b"\xff\xfe")
    call.connection.received("[1]")
    call.connection.sent("{")
    call.end()
    assert call.names.count("unreadable_frame") == 3
    assert call.root.name == "conversation"


# How much is told.


def everything(call: Call) -> Call:
    call.setup().client(realtimeInput={"audioStreamEnd": True})
    call.heard("Hi").content(modelTurn={"parts": [{"text": "Hmm", "thought": True}]})
    call.said("Hello!").audio(20).audio(20).content(generationComplete=True).complete()
    call.client(realtimeInput={"text": "typed"}).server(goAway={"timeLeft": "1s"})
    return call.end()


@pytest.mark.parametrize(
    ("events", "names"),
    [
        (Level.ESSENTIAL, {"setup_complete", "go_away"}),
        (Level.STANDARD, {"setup_complete", "go_away", "generation_complete", "realtime_input"}),
        (
            Level.ALL,
            {
                "setup_complete",
                "go_away",
                "generation_complete",
                "realtime_input",
                "setup",
                "audio_stream_end",
                "input_transcription.fragment",
                "output_transcription.fragment",
                "model_turn",
            },
        ),
    ],
)
def test_the_events_mode_decides_which_other_events_are_told(make_call, events, names):
    call = everything(make_call(settings=Settings(events=events)))
    always = {"input_transcription", "output_transcription", "turn_complete"}
    assert set(call.names) == always | names
    # Audio alone is never an event.
    assert len(call.all("model_turn")) == (events is Level.ALL)


def test_no_content_keeps_the_shape_and_no_words(make_call):
    call = everything(make_call(settings=Settings(capture_content=False, events=Level.ALL)))
    written = json.dumps([dict(span.attributes) for span in [*call.spans, call.root]])
    assert not [word for word in ("Hmm", "Hello!", "typed", '"Hi"') if word in written]
    assert fact(call.named("turn_complete"), "generated_ms") == 40


def test_every_text_passes_the_redaction(make_call):
    seen = []

    def redact(text, *, role, place):
        seen.append(text)
        return "[gone]"

    call = make_call(settings=Settings(redact=redact)).setup()
    call.heard("Hi").asks(OSLO).answers(
        {"id": "call-1", "name": "get_weather", "response": {"output": "cold"}}
    )
    call.content(modelTurn={"parts": [{"text": "Hmm", "thought": True}]}).said("Hello!").complete().end()
    assert {"Hi", "Hmm", "Hello!", '{"city": "Oslo"}', '{"output": "cold"}'} <= set(seen)
    written = json.dumps([dict(span.attributes) for span in [*call.spans, call.root]])
    assert not [word for word in ("Hmm", "Hello!", "Oslo", "cold") if word in written]


def test_raw_events_carry_the_whole_message_without_audio(make_call):
    call = make_call(settings=Settings(raw_events=True)).setup()
    call.content(modelTurn={"parts": [speech(100)]}, outputTranscription={"text": "Hello!", "finished": True})
    raw = json.loads(call.named("output_transcription").attributes["langsmith.metadata.raw_event"])
    assert raw["serverContent"]["outputTranscription"]["text"] == "Hello!"
    assert "AQABAAEA" not in json.dumps(raw)


# Bounds.


def test_without_transcription_no_place_is_kept_for_words(call):
    call.setup()
    for _ in range(5):
        call.microphone().audio().complete()
    assert len(call.conversation.lifecycle.spans.transcript) == 0
    call.end()


KEYS = sorted(
    {
        *SERVER,
        *CLIENT,
        *("serverContent", "realtimeInput", "parts", "text", "inlineData", "mimeType", "data", "finished"),
        *("functionCalls", "functionResponses", "id", "ids", "name", "args", "partialArgs", "willContinue"),
        *("newHandle", "resumable", "turns", "role", "turnComplete", "functionCall", "response", "modality"),
        *("promptTokensDetails", "tokenCount", "promptTokenCount", "thought", "type", "sessionResumption"),
    }
)
TEXTS = st.sampled_from(
    ["", "a", "audio/pcm;rate=0", "audio/pcm;rate=24000", "ACTIVITY_END", "AUDIO", "\ud800"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.booleans(), MESSAGES), max_size=6))
def test_no_message_breaks_it(exchange):
    """What is written must also be something that an exporter can encode."""
    exporter, provider = UpToDateSpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = Call(
        provider, exporter, FakeClock(), as_wire, settings=Settings(events=Level.ALL, resume_window=0)
    )
    for from_client, message in exchange:
        (call.client if from_client else call.server)(**message)
    call.end()
    assert call.root.name == "conversation"
    for span in exporter.get_finished_spans():
        for value in span.attributes.values():
            if isinstance(value, str):
                value.encode()


def test_memory_is_bounded(make_call):
    call = make_call()
    for number in range(600):
        call.asks({"id": f"call-{number}", "name": "f", "args": {}})
        call.asks({"id": f"part-{number}", "name": "f", "willContinue": True})
        call.server(sessionResumptionUpdate={"newHandle": f"h{number}", "resumable": True})
    protocol = call.protocol
    assert len(protocol._session.calls._open) <= 256
    assert len(protocol._session.calls._partial) <= 257
    assert len(protocol._session.resumption_updates) <= 256
    assert len(call.conversation.lifecycle.resumption.handles) <= 64


def test_audio_is_counted_by_its_rate_and_in_both_alphabets():
    protocol = Protocol()
    data = base64.urlsafe_b64encode(bytes(32000)).decode().rstrip("=")
    part = {"inlineData": {"mimeType": "audio/pcm;rate=16000", "data": data}}
    protocol.receive({"serverContent": {"modelTurn": {"parts": [part]}}}, 0)
    ended = protocol.receive({"serverContent": {"turnComplete": True}}, 1)[-1]
    assert ended.generated_ms == 1000
