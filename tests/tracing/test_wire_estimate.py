"""VOICESPAN_RECORD_SOURCE=wire: what the frames sound like, marked as what it is, an estimate."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import numpy as np
import pytest
import soundfile as sf
from opentelemetry.sdk.trace import TracerProvider
from wire_recording import WireRecording

import voicespan
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.openai_realtime.audio import WireAudio
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing import tracer
from voicespan.tracing.connection import Connection
from voicespan.tracing.conversation import Conversation

RATE = 24_000


def tone(seconds, rate=RATE):
    return (np.sin(np.arange(round(rate * seconds)) * 0.05) * 8_000).astype(np.int16).tobytes()


def base64_of(pcm):
    return base64.b64encode(pcm).decode()


# The frames, on a clock that is moved by hand.


class Wire(WireRecording):
    """A connection of this provider."""

    def __init__(self, clock, folder) -> None:
        super().__init__(clock, folder, WireAudio)

    def send(self, frame):
        self.audio.sent(frame, self.clock.monotonic_ns())
        return self

    def answer(self, seconds=4.0, item="a1"):
        pcm = tone(seconds)
        for first in range(0, len(pcm), 9_600):
            delta = base64_of(pcm[first : first + 9_600])
            self.receive("response.output_audio.delta", response_id="r", item_id=item, delta=delta)
        return self

    def seconds(self):
        """How long each side sounds."""
        sound, rate = sf.read(self.recorder.finish(), dtype="int16")
        ends = [np.flatnonzero(side)[[0, -1]] for side in sound.T if side.any()]
        return [round(float(end - start) / rate, 2) for start, end in ends]


@pytest.fixture
def wire(fake_clock, tmp_path):
    return Wire(fake_clock, tmp_path)


def test_the_agent_is_laid_out_at_the_speed_of_speech(wire):
    assert wire.answer().wait(5).seconds() == [4.0]


@pytest.mark.parametrize("client", [True, False], ids=["sent", "echoed"])
def test_a_truncation_cuts_what_it_says(wire, client):
    told = {"item_id": "a1", "content_index": 0, "audio_end_ms": 1_250}
    wire.answer().wait(1.3)
    if client:
        wire.send({"type": "conversation.item.truncate", **told})
    else:
        wire.receive("conversation.item.truncated", **told)
    assert wire.wait(4).seconds() == [1.25]


def test_a_truncation_of_an_earlier_answer_cuts_nothing_of_this_one(wire):
    wire.answer(1.0).wait(2).answer(1.0, item="a2")
    wire.send({"type": "conversation.item.truncate", "item_id": "a1", "audio_end_ms": 100})
    assert wire.wait(2).seconds() == [3.0]


def test_a_playback_that_the_server_cleared_stops_there(wire):
    wire.answer().wait(2).receive("output_audio_buffer.cleared", response_id="r")
    assert wire.wait(3).seconds() == [2.0]


@pytest.mark.parametrize(("reason", "seconds"), [("turn_detected", 1.5), ("client_cancelled", 4.0)])
def test_a_cancelled_answer_stops_where_the_user_began_to_speak(wire, reason, seconds):
    wire.answer().wait(1.5).receive("input_audio_buffer.speech_started", item_id="u2").wait(0.1)
    details = {"type": "cancelled", "reason": reason}
    wire.receive("response.done", response={"id": "r", "status": "cancelled", "status_details": details})
    assert wire.wait(4).seconds() == [seconds]


@pytest.mark.parametrize(
    ("form", "encoded", "seconds"),
    [
        ({"type": "audio/pcmu"}, b"\x20" * 8_000, 1.0),
        ({"type": "audio/pcma"}, b"\x20" * 4_000, 0.5),
        ({"type": "audio/pcm", "rate": 16_000}, tone(0.75, 16_000), 0.75),
        ("g711_ulaw", b"\x20" * 8_000, 1.0),
    ],
)
def test_the_formats_of_the_session(wire, form, encoded, seconds):
    beta = isinstance(form, str)
    session = {"input_audio_format": form} if beta else {"audio": {"input": {"format": form}}}
    wire.receive("session.updated", session=session)
    wire.send({"type": "input_audio_buffer.append", "audio": base64_of(encoded)})
    assert wire.wait(2).seconds() == [seconds]


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "dict"])
def test_the_user_speaks_in_the_format_that_the_client_asked_for(wire, as_text):
    """What was said before `session.updated` was decoded as PCM."""
    update = {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}
    wire.send(json.dumps(update) if as_text else update)
    wire.send({"type": "input_audio_buffer.append", "audio": base64_of(b"\x20" * 8_000)})
    assert wire.wait(2).seconds() == [1.0]


ASKED = {
    "type": "session.update",
    "event_id": "u1",
    "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}},
}
PCM = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24_000}}}}
#: A second of it in either format: what was decoded in the other one is not a second long.
ULAW, LINEAR = b"\x20" * 8_000, tone(1.0)


def append(wire, audio):
    wire.send({"type": "input_audio_buffer.append", "audio": base64_of(audio)})


def test_what_the_server_said_of_the_session_before_it_read_the_update_changes_nothing(wire):
    wire.send(ASKED).receive("session.created", session=PCM)
    append(wire, ULAW)
    wire.wait(0.2).receive("session.updated", session=ASKED["session"])
    assert wire.wait(2).seconds() == [1.0]


@pytest.mark.parametrize(
    "error",
    [
        {"event_id": "u1", "message": "no"},
        {"event_id": None, "param": "session.audio.input.format", "message": "no"},
        {"param": "session.audio.input.format.type", "message": "no"},
    ],
    ids=["by its id", "by what it is about", "without a field for an id"],
)
def test_what_was_said_before_an_update_was_refused_is_decoded_as_before(wire, error):
    """Nothing is decoded in a format that was never agreed."""
    wire.receive("session.created", session=PCM).send(ASKED)
    append(wire, LINEAR)
    wire.wait(0.3).receive("error", error=error)
    assert wire.wait(2).seconds() == [1.0]


def test_an_error_about_something_else_refuses_no_format(wire):
    wire.receive("session.created", session=PCM).send(ASKED)
    append(wire, ULAW)
    wire.receive("error", error={"event_id": "e9", "message": "no"})
    wire.receive("error", error={"event_id": None, "param": "item.content", "message": "no"})
    wire.wait(0.3).receive("session.updated", session=ASKED["session"])
    assert wire.wait(2).seconds() == [1.0]


def test_without_an_answer_the_clients_own_word_counts_to_the_last(wire):
    wire.receive("session.created", session=PCM).send(ASKED)
    append(wire, ULAW)
    wire.recorder.close()
    assert wire.recorder.final_seconds == 1.0
    assert wire.seconds() == [1.0]


def test_each_of_two_updates_has_its_answer(wire):
    back = {"type": "session.update", "session": PCM}
    wire.send(ASKED).send(back).wait(0.1).receive("session.updated", session=ASKED["session"])
    append(wire, LINEAR)
    wire.wait(0.1).receive("session.updated", session=PCM)
    assert wire.wait(2).seconds() == [1.0]


def test_what_waits_for_the_servers_word_has_its_place(wire):
    wire.receive("session.created", session=PCM)
    began = wire.clock.monotonic_ns()
    wire.send(ASKED)
    for _ in range(60):
        append(wire, b"\x20" * 400)
        wire.wait(0.05)
    wire.receive("session.updated", session=ASKED["session"])
    for _ in range(20):
        append(wire, b"\x20" * 400)
        wire.wait(0.05)
    sound, rate = sf.read(wire.recorder.finish(), dtype="int16")
    assert np.count_nonzero(sound[:, 0]) == 4 * rate
    assert round(wire.recorder.started_at * 1e9) == began


def test_an_update_of_something_else_changes_no_format(wire):
    wire.receive("session.updated", session={"input_audio_format": "g711_ulaw"})
    wire.send({"type": "session.update", "session": {"instructions": "Be brief.", "audio": {"output": {}}}})
    wire.send({"type": "input_audio_buffer.append", "audio": base64_of(b"\x20" * 8_000)})
    assert wire.wait(2).seconds() == [1.0]


def test_what_is_in_an_unknown_format_is_not_decoded(wire):
    wire.receive("session.updated", session={"audio": {"output": {"format": {"type": "audio/opus"}}}})
    wire.answer(1.0)
    wire.send({"type": "input_audio_buffer.append", "audio": base64_of(tone(0.5))})
    assert wire.wait(2).seconds() == [0.5]


@pytest.mark.parametrize("waited", [0.5, 2.0])
def test_what_had_waited_for_the_socket_is_where_it_was_said(wire, waited):
    """A lead that stays the same was a backlog."""
    opened = wire.clock.monotonic_ns()
    wire.wait(1.0)
    said = np.concatenate(
        [np.frombuffer(tone(1.0), "<i2"), np.zeros(24_000 * 3, "<i2"), np.frombuffer(tone(1.0), "<i2")]
    )
    began = wire.clock.monotonic_ns() - round(waited * 1e9)
    for first in range(0, len(said), 1_200):
        while wire.clock.monotonic_ns() < began + (first + 1_200) * 1_000_000_000 // 24_000:
            wire.wait(0.05)
        wire.send(
            {"type": "input_audio_buffer.append", "audio": base64_of(said[first : first + 1_200].tobytes())}
        )
    wire.wait(1.0)
    sound, rate = sf.read(wire.recorder.finish(), dtype="int16")
    started = round(wire.recorder.started_at * 1e9)
    places = np.flatnonzero(sound[:, 0])
    second = places[int(np.flatnonzero(np.diff(places) > rate)[0]) + 1]
    assert abs(started + places[0] * 1_000_000_000 // rate - began) <= 60_000_000
    assert abs(started + second * 1_000_000_000 // rate - (began + 4_000_000_000)) <= 60_000_000
    assert started == min(opened, began) or abs(started - began) <= 60_000_000


@pytest.mark.parametrize(
    "frame",
    [
        b"not JSON",
        "[1]",
        {"type": "input_audio_buffer.append", "audio": "!"},
        {"type": "conversation.item.truncate", "item_id": "a1", "audio_end_ms": None},
        {},
        None,
    ],
)
def test_what_is_no_sound_does_nothing(wire, frame):
    assert wire.answer(1.0).send(frame).wait(2).seconds() == [1.0]


def test_a_pause_leaves_silence(wire):
    wire.recorder.pause()
    wire.answer(1.0)
    wire.send({"type": "input_audio_buffer.append", "audio": base64_of(tone(0.5))}).wait(2)
    wire.recorder.resume()
    assert wire.answer(0.5, item="a2").wait(2).seconds() == [0.5]


def test_memory_is_bounded(wire, monkeypatch):
    monkeypatch.setattr("voicespan.recording.audio_queue.MOST_HELD", 100_000)
    wire.answer(10.0)
    assert wire.recorder._queue.tracks[1].held <= 100_000
    assert wire.recorder.dropped_bytes > 400_000


# Both providers' own SDKs.


@pytest.fixture
def delivered(langsmith_server, tmp_path, monkeypatch):
    """A provider that delivers to a LangSmith, on the real clock: the recorder's threads live by it."""
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", "wire")
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
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


def recording(langsmith_server):
    """The root, and for how many seconds each side sounds."""
    (root,) = langsmith_server.roots
    sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
    # The agent's, also where the microphone's is lower. (The root tells it only of a call that lasted
    # longer than the writer's lag.)
    assert rate == RATE
    return root, [np.count_nonzero(np.abs(side) > 32) / rate for side in sound.T]


async def test_openai(delivered, langsmith_server, openai_realtime_server):
    from openai import AsyncOpenAI

    from voicespan.testing.openai_realtime import Answer, OpenAIRealtimeServer

    OpenAIRealtimeInstrumentor().instrument(tracer_provider=delivered)
    with OpenAIRealtimeServer.conversational([Answer(audio=tone(2.0), transcript="Good morning!")]) as server:
        async with AsyncOpenAI(api_key="none", websocket_base_url=server.url) as client:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                await connection.session.update(
                    session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
                )
                await connection.input_audio_buffer.append(audio=base64_of(tone(0.3)))
                await connection.input_audio_buffer.commit()
                await connection.response.create()
                async for event in connection:
                    if event.type == "response.done":
                        break
                item = event.response.output[0].id
                await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=500)
                async for event in connection:
                    if event.type == "conversation.item.truncated":
                        break
    OpenAIRealtimeInstrumentor().uninstrument()
    assert await asyncio.to_thread(delivered.force_flush, 20_000)
    root, seconds = recording(langsmith_server)
    assert seconds == pytest.approx([0.3, 0.5], abs=0.01)
    assert (root.metadata["recording_source"], root.metadata["recording_estimated"]) == ("wire", True)
    assert (root.metadata["figures_basis"], root.metadata["user_turn_count"]) == ("wire", 1)
    assert root.metadata["user_talk_s"] == pytest.approx(0.3, abs=0.02)
    assert root.metadata["agent_talk_s"] == pytest.approx(0.5, abs=0.02)
    turn = next(child for child in root.children if child.name == "turn_complete")
    assert not [name for name in turn.metadata if name.endswith("heard_ms") and "latency" in name]


async def test_gemini(delivered, langsmith_server):
    from google import genai

    from voicespan.testing.gemini_live import Answer, GeminiLiveServer

    GeminiLiveInstrumentor().instrument(tracer_provider=delivered)
    answers = [Answer(audio=tone(3.0), text="Good morning!", pause_after=15), Answer("Yes?")]
    loud = {"data": tone(0.5, 16_000), "mime_type": "audio/pcm;rate=16000"}
    quiet = {"data": bytes(16_000 * 2), "mime_type": "audio/pcm;rate=16000"}
    with GeminiLiveServer.conversational(answers, timeout=10) as server:
        client = genai.Client(**server.client_options())
        config = {"response_modalities": ["AUDIO"]}
        async with client.aio.live.connect(model="gemini-live", config=config) as session:
            await session.send_realtime_input(audio=loud)
            await session.send_realtime_input(audio=quiet)
            received = 0
            async for message in session.receive():
                received += len(message.data or b"")
                if received == len(tone(3.0)):
                    received = 0
                    await asyncio.sleep(0.4)
                    await session.send_realtime_input(audio=loud)
                if message.server_content and message.server_content.interrupted:
                    break
    GeminiLiveInstrumentor().uninstrument()
    assert await asyncio.to_thread(delivered.force_flush, 20_000)
    root, (_, agent) = recording(langsmith_server)
    assert 0.3 < agent < 2.0
    assert root.metadata["figures_basis"] == "wire"
    # Nobody says when this user spoke, or what.
    assert "user_turn_count" not in root.metadata
    assert (root.metadata["recording_source"], root.metadata["recording_estimated"]) == ("wire", True)


# Who pays for it.


def test_nobody_else_has_the_connection_that_listens(tracer_provider, monkeypatch):
    conversation = Conversation(tracer_provider=tracer_provider)
    assert type(conversation.connect(Protocol(), {}, wire_audio=WireAudio)) is Connection
    conversation.end()
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", "wire")
    # Nor has who has no destination for a recording.
    conversation = Conversation(tracer_provider=tracer_provider)
    assert type(conversation.connect(Protocol(), {}, wire_audio=WireAudio)) is Connection
    conversation.end()


def test_an_estimate_is_never_passed_off_as_heard(delivered):
    with voicespan.conversation() as conversation:
        conversation.connect(Protocol(), {}, wire_audio=WireAudio)
        assert conversation.recorder.source == "wire"
        assert conversation.lifecycle.spans.playback.recorder is None
