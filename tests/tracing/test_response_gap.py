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
        self.clock, self._exporter = clock, exporter
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, settings=Settings())
        self.writer = RecordingThread(clock, threaded=False)
        self.recorder = (
            None if folder is None else ConversationRecorder(folder, clock=clock, writer=self.writer)
        )
        self.conversation.lifecycle.spans.playback.recorder = self.recorder

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

    def ask(self, *, silence=0.5, event_type="input_audio_buffer.speech_stopped"):
        self.happen(events.SpeechStarted, "u")
        self.pass_time(1.0, user=True)
        self.pass_time(silence)
        self.happen(events.SpeechStopped, "u", event_type=event_type)

    def answer(self, response="r1", *, model=0.3, playout=0.2):
        self.happen(events.GenerationStarted, response)
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
            for span in self._exporter.get_finished_spans()
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
