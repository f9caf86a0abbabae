"""A conversation and its recorder: who is recorded, what was heard, what counts as a barge-in, what arrives."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.openai_realtime.protocol import Protocol
from voicespan.protocol import events
from voicespan.recording.audio_queue import AGENT
from voicespan.recording.devices import taps
from voicespan.recording.recording_thread import RecordingThread
from voicespan.runtime.settings import Settings
from voicespan.tracing import tracer
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.conversation_recording import ConversationRecorder, is_recorded

META = "langsmith.metadata."
RATE = 24_000


def tone(seconds):
    return (np.sin(np.arange(int(RATE * seconds)) * 0.05) * 8_000).astype(np.int16).tobytes()


class Told:
    """A conversation on a clock that is moved by hand, with a recorder that writes when it is told to."""

    def __init__(self, tracer_provider, exporter, clock, folder):
        self.clock, self._exporter = clock, exporter
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock)
        self.writer = RecordingThread(clock, threaded=False)
        self.recorder = ConversationRecorder(folder, clock=clock, writer=self.writer)
        self.conversation.lifecycle.spans.playback.recorder = self.recorder

    def pass_time(self, seconds):
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            self.writer.run_once()
        return self

    def tell(self, kind, *fields, **named):
        with self.conversation.lifecycle.lock:
            self.conversation.lifecycle.ingest([kind(self.clock.monotonic_ns(), "wire", *fields, **named)])
        # Before the clock moves on, of which the span thread knows nothing.
        self.conversation.flush()
        return self

    def ask(self, item):
        return self.tell(events.SpeechStarted, item).pass_time(0.5).tell(events.SpeechStopped, item)

    def answer(self, response, *, play_after=0.0, seconds=4.0):
        self.tell(events.GenerationStarted, response).pass_time(0.3).tell(events.FirstAudio, response)
        self.pass_time(play_after)
        self.recorder.agent(tone(seconds), RATE)
        return self

    def done(self, response, seconds=4.0, status="completed", reason=None):
        generated = round(seconds * 1000)
        return self.tell(
            events.GenerationEnded, response, status, reason, "words", (), None, generated, had_speech=True
        )

    def named(self, name):
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def told(tracer_provider, span_exporter, fake_clock, tmp_path):
    told = Told(tracer_provider, span_exporter, fake_clock, tmp_path)
    yield told
    told.conversation.end()
    told.recorder.finish()


def fact(span, name):
    return span.attributes.get(META + name)


# Heard is not received.


def test_time_to_first_audio_received_and_heard(told):
    told.ask("u1").answer("r1", play_after=0.4).pass_time(0.2).done("r1").conversation.end()
    (turn,) = told.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_ms") == 300.0
    assert fact(turn, "latency_to_first_audio_heard_ms") == pytest.approx(700, abs=5)


def test_a_turn_waits_for_its_first_sound(told):
    told.recorder.user(tone(0.2), RATE)
    told.ask("u1").tell(events.GenerationStarted, "r1").pass_time(0.3).tell(events.FirstAudio, "r1").done(
        "r1"
    )
    assert not told.named("turn_complete")
    told.pass_time(0.3)
    told.recorder.agent(tone(1), RATE)
    told.pass_time(5.0).tell(events.SpeechStarted, "u2")
    (turn,) = told.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_heard_ms") == pytest.approx(600, abs=5)


@pytest.mark.parametrize("written_before", [True, False])
def test_what_a_busy_process_has_not_come_to_is_not_looked_through_on_the_event_loop(told, written_before):
    told.recorder.user(tone(0.2), RATE)
    told.pass_time(1 if written_before else 0.05)
    told.tell(events.SpeechStarted, "u1").clock.advance(0.5)
    told.tell(events.SpeechStopped, "u1").tell(events.GenerationStarted, "r1").clock.advance(0.3)
    told.tell(events.FirstAudio, "r1").clock.advance(0.4)
    told.recorder.agent(tone(4), RATE)
    told.clock.advance(2)  # and the writer has had no turn
    told.done("r1").tell(events.GenerationStarted, "r2")
    assert not told.named("turn_complete")
    told.pass_time(3.0).tell(events.SpeechStarted, "u2")
    (turn,) = told.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_heard_ms") == pytest.approx(700, abs=5)


def test_the_end_of_a_conversation_is_told_what_a_busy_process_has_not_come_to(told):
    told.ask("u1").answer("r1", play_after=0.4)
    told.clock.advance(2)
    told.done("r1").conversation.end()
    (turn,) = told.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_heard_ms") == pytest.approx(700, abs=5)


def test_an_answer_that_is_never_played_has_no_time_heard(told):
    told.recorder.user(tone(0.2), RATE)
    told.ask("u1").tell(events.GenerationStarted, "r1").tell(events.FirstAudio, "r1").done("r1")
    told.conversation.end()
    (turn,) = told.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_ms") == 0.0
    assert fact(turn, "latency_to_first_audio_heard_ms") is None


# Cuts.


def test_a_cut_while_the_user_speaks_is_a_barge_in(told):
    told.ask("u1").answer("r1").done("r1").pass_time(1.0).tell(events.SpeechStarted, "u2").pass_time(0.2)
    told.recorder.cut_agent()
    told.pass_time(0.6).tell(events.SpeechStopped, "u2")
    (cut,) = told.named("interrupted")
    assert fact(cut, "cause") == "recorder"
    assert fact(cut, "heard_ms") == pytest.approx(1200, abs=5)
    assert fact(cut, "generated_ms") == 4000
    assert fact(cut, "barge_in_ms") == pytest.approx(200, abs=5)
    assert fact(cut, "barge_in_basis") == "server"
    assert fact(cut, "response_id") == "r1"


def speak(told, seconds):
    """The user is recorded, and the service says nothing of it."""
    for _ in range(round(seconds / 0.05)):
        told.recorder.user(tone(0.05), RATE)
        told.pass_time(0.05)
    return told


def play(told, seconds):
    """The application hands over what it plays, as it plays it."""
    for _ in range(round(seconds / 0.05)):
        told.recorder.agent(tone(0.05), RATE)
        told.pass_time(0.05)
    return told


def overlap(told, seconds):
    for _ in range(round(seconds / 0.05)):
        told.recorder.user(tone(0.05), RATE)
        play(told, 0.05)
    return told


def begin_answer(told):
    told.recorder.user(bytes(RATE // 10), RATE)
    told.ask("u1").tell(events.GenerationStarted, "r1").pass_time(0.3)
    return play(told.tell(events.FirstAudio, "r1"), 1.0)


def barge_in_of(told):
    told.conversation.end()
    (cut,) = told.named("interrupted")
    return fact(cut, "barge_in_ms")


def test_a_barge_in_lasts_from_the_users_voice_to_the_agents_silence(told):
    """The service sees it 200 ms after it began, and the application plays for 150 ms more."""
    overlap(begin_answer(told), 0.2)
    overlap(told.tell(events.SpeechStarted, "u2"), 0.15)
    told.tell(events.Interrupted, "r1", "a1", "conversation.item.truncate", 1350, None)
    told.done("r1", status="cancelled", reason="turn_detected")
    assert barge_in_of(speak(told, 0.5)) == pytest.approx(350, abs=15)


def test_and_where_the_service_does_not_say_that_the_user_spoke(told):
    overlap(begin_answer(told), 0.3)
    told.tell(events.Interrupted, "r1", None, "interrupted").done("r1", status="interrupted")
    overlap(told, 0.1).recorder.cut_agent()
    assert barge_in_of(speak(told, 0.5)) == pytest.approx(400, abs=15)


def test_an_earlier_word_of_the_user_is_no_part_of_it(told):
    """ "Uh-huh", and a second later what cuts in."""
    play(overlap(begin_answer(told), 0.3), 1.0)
    overlap(told, 0.2)
    told.tell(events.Interrupted, "r1", None, "interrupted").recorder.cut_agent()
    told.done("r1", status="interrupted")
    assert barge_in_of(speak(told, 0.5)) == pytest.approx(200, abs=15)


def test_an_answer_that_is_handed_over_whole_and_not_cut_in_the_recording_says_nothing(told):
    told.recorder.user(bytes(RATE // 10), RATE)
    told.ask("u1").answer("r1").done("r1").pass_time(1.0)
    speak(told.tell(events.SpeechStarted, "u2"), 0.2)
    told.tell(events.Interrupted, "r1", "a1", "conversation.item.truncate", 1200, None)
    assert barge_in_of(told.pass_time(4.0)) is None


def test_a_barge_in_waits_for_the_agents_silence(told):
    overlap(begin_answer(told), 0.2)
    told.tell(events.Interrupted, "r1", "a1", "conversation.item.truncate", 1200, None)
    told.done("r1", status="cancelled", reason="turn_detected")
    assert not told.named("interrupted")
    overlap(told, 0.1)
    speak(told, 0.4).tell(events.SpeechStopped, "u2")
    (cut,) = told.named("interrupted")
    assert fact(cut, "barge_in_ms") == pytest.approx(300, abs=15)
    assert fact(cut, "barge_in_basis") == "app"


def test_a_cut_and_the_wires_own_sign_are_one_barge_in(told):
    told.ask("u1").answer("r1").pass_time(1.0).tell(events.SpeechStarted, "u2").pass_time(0.1)
    told.recorder.cut_agent()
    told.tell(events.Interrupted, "r1", "a1", "conversation.item.truncate", 1100, None)
    told.done("r1", status="cancelled", reason="turn_detected").pass_time(0.6).tell(
        events.SpeechStopped, "u2"
    )
    (cut,) = told.named("interrupted")
    assert fact(cut, "cause") == "conversation.item.truncate"


def test_a_barge_in_that_only_the_wire_tells_gets_what_was_heard_from_the_cut(told):
    """Gemini says `interrupted` and not when the user began to speak."""
    told.answer("r1").pass_time(1.5).tell(events.Interrupted, "r1", None, "interrupted")
    told.recorder.cut_agent()
    told.pass_time(0.05).done("r1", status="interrupted")
    (cut,) = told.named("interrupted")
    assert fact(cut, "cause") == "interrupted"
    assert fact(cut, "heard_ms") == pytest.approx(1500, abs=5)
    (turn,) = told.named("turn_complete")
    assert fact(turn, "heard_ms") == pytest.approx(1500, abs=5)


def test_stopping_when_nobody_speaks_is_no_barge_in(told):
    told.ask("u1").answer("r1").done("r1").pass_time(1.0)
    told.recorder.cut_agent()
    told.pass_time(1.0).tell(events.SpeechStarted, "u2").pass_time(1.0)
    told.conversation.end()
    assert not told.named("interrupted")


def test_stopping_what_was_played_to_its_end_is_no_barge_in(told):
    told.ask("u1").answer("r1", seconds=1.0).done("r1", seconds=1.0).pass_time(2.0)
    told.tell(events.SpeechStarted, "u2").pass_time(0.1)
    told.recorder.cut_agent()
    told.pass_time(1.0)
    told.conversation.end()
    assert not told.named("interrupted")


def test_hanging_up_is_no_barge_in(told):
    told.ask("u1").answer("r1").done("r1").pass_time(1.0).tell(events.SpeechStarted, "u2").pass_time(0.1)
    told.recorder.cut_agent()
    told.pass_time(0.3)
    told.conversation.end()
    assert not told.named("interrupted")


# Who is recorded.


@pytest.mark.parametrize(
    ("share", "content", "recorded"), [(1.0, True, 1_000), (0.0, True, 0), (0.25, True, 250), (1.0, False, 0)]
)
def test_the_share_is_by_trace_id(share, content, recorded):
    settings = Settings(record=share, capture_content=content)
    spread = [(number << 56) // 1_000 | 7 << 100 for number in range(1_000)]
    assert sum(is_recorded(trace_id, settings) for trace_id in spread) == recorded


@pytest.fixture
def delivered(langsmith_server, tmp_path):
    """A provider that delivers to a LangSmith, on the real clock: the recorder's threads live by it."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        LangSmithSpanProcessor(
            api_key=langsmith_server.api_key, endpoint=langsmith_server.url, spool_dir=tmp_path
        )
    )
    tracer.name_provider(provider)
    yield provider
    tracer.name_provider(None)
    provider.shutdown()


@pytest.mark.parametrize("form", ["ogg", "flac", "wav", "mp3"])
def test_the_recording_arrives_beside_the_root(delivered, langsmith_server, monkeypatch, form):
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", form)
    with voicespan.conversation() as conversation:
        conversation.recorder.user(tone(0.3), RATE)
        conversation.recorder.agent(tone(0.2), RATE)
        assert isinstance(conversation.recorder, voicespan.Recorder)
        # It is heard in real time: what is not over when the call ends is kept to its end.
    assert delivered.force_flush(20_000)
    (root,) = langsmith_server.roots
    attachment = root.attachments["conversation"]
    sound, rate = sf.read(io.BytesIO(attachment.content), dtype="int16")
    assert sound.shape[1] == 2
    assert 0.25 < len(sound) / rate < 0.5
    assert np.abs(sound[: rate // 10]).max(axis=0).min() > 4_000
    assert root.metadata["ls_audio_attach_status"] == "attached"
    assert 0 <= root.metadata["ls_audio_recording_start_offset_ms"] < 1_000


@pytest.mark.parametrize(("agent_rate", "file_rate"), [(24_000, 24_000), (None, 16_000)])
def test_the_microphone_that_speaks_first_does_not_slow_the_agent_down(
    delivered, langsmith_server, monkeypatch, agent_rate, file_rate
):
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
    with voicespan.conversation() as conversation:
        with conversation.lifecycle.lock:
            conversation.lifecycle.ingest(
                [events.SessionDescribed(0, "session.created", "s", "m", {}, agent_rate)]
            )
        conversation.recorder.user(tone(0.1), 16_000)
    assert delivered.force_flush(20_000)
    (root,) = langsmith_server.roots
    _, rate = sf.read(io.BytesIO(root.attachments["conversation"].content))
    assert rate == file_rate


def test_a_veto_and_a_zero_share_copy_nothing(delivered, langsmith_server, monkeypatch):
    with voicespan.conversation(record=False) as vetoed:
        vetoed.recorder.user(tone(0.2), RATE)
        assert vetoed.recorder.status == "off"
    monkeypatch.setenv("VOICESPAN_RECORD", "0")
    with voicespan.conversation() as unrecorded:
        unrecorded.recorder.agent(tone(0.2), RATE)
        assert unrecorded.recorder.status == "off"
    assert delivered.force_flush(20_000)
    assert [root.attachments for root in langsmith_server.roots] == [{}, {}]


def test_a_recorder_that_gets_nothing_holds_nothing_up(delivered, langsmith_server):
    with voicespan.conversation() as conversation:
        assert conversation.recorder.status == "waiting"
    assert delivered.force_flush(20_000)
    (root,) = langsmith_server.roots
    assert root.attachments == {}
    assert "recording" not in root.metadata


def test_without_a_destination_nothing_is_recorded(tracer_provider):
    conversation = Conversation(tracer_provider=tracer_provider)
    conversation.recorder.user(tone(0.1), RATE)
    assert conversation.recorder.status == "off"
    conversation.end()


# What a device tells, which sees no cut where the application plays zeros instead.


class Loudspeaker:
    """A device that reports the agent's side of `told`, in blocks of 50 ms."""

    def __init__(self, told):
        self._told = told
        self._tap = taps.tap(AGENT, "int16", 1, RATE, 0.0)
        self._tap.bound, self._tap.running = told.recorder, True

    def play(self, pcm):
        for first in range(0, len(pcm), RATE // 10):
            now = self._told.clock.monotonic_ns()
            self._tap.played(now, pcm[first : first + RATE // 10], now)
            self._told.pass_time(0.05)
        return self


def test_what_was_heard_of_an_answer_that_was_drowned_in_zeros(told):
    loudspeaker = Loudspeaker(told)
    told.ask("u1").tell(events.GenerationStarted, "r1").pass_time(0.3).tell(events.FirstAudio, "r1")
    told.pass_time(0.1)
    loudspeaker.play(bytes(RATE // 5) + tone(1.2))
    told.tell(events.SpeechStarted, "u2")
    told.tell(events.Interrupted, "r1", None, "interrupted", generated_ms=4000).done(
        "r1", status="incomplete"
    )
    loudspeaker.play(tone(0.15)).play(bytes(RATE * 2))
    told.tell(events.SpeechStopped, "u2").tell(events.GenerationStarted, "r2")
    (cut,) = told.named("interrupted")
    assert fact(cut, "heard_ms") == pytest.approx(1350, abs=5)
    assert fact(cut, "barge_in_ms") == pytest.approx(150, abs=5)
    assert fact(cut, "barge_in_basis") == "server"
    (turn,) = told.named("turn_complete")
    assert fact(turn, "heard_ms") == fact(cut, "heard_ms")
    assert fact(turn, "latency_to_first_audio_heard_ms") == pytest.approx(500, abs=5)


def test_an_answer_that_was_cut_before_it_was_heard(told):
    Loudspeaker(told).play(tone(0.5))
    told.ask("u1").tell(events.GenerationStarted, "r1").tell(events.FirstAudio, "r1")
    told.tell(events.Interrupted, "r1", None, "interrupted", generated_ms=4000).done(
        "r1", status="incomplete"
    )
    told.tell(events.GenerationStarted, "r2")
    (cut,) = told.named("interrupted")
    assert fact(cut, "heard_ms") == 0
    assert fact(cut, "barge_in_ms") is None


def test_the_recording_runs_through_the_gap_between_two_connections(told):
    told.conversation.lifecycle.scoped = True
    first = told.conversation.connect(Protocol(), {})
    told.recorder.user(tone(0.5), RATE)
    told.pass_time(0.5)
    first.closed(1006)
    told.pass_time(0.5)
    told.recorder.user(tone(0.5), RATE)  # said while nobody was connected
    told.pass_time(0.5)
    told.conversation.connect(Protocol(), {}).closed(1000)
    told.recorder.user(tone(0.5), RATE)
    told.pass_time(0.5)
    told.conversation.end()
    sound, rate = sf.read(told.recorder.finish(), dtype="int16")
    loud = [
        bool(np.abs(sound[int(rate * at) : int(rate * (at + 0.1)), 0]).max() > 4_000)
        for at in (0.2, 0.7, 1.2, 1.7)
    ]
    assert loud == [True, False, True, True]
