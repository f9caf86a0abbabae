"""What OpenAI Live's frames sound like; see `voicespan.recording.wire_source`.

The service sends one continuous track at the speed of speech, silence included, so it does not run ahead of what
is heard, and a cut is heard in it: nothing has to be cut here.

frame                                            what it does to the estimate
`session.input_audio.append`, sent               the user's audio
`session.input_audio.append`, received           the same, on a sideband: PCM16 at 24 kHz whatever the session has
`session.output_audio.delta`                     the agent's; with times, on a sideband, likewise
`session.started`; `session.start`, sent         tell the format, which is that of both ways
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_live import frames, values
from voicespan.protocol.json_values import event_object, json_text
from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.wire_source import WireAudioSource, decode_base64

if TYPE_CHECKING:
    from voicespan.recording.recorder import Recorder
    from voicespan.recording.timeline.timeline import Timeline
    from voicespan.recording.wire_source import Kind

_APPEND = "session.input_audio.append"
_STARTS = ("session.start", "session.started")
_G711 = {"audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
#: What the service has where nothing else was agreed, and what it reflects to sidebands.
_PCM = (24_000, "pcm16")
_RATES = (16_000, 24_000)


class WireAudio(WireAudioSource):
    """The sound of one connection."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._kind: Kind = _PCM
        recorder.expect_rate(_PCM[0])

    def received(self, frame: object, at: int) -> None:
        """The server sent `frame`."""
        if not isinstance(frame, (bytes, str)):
            return
        if frames.audio_size(frame) or frames.is_of_type(frame, *_STARTS):
            self.recorder.put_undecoded(AGENT, self._read, frame, at)

    def sent(self, frame: object, at: int) -> None:
        """The application sent `frame`: its JSON, a dict that it may change at once, or the SDK's model."""
        if isinstance(frame, (bytes, str)):
            if frames.audio_size(frame) or frames.is_of_type(frame, *_STARTS):
                self.recorder.put_undecoded(USER, self._read_sent, frame, at)
            return
        event = event_object(frame) or {}
        kind = event.get("type")
        if kind == _APPEND and isinstance(audio := event.get("audio"), str):
            self.recorder.put_undecoded(USER, self._speak, audio, at)
        elif kind in _STARTS:
            self.recorder.put_undecoded(USER, self._read_sent, json_text(event), at)

    # By the writer.

    def _speak(self, timeline: Timeline, paused: bool, audio: str, at: int) -> None:
        self.place_user(timeline, paused, decode_base64(audio), at, self._kind)

    def _read(self, timeline: Timeline, paused: bool, frame: bytes | str, at: int) -> None:
        event = event_object(frame) or {}
        if event.get("type") == _APPEND:
            self.place_user(timeline, paused, decode_base64(event.get("audio")), at, _PCM)
        elif event.get("type") == "session.output_audio.delta":
            # Only what is reflected to a sideband has times.
            kind = self._kind if event.get("start_ms") is None else _PCM
            self.place_agent(timeline, paused, decode_base64(event.get("delta")), at, kind)
        else:
            self._session(event)

    def _read_sent(self, timeline: Timeline, paused: bool, frame: bytes | str, at: int) -> None:
        event = event_object(frame) or {}
        if event.get("type") == _APPEND:
            self._speak(timeline, paused, event.get("audio", ""), at)
        else:
            self._session(event)

    def _session(self, event: dict[str, Any]) -> None:
        audio = values.as_object(values.as_object(event.get("session")).get("audio"))
        encoding = values.as_object(audio.get("format"))
        named = values.name(encoding.get("type"))
        if named in _G711:
            self._kind = (8_000, _G711[named])
        elif named == "audio/pcm":
            rate = values.integer(encoding.get("rate"))
            self._kind = (rate if rate in _RATES else _PCM[0], _PCM[1])
