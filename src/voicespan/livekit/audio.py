"""The sound of a session: what its input gives, and what its output has played.

LiveKit counts what was played itself, and says so when a segment is over; where the playback was cut, that position
is where the recording is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Interrupted
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from voicespan.instrumentation.framework_session import FrameworkSession
    from voicespan.recording.recorder import Recorder


class SessionAudio:
    """Of one session. Used on the session's event loop only."""

    def __init__(self, trace: FrameworkSession) -> None:
        """Nothing has been heard yet."""
        self._trace = trace
        self._recorder: Recorder | None = None
        #: Seconds of the segment that is given to the output; None: no segment is open.
        self._given: float | None = None
        self._answer: Any = None

    @property
    def recorder(self) -> Recorder:
        """Where it goes."""
        if self._recorder is None:
            self._recorder = self._trace.conversation.recorder
        return self._recorder

    @guarded
    def user(self, frame: Any) -> None:
        """The input gave a frame: it has just ended."""
        seconds = frame.samples_per_channel / frame.sample_rate
        self.recorder.user(_mono(frame), frame.sample_rate, at=self._trace.now() / 1e9 - seconds)

    @guarded
    def agent(self, frame: Any) -> None:
        """A frame is given to the output, at most a few seconds before it is heard."""
        if self._given is None:
            self._given = 0.0
            self._answer = self._trace.conversation.audible_answer
            self.recorder.mark_answer()
        self._given += frame.samples_per_channel / frame.sample_rate
        self.recorder.agent(_mono(frame), frame.sample_rate)

    @guarded
    def finished(self, position: float, *, interrupted: bool) -> None:
        """The output has played a segment: `position` seconds of it."""
        given, self._given = self._given, None
        if not interrupted or given is None:
            return
        now = self._trace.now()
        self.recorder.cut_agent(at=now / 1e9, played_ms=position * 1000)
        if self._answer is not None and self._trace.user_speaks:
            self._trace.report(
                Interrupted(
                    now,
                    "playback_finished",
                    self._answer,
                    None,
                    "playback_finished",
                    round(position * 1000),
                    round(given * 1000),
                )
            )


def _mono(frame: Any) -> Any:
    """The first channel of a frame of int16 samples, which nearly always has no other."""
    if frame.num_channels == 1:
        return frame.data
    return frame.data[:: frame.num_channels].tobytes()
