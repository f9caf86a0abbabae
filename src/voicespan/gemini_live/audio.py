"""The audio in Gemini Live's messages; see `voicespan.recording.wire_source`.

message                           what it does to the estimate
`send_realtime_input(audio=...)`  the user's audio
audio of `modelTurn`              the agent's
`interrupted`                     cuts there
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, values
from voicespan.gemini_live.turns import bytes_per_ms
from voicespan.protocol.json_values import as_object, as_objects
from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.wire_source import WireAudioSource, decode_base64

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.timeline.timeline import Timeline
    from voicespan.recording.wire_source import Kind

#: What the models speak, in Hz.
_AGENT_RATE = 24_000
#: What they take a blob for that does not say.
_USER_RATE = 16_000


class WireAudio(WireAudioSource):
    """The audio of one connection."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        recorder.expect_rate(_AGENT_RATE)

    def received(self, frame: object, at: int) -> None:
        """The server sent `frame`: the SDK's message."""
        content = getattr(frame, "server_content", None)
        if content is None:
            return
        for blob in _model_audio(content):
            audio = blob.data
            if isinstance(audio, bytes):
                kind = _kind(values.mime_type(blob), _AGENT_RATE)
                self.recorder.put_undecoded(AGENT, self.place_agent, audio, at, kind)
        if getattr(content, "interrupted", None) is True:
            self.recorder.put_undecoded(AGENT, self._interrupted, b"", at)

    def sent(self, frame: object, at: int) -> None:
        """The application sent `frame`, which may hold audio as bytes or as base64."""
        given = frame.get("realtimeInput") or frame.get("realtime_input") if isinstance(frame, dict) else None
        for blob in _microphone(given):
            mime_type = values.mime_type(blob)
            audio = blob.get("data") if isinstance(blob, dict) else getattr(blob, "data", None)
            if mime_type.startswith("audio/") and isinstance(audio, (bytes, str)):
                self.recorder.put_undecoded(USER, self._speak, audio, at, _kind(mime_type, _USER_RATE))

    # By the writer.

    @staticmethod
    def decode(data: object) -> bytes:
        """The bytes of a blob's base64, in whichever of its two alphabets."""
        return decode_base64(data.replace("-", "+").replace("_", "/") if isinstance(data, str) else data)

    def _speak(self, timeline: Timeline, paused: bool, audio: bytes | str, at: int, kind: Kind) -> None:
        pcm = audio if isinstance(audio, bytes) else self.decode(audio)
        self.place_user(timeline, paused, pcm, at, kind)

    def _interrupted(self, timeline: Timeline, _paused: bool, _payload: bytes, at: int) -> None:
        self.stop(timeline, at)


class JsonWireAudio(WireAudio):
    """The audio of one connection whose frames are the wire's JSON, as bytes."""

    def received(self, frame: object, at: int) -> None:
        """The server sent `frame`."""
        # What has neither is mostly a piece of a transcript.
        if isinstance(frame, bytes) and (b'"inlineData"' in frame or b'"interrupted"' in frame):
            self.recorder.put_undecoded(AGENT, self._read, frame, at)

    def sent(self, frame: object, at: int) -> None:
        """The application sent `frame`."""
        if isinstance(frame, bytes) and b'"data"' in frame:
            self.recorder.put_undecoded(USER, self._read_sent, frame, at)

    # By the writer.

    def _read(self, timeline: Timeline, paused: bool, frame: bytes, at: int) -> None:
        content = as_object(as_object(frames.parsed(frame)).get("serverContent"))
        for part in as_objects(as_object(content.get("modelTurn")).get("parts")):
            blob = as_object(part.get("inlineData"))
            kind = values.mime_type(blob)
            if kind.startswith("audio/"):
                pcm = self.decode(blob.get("data"))
                self.place_agent(timeline, paused, pcm, at, _kind(kind, _AGENT_RATE))
        if content.get("interrupted") is True:
            self.stop(timeline, at)

    def _read_sent(self, timeline: Timeline, paused: bool, frame: bytes, at: int) -> None:
        message: Any = as_object(frames.parsed(frame))
        for blob in _microphone(message.get("realtimeInput") or message.get("realtime_input")):
            kind = values.mime_type(blob)
            if kind.startswith("audio/") and isinstance(blob, dict):
                pcm = self.decode(blob.get("data"))
                self.place_user(timeline, paused, pcm, at, _kind(kind, _USER_RATE))


def _model_audio(content: Any) -> Iterator[Any]:
    for part in getattr(getattr(content, "model_turn", None), "parts", None) or ():
        blob = getattr(part, "inline_data", None)
        if values.mime_type(blob).startswith("audio/"):
            yield blob


def _microphone(given: Any) -> Iterator[Any]:
    if isinstance(given, dict):
        for name in ("audio", "media", "mediaChunks", "media_chunks"):
            blobs = given.get(name)
            yield from blobs if isinstance(blobs, list) else [blobs]


def _kind(mime_type: str, usual: int) -> Kind:
    """The rate that stands in `audio/pcm;rate=24000`, else the usual one."""
    rate = round(bytes_per_ms(mime_type) * 500) if "rate=" in mime_type else usual
    return (rate if 4_000 <= rate <= 192_000 else usual, "pcm16")  # noqa: PLR2004  what can be resampled
