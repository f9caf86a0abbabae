"""What comes late, twice, or past the SDK's methods: each thing is told once, where it happened."""

from __future__ import annotations

import pytest
from live_call import as_sdk
from opentelemetry.trace import StatusCode
from wire_call import content, fact, messages, seconds

BOTH = {"inputAudioTranscription": {}, "outputAudioTranscription": {}}
WEATHER = {"id": "f1", "name": "weather", "args": {"city": "Rome"}}
SUNNY = {"id": "f1", "name": "weather", "response": {"output": "sunny"}}


def turns(call):
    return [
        [(each["role"], each["content"]) for each in messages(turn)] for turn in call.all("turn_complete")
    ]


# Words after `turnComplete`.


def first_answer(call):
    """An answer of which the last words come after its turn."""
    call.setup(**BOTH).microphone().heard("Hello there.", after=1).audio(1000, after=0.1).said("Hi,")
    call.content(generationComplete=True, after=0.05).complete(after=0.05)
    return call.said(" how can I", after=0.15).said(" help you?", after=0.05)


def test_late_words_of_the_model_are_of_the_turn_that_is_over(call):
    first_answer(call).microphone().heard("Book a table.", after=3).audio(1000, after=0.1).said("Sure.")
    call.content(generationComplete=True).complete(after=0.05).end()
    assert turns(call) == [
        [("user", "Hello there."), ("assistant", "Hi, how can I help you?")],
        [("user", "Book a table."), ("assistant", "Sure.")],
    ]
    assert [text for _, text in call.transcript] == [
        "Hello there.",
        "Hi, how can I help you?",
        "Book a table.",
        "Sure.",
    ]
    assert seconds(call.all("turn_complete")[1]) == 0


def test_late_words_that_nothing_follows_make_no_turn(call):
    first_answer(call).microphone().end()
    assert turns(call) == [[("user", "Hello there."), ("assistant", "Hi, how can I help you?")]]
    assert fact(call.named("turn_complete"), "status") == "completed"


def test_late_words_after_a_whole_sentence_wait_for_nothing(call):
    call.setup(**BOTH).heard("Hello.").audio().said("Hi.").complete()
    call.heard("Well", after=3)
    assert len(call.all("turn_complete")) == 1


def test_words_directly_before_the_audio_begin_its_turn(call):
    call.setup(**BOTH).heard("Hello.").audio().said("Hi.").complete()
    call.said("Still", after=5).said(" there?", after=0.2).audio(after=0.3).complete(after=0.1).end()
    first, second = turns(call)
    assert first[-1] == ("assistant", "Hi.")
    assert second == [("assistant", "Still there?")]
    assert seconds(call.all("turn_complete")[1]) == 0.6


def test_late_words_of_the_user_are_what_the_last_turn_answered(call):
    call.setup(**BOTH).microphone().audio(1000, after=1).said("Hi.").complete(after=0.1)
    call.heard("Hello", after=0.2).heard(" there.", after=0.1).microphone()
    call.audio(1000, after=3).said("Bye.").complete(after=0.1).heard("Goodbye.", after=0.3).end()
    assert turns(call) == [
        [("user", "Hello there."), ("assistant", "Hi.")],
        [("user", "Goodbye."), ("assistant", "Bye.")],
    ]
    assert [text for _, text in call.transcript] == ["Hello there.", "Hi.", "Goodbye.", "Bye."]


def test_words_are_not_those_of_an_answer_to_what_was_typed_while_the_microphone_was_open(call):
    """As Pipecat does it: it has the model greet, and sends the silence of its caller meanwhile."""
    call.setup(**BOTH)
    asked = {"turns": [{"role": "user", "parts": [{"text": "Greet."}]}], "turnComplete": True}
    call.client(clientContent=asked).microphone().audio(after=0.3).said("Hello.").complete()
    call.microphone().heard("Hi.", after=2.5).audio(after=0.1).said("Well?").complete().end()
    assert turns(call) == [
        [("user", "Greet."), ("assistant", "Hello.")],
        [("user", "Hi."), ("assistant", "Well?")],
    ]
    assert [text for _, text in call.transcript] == ["Greet.", "Hello.", "Hi.", "Well?"]


def test_who_is_heard_anew_says_something_new(call):
    call.setup(**BOTH).microphone().audio(after=1).said("Hi.").complete()
    call.heard("Hello.", after=0.2).heard("Book a table.", after=3).audio().said("Sure.").complete().end()
    assert turns(call) == [
        [("user", "Hello."), ("assistant", "Hi.")],
        [("user", "Book a table."), ("assistant", "Sure.")],
    ]


def test_a_turn_whose_user_said_nothing_is_written_when_the_next_begins(call):
    call.setup(**BOTH).microphone().audio(after=1).said("Hi.").complete()
    call.audio(after=2)
    assert turns(call) == [[("assistant", "Hi.")]]


@pytest.mark.parametrize("blank", [" ", "\n", "\u00a0"])
def test_white_space_is_no_message(call, blank):
    call.setup(**BOTH).heard(blank).said(blank).client(realtimeInput={"text": blank})
    call.client(clientContent={"turns": [{"role": "user", "parts": [{"text": blank}]}]})
    call.content(modelTurn={"parts": [{"text": blank}]}).complete().end()
    assert call.transcript == []
    assert "input_transcription" not in call.names
    assert "output_transcription" not in call.names
    assert content(call.named("turn_complete"), "out")["messages"] == [{"role": "assistant", "content": ""}]


def test_a_last_fragment_that_repeats_the_first_is_said_twice(call):
    call.setup(**BOTH).said("ha").said("ha", finished=True).complete().end()
    assert call.transcript == [("assistant", "haha")]


# Function calls.


def test_a_call_in_two_frames_is_one(call):
    call.setup().heard("Weather?").content(modelTurn={"parts": [{"functionCall": WEATHER}]})
    call.asks(WEATHER, after=0.01).answers(SUNNY, after=0.3).said("Sunny.").complete().end()
    tool = call.named("function_call: weather")
    assert tool.status.status_code is StatusCode.UNSET
    assert fact(call.root, "function_call_count") == 1
    assert len(messages(call.named("turn_complete"))[-1]["tool_calls"]) == 1
    assert [role for role, _ in call.transcript] == ["user", "assistant", "tool", "assistant"]


def test_a_call_in_two_frames_without_an_id_is_one(call):
    bare = {"name": "weather", "args": {"city": "Rome"}}
    call.setup().content(modelTurn={"parts": [{"functionCall": bare}]}).asks(bare)
    call.answers({"name": "weather", "response": {}}).complete().end()
    assert fact(call.root, "function_call_count") == 1


def test_two_equal_calls_in_one_kind_of_frame_are_two(call):
    call.setup().asks(WEATHER).asks({**WEATHER, "id": "f2"}).end()
    assert fact(call.root, "function_call_count") == 2


def test_a_call_that_is_answered_unseen_is_no_error(call):
    call.setup(**BOTH).heard("Weather?").asks(WEATHER).audio(after=2).said("Sunny.").complete()
    call.heard("Thanks.", after=3).audio().said("Welcome.").complete().end()
    tool = call.named("function_call: weather")
    assert tool.status.status_code is StatusCode.UNSET
    assert fact(tool, "answer") == "unseen"
    assert content(tool, "out") is None


def test_a_call_after_which_nothing_came_is_an_error(call):
    call.setup().heard("Weather?").asks(WEATHER).end()
    assert call.named("function_call: weather").attributes["error.type"] == "never_answered"


def test_the_model_goes_on_during_a_call_that_does_not_block(call):
    declared = {"functionDeclarations": [{"name": "weather", "behavior": "NON_BLOCKING"}]}
    call.setup(tools=[declared]).asks(WEATHER).said("One moment.").complete()
    call.heard("Well?").said("Soon.").complete().answers(SUNNY, after=4).end()
    tool = call.named("function_call: weather")
    assert content(tool, "out") == {"output": "sunny"}
    assert seconds(tool) == 4


def test_the_answer_of_a_tool_is_given_to_the_run_that_follows(call):
    call.setup().heard("Weather?").asks(WEATHER).content(generationComplete=True).complete()
    call.answers(SUNNY, after=1).said("Sunny.").complete().end()
    asked, answered = turns(call)
    assert [role for role, _ in asked] == ["user", "assistant"]
    assert answered == [("tool", '{"output": "sunny"}'), ("assistant", "Sunny.")]


def test_a_turn_does_not_last_through_a_tool_that_holds_up_the_reading(call):
    call.setup().heard("Weather?").asks(WEATHER, after=1).answers(SUNNY, after=5)
    call.content(generationComplete=True).complete().said("Sunny.").complete().end()
    assert seconds(call.all("turn_complete")[0]) == 0


def test_a_turn_that_goes_on_after_a_tool_begins_there(call):
    """One `turnComplete` for all of it; it comes when the audio would have been played."""
    call.setup().heard("Weather?").asks(WEATHER, after=1).answers(SUNNY, after=5)
    call.audio(after=0.5).said("Sunny.").content(generationComplete=True, after=1).complete(after=4).end()
    turn, tool = call.named("turn_complete"), call.named("function_call: weather")
    assert seconds(turn) == 1
    assert turn.start_time - tool.end_time == 500_000_000


@pytest.mark.parametrize("early", [True, False], ids=["words first", "words last"])
def test_a_turn_that_speaks_before_and_after_a_tool_is_two(call, early):
    """One `turnComplete` for all of it; no span lasts through the tool."""
    call.setup(**BOTH).microphone().heard("Weather?")
    call.said("One moment.", after=1) if early else call.audio(after=1)
    call.audio(300).asks(WEATHER, after=1)
    if not early:
        call.said("One moment.")
    call.answers(SUNNY, after=5)
    call.audio(200, after=0.5).said("Sunny.").content(generationComplete=True, after=1)
    call.complete(after=4, usage={"totalTokenCount": 9}).end()
    first, second = call.all("turn_complete")
    tool = call.named("function_call: weather")
    assert (seconds(first), seconds(tool), seconds(second)) == (1, 5, 1)
    assert first.end_time == tool.start_time
    assert second.start_time - tool.end_time == 500_000_000
    assert turns(call) == [
        [("user", "Weather?"), ("assistant", "One moment.")],
        [("tool", '{"output": "sunny"}'), ("assistant", "Sunny.")],
    ]
    assert [
        bool(each.get("tool_calls")) for turn in (first, second) for each in content(turn, "out")["messages"]
    ] == [True, False]
    assert [fact(span, "generated_ms") for span in (first, second)] == [300 if early else 400, 200]
    assert [role for role, _ in call.transcript] == ["user", "assistant", "assistant", "tool", "assistant"]
    # The call has its place when it comes.
    said = ["One moment.", "", "Sunny."] if early else ["", "One moment.", "Sunny."]
    assert [words for role, words in call.transcript if role == "assistant"] == said


def test_the_users_late_words_are_before_both_halves(call):
    call.setup(**BOTH).microphone().audio().asks(WEATHER).answers(SUNNY, after=1)
    call.audio().heard("Weather?").said("Sunny.").complete().end()
    assert call.transcript[0] == ("user", "Weather?")
    assert len(call.all("input_transcription")) == 1
    assert [role for role, _ in call.transcript].count("user") == 1


def test_speech_during_a_call_that_does_not_block_goes_on_in_its_turn(call):
    declared = {"functionDeclarations": [{"name": "weather", "behavior": "NON_BLOCKING"}]}
    call.setup(tools=[declared], **BOTH).heard("Weather?").said("One").asks(WEATHER).said(" moment", after=1)
    call.answers(SUNNY, after=1).said(" please.", after=1).complete().end()
    assert str(content(call.named("output_transcription"), "out")).count("One moment please.") == 1
    assert seconds(call.named("turn_complete")) == 3


def test_a_half_that_is_cut_off_leaves_the_other_whole(call):
    call.setup(**BOTH).heard("Weather?").said("One moment.").audio(300).asks(WEATHER).answers(SUNNY, after=1)
    call.audio(300).said("Sunny").content(interrupted=True, after=0.2).complete().end()
    assert [fact(span, "status") for span in call.all("turn_complete")] == ["completed", "interrupted"]


# Interruptions.


def test_an_interruption_leaves_its_mark_where_the_connection_ends_before_the_turn(call):
    call.setup().asks(WEATHER).answers(SUNNY).content(interrupted=True).end()
    assert call.names.count("interrupted") == 1
    assert fact(call.root, "interruption_count") == 1
    assert fact(call.named("turn_complete"), "status") == "interrupted"


def test_an_interruption_of_words_leaves_its_mark_where_the_connection_ends_before_the_turn(call):
    call.setup().content(modelTurn={"parts": [{"text": "Once upon"}]}).content(interrupted=True).end()
    assert call.names.count("interrupted") == 1
    assert messages(call.root)[0]["content"] == "Once upon"
    assert messages(call.root)[0]["metadata"]["interrupted"] is True


def test_an_interruption_of_nothing_leaves_its_mark(call):
    call.setup().content(interrupted=True).end()
    assert call.names.count("interrupted") == 1


# Tokens.


@pytest.mark.parametrize("spelling", ["responseTokenCount", "candidatesTokenCount"])
def test_totals_are_whole(call, spelling, form):
    if spelling == "candidatesTokenCount" and form is as_sdk:
        pytest.skip("the SDK's message has no such field")
    usage = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 20,
        spelling: 30,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 130,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}],
        "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
    }
    call.setup().said("Hello!").complete(usage=usage).end()
    turn = call.named("turn_complete").attributes
    assert turn["gen_ai.usage.input_tokens"] == 120
    assert turn["gen_ai.usage.output_tokens"] == 35
    assert turn["gen_ai.usage.total_tokens"] == 155
    assert turn["gen_ai.usage.audio.input_tokens"] + turn["gen_ai.usage.text.input_tokens"] == 120
    assert turn["gen_ai.usage.audio.output_tokens"] + turn["gen_ai.usage.reasoning.output_tokens"] == 35


def test_two_reports_in_one_turn_are_added(call):
    first = {"promptTokenCount": 10, "responseTokenCount": 2, "totalTokenCount": 12}
    second = {"promptTokenCount": 14, "responseTokenCount": 3, "totalTokenCount": 17}
    call.setup().server(toolCall={"functionCalls": [WEATHER]}, usageMetadata=first).answers(SUNNY)
    call.said("Done.").complete(usage=second).end()
    turn = call.named("turn_complete").attributes
    assert [turn[f"gen_ai.usage.{side}_tokens"] for side in ("input", "output", "total")] == [24, 5, 29]
