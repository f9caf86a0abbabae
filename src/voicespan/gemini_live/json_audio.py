"""The audio in Gemini Live's messages on a socket of one's own: as `audio`, from the JSON on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, values
from voicespan.gemini_live.audio import AGENT_RATE, USER_RATE, WireAudio, audio_kind, microphone
from voicespan.protocol.json_values import as_object, as_objects
from voicespan.recording.audio_queue import AGENT, USER

if TYPE_CHECKING:
    from voicespan.recording.timeline.timeline import Timeline


class JsonWireAudio(WireAudio):
    """The audio of one connection whose frames are bytes."""

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
                self.place_agent(timeline, paused, pcm, at, audio_kind(kind, AGENT_RATE))
        if content.get("interrupted") is True:
            self.stop(timeline, at)

    def _read_sent(self, timeline: Timeline, paused: bool, frame: bytes, at: int) -> None:
        message: Any = as_object(frames.parsed(frame))
        for blob in microphone(message.get("realtimeInput") or message.get("realtime_input")):
            kind = values.mime_type(blob)
            if kind.startswith("audio/") and isinstance(blob, dict):
                pcm = self.decode(blob.get("data"))
                self.place_user(timeline, paused, pcm, at, audio_kind(kind, USER_RATE))
