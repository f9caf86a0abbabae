"""The response gap is what a person heard, its parts sum to it, and where it is not known there is none."""

from __future__ import annotations

import numpy as np
import pytest

from voicespan.protocol import events
from voicespan.recording.recording_thread import RecordingThread
from voicespan.runtime.settings import Settings
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.conversation_recording import ConversationRecorder

META = "langsmith.metadata."
RATE = 24_000
PARTS = ("endpointing_ms", "model_ms", "tool_ms", "playout_ms", "unnamed_ms")
COMMIT = "input_audio_buffer.commit"


def tone(seconds):
    return (np.sin(np.arange(int(RATE * seconds)) * 0.05) * 8_000).astype(np.int16).tobytes()


class Call:
    """A conversation on a clock that is moved by hand; with a recorder or without."""

    def __init__(self, tracer_provider, exporter, clock, folder):
        self.clock, self.exporter = clock, exporter
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, settings=Settings())
        self.writer = RecordingThread(clock, threaded=False)
        self.recorder = (
            None if folder is None else ConversationRecorder(folder, clock=clock, writer=self.writer)
        )
        self.conversation.lifecycle.spans.playback.recorder = self.recorder

    def estimate(self):
        """What is recorded is only estimated, from the wire."""
        playback = self.conversation.lifecycle.spans.playback
        playback.recorder, playback.estimate = None, self.recorder
        self.recorder.source = "wire"
        return self

    def happen(self, kind, *fields, event_type="wire", **named):
        with self.conversation.lifecycle.lock:
            self.conversation.lifecycle.ingest(
                [kind(self.clock.monotonic_ns(), event_type, *fields, **named)]
            )
        self.conversation.flush()

    def pass_time(self, seconds, user=False):
        for _ in range(round(seconds / 0.05)):
            if self.recorder is not None:
                self.recorder.user(tone(0.05) if user else bytes(2_400), RATE)
            self.clock.advance(0.05)
            self.writer.run_once()

    def ask(self, *, silence=0.5, event_type="input_audio_buffer.speech_stopped", configured=None):
        self.happen(events.SpeechStarted, "u")
        self.pass_time(1.0, user=True)
        self.pass_time(silence)
        silent_at = None if configured is None else self.clock.monotonic_ns() - round(configured * 1e9)
        self.happen(events.SpeechStopped, "u", silent_at, event_type=event_type)

    def say(self, seconds=1.0):
        """The user speaks to a service that does not say so."""
        self.pass_time(seconds, user=True)

    def answer(self, response="r1", *, model=0.3, playout=0.2, **started):
        self.happen(events.GenerationStarted, response, **started)
        self.pass_time(model)
        self.happen(events.FirstAudio, response)
        self.pass_time(playout)
        if self.recorder is not None:
            self.recorder.agent(tone(1.0), RATE)
        self.pass_time(2.0)
        self.end(response)

    def end(self, response, calls=()):
        self.happen(
            events.GenerationEnded, response, "completed", None, "words", calls, None, 1_000, had_speech=True
        )

    def turns(self):
        self.conversation.end()
        return [
            {
                name.removeprefix(META): fact
                for name, fact in span.attributes.items()
                if name.removeprefix(META)
                in {*PARTS, "response_gap_ms", "response_gap_basis", "response_gap_from"}
            }
            for span in self.exporter.get_finished_spans()
            if span.name == "turn_complete"
        ]


@pytest.fixture
def call(tracer_provider, span_exporter, fake_clock, tmp_path):
    made = []

    def make(*, recorded=True):
        made.append(Call(tracer_provider, span_exporter, fake_clock, tmp_path if recorded else None))
        return made[-1]

    yield make
    for each in made:
        each.conversation.end()
        if each.recorder is not None:
            each.recorder.finish()


def summed(turn):
    return sum(turn.get(part, 0) for part in PARTS)


def test_from_the_last_voiced_sound_to_the_first_audible_one(call):
    heard = call()
    heard.ask()
    heard.answer()
    (turn,) = heard.turns()
    assert turn["response_gap_ms"] == pytest.approx(1_000, abs=20)
    assert turn["endpointing_ms"] == pytest.approx(500, abs=20)
    assert turn["model_ms"] == pytest.approx(300, abs=1)
    assert turn["playout_ms"] == pytest.approx(200, abs=20)
    assert "tool_ms" not in turn
    assert summed(turn) == pytest.approx(turn["response_gap_ms"], abs=1)
    assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("app", "speech_end")


def test_an_answer_that_waited_for_a_function_says_for_how_long(call):
    heard = call()
    heard.ask()
    heard.happen(events.GenerationStarted, "r1")
    heard.pass_time(0.2)
    heard.happen(events.FunctionCalled, "c1", "weather", "{}")
    heard.end("r1", ("c1",))
    heard.pass_time(0.7)
    heard.happen(events.FunctionAnswered, "c1", "weather", "{}")
    heard.answer("r2", model=0.3, playout=0.1)
    first, second = heard.turns()
    assert first == {}
    assert second["tool_ms"] == pytest.approx(700, abs=1)
    assert second["model_ms"] == pytest.approx(500, abs=1)
    assert second["response_gap_ms"] == pytest.approx(1_800, abs=20)
    assert summed(second) == pytest.approx(second["response_gap_ms"], abs=1)


def test_a_persons_approval_is_waited_for_as_a_function_is(call):
    heard = call()
    heard.ask()
    heard.happen(events.GenerationStarted, "r1")
    heard.happen(events.OperationStarted, "approval a1", "mcp_approval: weather", "tool")
    heard.end("r1")
    heard.pass_time(2.0)
    heard.happen(events.OperationEnded, "approval a1")
    heard.answer("r2", model=0.3, playout=0.1)
    second = heard.turns()[1]
    assert second["tool_ms"] == pytest.approx(2_000, abs=1)
    assert second["model_ms"] == pytest.approx(300, abs=1)
    assert summed(second) == pytest.approx(second["response_gap_ms"], abs=1)


def test_without_a_recording_a_commit_begins_it_and_the_first_audio_received_ends_it(call):
    wire = call(recorded=False)
    wire.ask(event_type=COMMIT)
    wire.answer()
    (turn,) = wire.turns()
    assert turn == {
        "response_gap_ms": pytest.approx(300, abs=1),
        "model_ms": pytest.approx(300, abs=1),
        "response_gap_basis": "server",
        "response_gap_from": "commit",
    }


def test_where_nobody_knows_when_the_user_was_silent_there_is_none(call):
    wire = call(recorded=False)
    wire.ask()
    wire.answer()
    assert wire.turns() == [{}]


def test_what_is_typed_has_none(call):
    heard = call()
    heard.ask()
    heard.pass_time(5)
    heard.happen(events.MessageText, "t1", "user", "What is two and two?")
    heard.answer()
    assert heard.turns() == [{}]


def test_speech_that_was_answered_already_is_not_answered_again(call):
    heard = call()
    heard.ask()
    heard.answer()
    heard.pass_time(1.0)
    heard.answer("r2")
    first, second = heard.turns()
    assert first["response_gap_ms"] == pytest.approx(1_000, abs=20)
    assert second == {}


def test_what_the_agent_says_by_itself_has_none(call):
    """Something was said into the answer before, which went on."""
    heard = call()
    heard.ask()
    heard.happen(events.GenerationStarted, "r1")
    heard.happen(events.FirstAudio, "r1")
    heard.recorder.agent(tone(2.0), RATE)
    heard.ask()
    heard.pass_time(1)
    heard.end("r1")
    heard.pass_time(30)
    heard.answer("r2")
    first, second = heard.turns()
    assert first["response_gap_from"] == "speech_end"
    assert second == {}


def test_without_a_recording_the_services_silence_is_part_of_it(call):
    wire = call(recorded=False)
    wire.ask(configured=0.5)
    wire.answer()
    assert wire.turns() == [
        {
            "response_gap_ms": pytest.approx(800, abs=1),
            "endpointing_ms": pytest.approx(500, abs=1),
            "model_ms": pytest.approx(300, abs=1),
            "response_gap_basis": "server",
            "response_gap_from": "speech_end",
        }
    ]


def test_what_the_recording_has_of_another_speech_is_not_the_end_of_this_one(call):
    """The microphone was recorded, and then it was not."""
    heard = call()
    heard.pass_time(1.0, user=True)
    heard.pass_time(3.0)
    heard.happen(events.SpeechStarted, "u")
    heard.clock.advance(1.5)
    heard.happen(events.SpeechStopped, "u", heard.clock.monotonic_ns() - 500_000_000)
    heard.answer()
    (turn,) = heard.turns()
    assert turn["response_gap_ms"] == pytest.approx(1_000, abs=20)
    assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("server", "speech_end")


def test_an_estimate_from_the_wire_says_that_it_is_one(call):
    wire = call().estimate()
    wire.ask()
    wire.answer()
    (turn,) = wire.turns()
    assert turn["response_gap_ms"] == pytest.approx(1_000, abs=20)
    assert turn["endpointing_ms"] == pytest.approx(500, abs=20)
    assert summed(turn) == pytest.approx(turn["response_gap_ms"], abs=1)
    assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("wire", "speech_end")


def test_an_estimate_that_a_busy_process_has_not_come_to_is_there_at_the_end(call):
    wire = call().estimate()
    wire.ask()
    wire.happen(events.GenerationStarted, "r1")
    wire.pass_time(0.3)
    wire.happen(events.FirstAudio, "r1")
    wire.recorder.agent(tone(1.0), RATE)
    wire.clock.advance(3.0)  # and the writer has had no turn
    wire.end("r1")
    (turn,) = wire.turns()
    assert turn["response_gap_basis"] == "wire"


def test_an_estimate_is_not_told_as_heard(call):
    wire = call().estimate()
    wire.ask()
    wire.answer()
    wire.conversation.end()
    (turn,) = [each for each in wire.exporter.get_finished_spans() if each.name == "turn_complete"]
    assert META + "latency_to_first_audio_ms" in turn.attributes
    assert META + "latency_to_first_audio_heard_ms" not in turn.attributes


@pytest.mark.parametrize("event_type", ["voice_activity", "activity_end"])
def test_a_service_that_says_when_the_user_is_silent(call, event_type):
    wire = call(recorded=False)
    wire.ask(event_type=event_type, silence=0)
    wire.answer()
    (turn,) = wire.turns()
    assert turn["response_gap_ms"] == pytest.approx(300, abs=1)
    assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("server", "speech_end")


UNMARKED = {"speech_unmarked": True}


def test_a_service_that_says_nothing_of_speech_has_the_recordings(call):
    """Gemini without voice activity: what is endpointing and what is the model nobody knows."""
    heard = call()
    heard.say()
    heard.pass_time(0.6)
    heard.answer(**UNMARKED)
    (turn,) = heard.turns()
    assert turn["response_gap_ms"] == pytest.approx(1_100, abs=20)
    assert turn["unnamed_ms"] == pytest.approx(900, abs=20)
    assert turn["playout_ms"] == pytest.approx(200, abs=20)
    assert "model_ms" not in turn
    assert summed(turn) == pytest.approx(turn["response_gap_ms"], abs=1)
    assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("app", "speech_end")


def test_and_without_a_recording_it_has_none(call):
    wire = call(recorded=False)
    wire.pass_time(1.0)
    wire.answer(**UNMARKED)
    assert wire.turns() == [{}]


def test_unmarked_an_answer_after_functions_says_for_how_long_it_waited(call):
    heard = call()
    heard.say()
    heard.pass_time(0.6)
    heard.happen(events.GenerationStarted, "r1", **UNMARKED)
    heard.happen(events.FunctionCalled, "c1", "weather", "{}")
    heard.end("r1", ("c1",))
    heard.pass_time(0.7)
    heard.happen(events.FunctionAnswered, "c1", "weather", "{}")
    heard.answer("r2", model=0.3, playout=0.1, **UNMARKED)
    _, turn = heard.turns()
    assert turn["tool_ms"] == pytest.approx(700, abs=1)
    assert turn["response_gap_ms"] == pytest.approx(1_700, abs=20)
    assert summed(turn) == pytest.approx(turn["response_gap_ms"], abs=1)


def test_unmarked_speech_that_was_answered_already_is_not_answered_again(call):
    heard = call()
    heard.say()
    heard.pass_time(0.6)
    heard.answer(**UNMARKED)
    heard.pass_time(2.0)
    heard.answer("r2", **UNMARKED)
    first, second = heard.turns()
    assert first["response_gap_ms"] == pytest.approx(1_100, abs=20)
    assert second == {}


def test_unmarked_what_is_typed_after_speech_is_what_is_answered(call):
    heard = call()
    heard.say()
    heard.pass_time(0.6)
    heard.happen(events.MessageText, "t1", "user", "What is two and two?")
    heard.answer(**UNMARKED)
    assert heard.turns() == [{}]


def test_unmarked_what_was_said_into_an_answer_that_went_on_asked_nothing(call):
    heard = call()
    heard.say()
    heard.pass_time(0.6)
    heard.happen(events.GenerationStarted, "r1", **UNMARKED)
    heard.happen(events.FirstAudio, "r1")
    heard.recorder.agent(tone(3.0), RATE)
    heard.pass_time(1.0)
    heard.say(0.5)
    heard.pass_time(1.5)
    heard.end("r1")
    heard.pass_time(5.0)
    heard.answer("r2", **UNMARKED)
    assert heard.turns()[1] == {}


def test_unmarked_what_cut_an_answer_off_is_answered_by_the_next(call):
    heard = call()
    heard.say()
    heard.pass_time(0.6)
    heard.happen(events.GenerationStarted, "r1", **UNMARKED)
    heard.happen(events.FirstAudio, "r1")
    heard.recorder.agent(tone(3.0), RATE)
    heard.pass_time(1.0)
    heard.say(0.3)
    heard.recorder.cut_agent()
    heard.happen(events.Interrupted, "r1", None, "interrupted")
    heard.end("r1")
    heard.say(0.7)
    heard.pass_time(0.6)
    heard.answer("r2", **UNMARKED)
    assert heard.turns()[1]["response_gap_ms"] == pytest.approx(1_100, abs=20)


def test_an_answer_that_queues_behind_one_still_playing_is_heard_when_that_is_over(call):
    heard = call()
    heard.ask()
    heard.happen(events.GenerationStarted, "r1")
    heard.happen(events.FirstAudio, "r1")
    heard.recorder.agent(tone(4.0), RATE)
    heard.pass_time(0.1)
    heard.end("r1")
    heard.ask()  # 1.5 s
    heard.happen(events.GenerationStarted, "r2")
    heard.pass_time(0.3)
    heard.happen(events.FirstAudio, "r2")
    heard.recorder.mark_answer()
    heard.recorder.agent(tone(1.0), RATE)
    heard.pass_time(4.0)
    heard.end("r2")
    second = heard.turns()[1]
    # It is received 0.8 s after the user's last sound, and 2.1 s later the first answer ends.
    assert second["model_ms"] == pytest.approx(300, abs=1)
    assert second["playout_ms"] == pytest.approx(2_100, abs=20)
    assert summed(second) == pytest.approx(second["response_gap_ms"], abs=1)


@pytest.mark.parametrize("known", [True, False], ids=["", "whose length is not known"])
def test_on_a_device_an_answer_that_an_application_queues_is_heard_when_the_one_before_is_over(call, known):
    """Only what is played is seen: the second answer's first audio is not the first sound after it was received."""
    heard, queue = call(), bytearray()
    heard.recorder.source = "devices"

    def pass_time(seconds, user=False):
        for _ in range(round(seconds / 0.05)):
            now = heard.clock.monotonic_ns() / 1e9
            heard.recorder.user(tone(0.05) if user else bytes(2_400), RATE, at=now)
            if queue:
                heard.recorder.agent(bytes(queue[:2_400]), RATE, at=now)
                del queue[:2_400]
            heard.clock.advance(0.05)
            heard.writer.run_once()

    def end(response, generated):
        heard.happen(
            *(events.GenerationEnded, response, "completed", None, "words", (), None, generated),
            had_speech=True,
        )

    heard.pass_time = pass_time
    heard.ask()
    heard.happen(events.GenerationStarted, "r1")
    heard.happen(events.FirstAudio, "r1")
    queue += (tone(0.5) + bytes(14_400)) * 5
    heard.pass_time(0.1)
    end("r1", 4_000 if known else None)
    heard.ask()  # 1.5 s
    heard.happen(events.GenerationStarted, "r2")
    heard.pass_time(0.3)
    heard.happen(events.FirstAudio, "r2")
    queue += tone(1.0)
    heard.pass_time(0.1)
    end("r2", 1_000)
    heard.pass_time(4.0)
    second = heard.turns()[1]
    if not known:
        assert second == {}
        return
    assert second["model_ms"] == pytest.approx(300, abs=1)
    assert second["playout_ms"] == pytest.approx(2_100, abs=20)
    assert second["response_gap_basis"] == "device"
    assert summed(second) == pytest.approx(second["response_gap_ms"], abs=1)
