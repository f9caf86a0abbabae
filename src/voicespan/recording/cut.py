"""What a cut of the agent's playback did to the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.track import MS

if TYPE_CHECKING:
    from voicespan.recording.recording_writer import RecordingWriter


class Cut:
    """What a cut did. It is known once the audio before it has been laid out; reading an attribute does that.

    A recorder that records nothing knows nothing: then all attributes are None.
    """

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        #: Filled by the writer, with what `AgentTrack.cut` returns.
        self.result: list[int] = []

    @property
    def at(self) -> float | None:
        """When playback stopped, in seconds of `time.monotonic()`."""
        return None if (result := self._laid_out()) is None else result[0] / NS

    @property
    def heard_ms(self) -> float | None:
        """How much of the answer that was cut had been heard.

        The answer begins where `Recorder.mark_answer` was called, or else with the first audio after half a
        second of nothing.
        """
        return None if (result := self._laid_out()) is None else result[1] / MS

    @property
    def unheard_ms(self) -> float | None:
        """How much was removed."""
        return None if (result := self._laid_out()) is None else result[2] / MS

    def _laid_out(self) -> list[int] | None:
        if not self.result:
            self._writer.read_queue()
        return self.result or None
