"""The figures of a conversation on its root: what the service's events alone say, and what is left out."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from spoken_call import META, SpokenCall, Turn

from voicespan.protocol import events
from voicespan.recording.timeline.talk import Talk
from voicespan.runtime.settings import Settings
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.figures_in_words import in_words
from voicespan.tracing.spans.figures import Figures, Words

S = 1_000_000_000


class EventCall:
    """A conversation without a recording."""

    def __init__(self, tracer_provider, exporter, clock) -> None:
        self.clock, self.exporter = clock, exporter
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, settings=Settings())
        self.number = 0

    def happen(self, kind, *fields, after=0.0, event_type="wire", **named):
        self.clock.advance(after)
        with self.conversation.lifecycle.lock:
            self.conversation.lifecycle.ingest(
                [kind(self.clock.monotonic_ns(), event_type, *fields, **named)]
            )
        self.conversation.flush()

    def ask(self, item=None, *, after=3.0, words="How are you?"):
        self.number += 1
        item = item or f"u{self.number}"
        self.happen(events.SpeechStarted, item, after=after)
        self.happen(events.SpeechStopped, item, after=1.0)
        self.happen(events.MessageAdded, item, "user", awaits_transcript=True)
        if words:
            began = self.clock.monotonic_ns()
            self.happen(events.TranscriptCompleted, "user", item, began, words, after=0.2)

    def answer(self, status="completed", *, text="Fine.", speech=True, error=None, **started):
        response = f"r{self.number} {self.clock.monotonic_ns()}"
        self.happen(events.GenerationStarted, response, after=0.2, **started)
        if speech:
            self.happen(events.FirstAudio, response, after=0.2)
        self.happen(
            events.GenerationEnded, response, status, None, text, (), None, 1_000 if speech else None,
            had_speech=speech, error=error, after=1.0,
        )  # fmt: skip

    def figures(self):
        self.conversation.end()
        (root,) = [span for span in self.exporter.get_finished_spans() if span.parent is None]
        return {name.removeprefix(META): value for name, value in root.attributes.items()}


@pytest.fixture
def call(tracer_provider, span_exporter, fake_clock):
    return EventCall(tracer_provider, span_exporter, fake_clock)


def turns(figures):
    return figures.get("user_turn_count"), figures.get("unanswered_turn_count"), figures.get("response_rate")


def test_each_turn_counts_once_whatever_tells_it(call):
    for _ in range(3):
        call.ask()
        call.answer()
    assert turns(call.figures()) == (3, 0, None)


def test_a_turn_is_answered_before_the_user_speaks_again_or_not_at_all(call):
    call.ask()
    call.ask()
    call.answer()
    call.ask()
    assert turns(call.figures()) == (3, 2, None)


def test_a_rate_is_there_from_ten_on(call):
    for number in range(10):
        call.ask()
        if number != 4:
            call.answer()
    assert turns(call.figures()) == (10, 1, 0.9)


def test_who_goes_on_after_a_short_pause_has_the_same_turn(call):
    call.ask(words=None)
    call.ask(after=0.6)
    call.answer()
    call.ask(after=1.2)
    assert turns(call.figures()) == (2, 1, None)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "failed", "text": None, "speech": False, "error": events.WireError("x", "y")},
        {"text": None, "speech": False},
        {"out_of_band": True},
    ],
    ids=["failed", "empty", "out of band"],
)
def test_what_says_nothing_answers_nothing(call, answer):
    call.ask()
    call.answer(**answer)
    assert turns(call.figures()) == (1, 1, None)


def test_an_answer_that_was_cut_off_is_one(call):
    call.ask()
    call.answer("cancelled")
    assert turns(call.figures()) == (1, 0, None)


def test_an_answer_belongs_to_the_turn_before_it(call):
    """What the user says into it is another turn."""
    call.ask()
    call.happen(events.GenerationStarted, "r1")
    call.happen(events.FirstAudio, "r1")
    call.ask()
    call.happen(events.GenerationEnded, "r1", "completed", None, "words", (), None, 1_000, had_speech=True)
    assert turns(call.figures()) == (2, 1, None)


def test_what_is_typed_is_a_turn(call):
    for number in range(2):
        item = f"t{number}"
        call.happen(events.MessageAdded, item, "user", after=2)
        call.happen(events.MessageText, item, "user", "Hello")
        call.answer(speech=False)
    call.happen(events.MessageText, "old", "user", "Before", put_back=True)
    assert turns(call.figures()) == (2, 0, None)


def test_words_alone_are_turns_where_nobody_says_when_the_user_speaks(call):
    for number in range(2):
        call.clock.advance(3)
        began = call.clock.monotonic_ns()
        call.happen(events.MessageAdded, f"s{number}", "user", given=False)
        call.happen(events.TranscriptCompleted, "user", f"s{number}", began, "Hello there", after=1)
        call.answer(speech_unmarked=True)
    assert turns(call.figures()) == (2, 0, None)


def test_a_session_that_only_transcribes_has_no_unanswered_turns(call):
    call.happen(events.SessionDescribed, "s1", None, {"session_type": "transcription"})
    call.ask()
    assert turns(call.figures()) == (1, None, None)


def test_a_place_that_was_kept_for_words_that_nobody_said_is_no_turn(call):
    """Gemini: the microphone is open, and the agent speaks by itself."""
    call.happen(events.MessageAdded, "s1", "user", awaits_transcript=True)
    call.answer(speech_unmarked=True)
    call.happen(events.MessageRemoved, "s1", after=1)
    call.answer(speech_unmarked=True)
    assert turns(call.figures()) == (None, None, None)


def transcribe(call, text=None, *, fails=False):
    """A cascade's user, whom a voice activity detector hears as well."""
    conversation = call.conversation
    call.happen(events.SpeechStarted, None, after=3, event_type="voice_activity")
    call.happen(events.SpeechStopped, None, after=1, event_type="voice_activity")
    with contextlib.suppress(ValueError), conversation.stt(model="ears", provider="nobody") as stt:
        call.clock.advance(0.2)
        if fails:
            raise ValueError("no ears")
        if text is not None:
            stt.output(text)
    conversation.flush()


def test_a_turn_of_a_cascade_is_what_was_transcribed(call):
    transcribe(call, "Hello there")
    with call.conversation.llm(model="brain", provider="nobody") as llm:
        llm.output("Hello!")
    transcribe(call)  # noise
    assert turns(call.figures()) == (1, 0, None)


def test_noise_before_a_cascade_says_anything_is_no_turn(call):
    transcribe(call)
    transcribe(call, "Hello there")
    assert turns(call.figures()) == (1, 1, None)


def test_speech_that_could_not_be_transcribed_is_a_turn(call):
    transcribe(call, "Hello there")
    with call.conversation.llm(model="brain", provider="nobody") as llm:
        llm.output("Hello!")
    transcribe(call, fails=True)
    assert turns(call.figures()) == (2, 1, None)


def test_functions(call):
    for number, seconds in enumerate((0.5, 2.0, 0.7)):
        call.happen(events.FunctionCalled, f"c{number}", "weather", "{}", after=1)
        call.happen(events.FunctionAnswered, f"c{number}", "weather", "{}", after=seconds)
    call.happen(events.FunctionCalled, "c9", "weather", "{}")
    call.happen(events.FunctionAnswered, "c9", "weather", "", after=30, error=events.WireError("x", "y"))
    assert call.figures()["tool_latency_p50_ms"] == 700


def test_without_a_recording_there_is_what_the_wire_knows(call):
    call.ask()
    call.answer()
    figures = call.figures()
    assert (figures["figures_basis"], figures["barge_in_count"]) == ("server", 0)
    for name in (
        "greeting_ms", "overlap_s", "overlap_share", "user_talk_s", "agent_talk_s", "user_talk_share",
        "agent_talk_share", "silence_share", "longest_silence_s", "dead_air_count", "dead_air_s", "talk_over_count",
        "user_words_per_minute", "agent_words_per_minute", "inaudible_answer_count", "microphone_dead",
        "agent_interrupts_user_count", "barge_in_yield_rate", "barge_in_p50_ms", "tool_latency_p50_ms",
    ):  # fmt: skip
        assert name not in figures


def test_gaps_of_different_bases_do_not_mix():
    figures = Figures()
    for gap, basis in ((900, "app"), (1_000, "app"), (100, "server")):
        figures.add_gap({"response_gap_ms": gap, "response_gap_basis": basis})
    figures.add_gap({})
    facts = figures.facts(None, "app", 0, 0)
    assert (facts["response_gap_p50_ms"], facts["response_gap_max_ms"]) == (950, 1_000)
    assert (facts["response_gap_count"], facts["response_gap_basis"]) == (2, "app")
    assert facts["response_gap_p95_ms"] == 995


def test_memory_is_bounded():
    figures = Figures()
    for number in range(10_000):
        figures.add_gap({"response_gap_ms": number, "response_gap_basis": "app"})
        figures.agent_words.add("three more words", f"r{number}")
        figures.turns.add("speech", number * 5 * S, f"u{number}")
        figures.turns.answer(figures.turns.count)
    assert figures.facts(None, "app", 0, 0)["response_gap_count"] == 4_096
    assert (figures.turns.count, figures.turns.answered) == (10_000, 10_000)
    kept = figures.turns._by_key, figures.turns._answered, figures.agent_words._by_answer
    assert all(32 <= len(each) <= 64 for each in kept)


def test_what_a_device_plays_says_of_no_answer_that_nobody_could_hear_it():
    by_basis = {basis: Figures().facts(TALK, basis, 0, 0) for basis in ("app", "device")}
    assert by_basis["app"]["inaudible_answer_count"] == 0
    assert by_basis["device"]["inaudible_answer_count"] is None
    assert by_basis["device"]["figures_basis"] == "device"


def test_a_call_in_words():
    figures = Figures()
    figures.add_gap({"response_gap_ms": 900, "response_gap_basis": "app"})
    figures.add_barge_in(120)
    figures.add_tool(S)
    talk = TALK._replace(microphone_dead=True, inaudible_answers=2)
    assert in_words(figures.facts(talk, "app", 0, 1)) == (
        "answers after 0.90 s, 0.90 s at most; greeting after 1.00 s; 1 barge-in; silent 120 ms after that; "
        "talk 50% user, 50% agent; both at once 1.0 s; silence 1%, 1.0 s at most; functions 1000 ms; "
        "2 answers that nobody could hear; a dead microphone"
    )
    assert in_words({}) == ""
    # What only transcribes, and an application that uses a name of ours for something else.
    assert (
        in_words({"user_turn_count": 2, "response_gap_p50_ms": "fast", "response_gap_max_ms": 1}) == "2 turns"
    )


def words_of(*answers):
    words = Words()
    for number, (text, milliseconds) in enumerate(answers):
        words.add(text, f"r{number}")
        words.heard(f"r{number}", milliseconds)
    return words


TEN = "one two three four five six seven eight nine ten"


def test_words_a_minute():
    assert words_of((TEN, 5_000), (TEN, 5_000)).per_minute(10 * S) == 120


def test_what_was_not_heard_is_not_counted():
    words = words_of((TEN, 5_000), (TEN, 5_000))
    words.cut("r1", 1_000)
    words.cut("r1", 1_000)
    words.add("late words of it", "r1")
    # Six seconds of speech, five of which are of the answer that was heard.
    assert words.per_minute(6 * S) == 120


@pytest.mark.parametrize(
    "words",
    [words_of(("too few", 1_000)), words_of(("今日はいい天気ですね" * 10, 5_000), (TEN, 1_000))],
    ids=["few", "no spaces"],
)
def test_a_pace_that_is_not_known_is_left_out(words):
    assert words.per_minute(10 * S) is None


def test_an_answer_cut_off_nobody_knows_where_leaves_it_out():
    words = words_of((TEN, 5_000), (TEN, 5_000))
    words.cut("r1", None)
    assert words.per_minute(10 * S) is None


TALK = Talk(
    hears_user=True, hears_agent=True, user=60 * S, agent=60 * S, overlap=S, silence=S, spoken=120 * S,
    longest_silence=S, dead_air=0, dead_air_count=0, agent_interrupts=0, talk_overs=10, yields=9, user_spoke_at=9 * S,
    agent_audible_at=S, microphone_dead=False, inaudible_answers=0,
)  # fmt: skip


def test_the_page_has_all_of_them():
    figures = Figures()
    figures.add_gap({"response_gap_ms": 900, "response_gap_basis": "app"})
    known = set(figures.facts(TALK, "app", 0, 0))
    page = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.count("|") == 6]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} | {"figures_basis"} == known


def noise(side, number, seconds):
    import numpy as np

    return np.random.default_rng(number).standard_normal(round(seconds * 24_000)) * 0.1


def test_talk_over_an_answer_that_is_generated_and_still_sounds(
    tracer_provider, span_exporter, fake_clock, tmp_path
):
    """It is overlap, and a barge-in where the playback is cut: all of the answers were over when they began to sound."""
    call = SpokenCall(tracer_provider, span_exporter, fake_clock, tmp_path)
    over = (Turn(0.5, 1.0, 0.7, 5.0), Turn(-3.0, 1.0, 2.5, 4.0, 0.4), Turn(-2.0, 1.0, None))
    call.play(over, noise)
    figures, _ = call.figures()
    assert figures["talk_over_count"] == 2
    assert figures["overlap_s"] == pytest.approx(1.0 + 0.4, abs=0.04)
    assert figures["barge_in_count"] == figures["interruption_count"] == 1
    assert figures["barge_in_p50_ms"] == pytest.approx(400, abs=20)
    assert "barge_in_yield_rate" not in figures  # of two


def test_the_yield_rate_of_ten(tracer_provider, span_exporter, fake_clock, tmp_path):
    call = SpokenCall(tracer_provider, span_exporter, fake_clock, tmp_path)
    call.play(
        [Turn(0.5, 0.5, 0.5, 4.0)] + [Turn(-2.5, 0.5, 2.5, 4.0)] * 5 + [Turn(-1.5, 0.5, 1.5, 4.0)] * 5, noise
    )
    figures, _ = call.figures()
    assert (figures["talk_over_count"], figures["barge_in_yield_rate"]) == (10, 0.5)


def test_a_checkpoint_has_them_as_far_as_they_are_known(tracer_provider, span_exporter, fake_clock, tmp_path):
    """What a root says whose process was killed."""
    call = SpokenCall(tracer_provider, span_exporter, fake_clock, tmp_path)
    call.play([Turn(0.5, 1.0, 0.7, 2.0), Turn(0.5, 1.0, 0.7, 2.0)], noise)
    facts = call.conversation.lifecycle.checkpoint()
    assert facts[META + "user_talk_s"] == pytest.approx(2.0, abs=0.04)
    assert facts[META + "agent_talk_s"] == pytest.approx(4.0, abs=0.04)
    assert facts[META + "user_turn_count"] == 2
    assert facts[META + "response_gap_p50_ms"] == pytest.approx(700, abs=20)
    assert facts[META + "figures_basis"] == "app"
