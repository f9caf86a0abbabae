"""The sound of a session: what its input gives, and what its output has played.

LiveKit counts what was played itself, and says so when a segment is over; where the playback was cut, that position
is where the recording is cut. Newer versions pause the playback when the user makes a sound, and go on where no words
come of it: what is not heard is held meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Interrupted
from voicespan.recording.audio_queue import AGENT
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from voicespan.instrumentation.framework_session import FrameworkSession
    from voicespan.livekit.realtime import RealtimeAnswers
    from voicespan.recording.recorder import Recorder


class SessionAudio:
    """Of one session. Used on the session's event loop only."""

    def __init__(self, trace: FrameworkSession, realtime: RealtimeAnswers) -> None:
        """Nothing has been heard yet."""
        self._trace = trace
        self._realtime = realtime
        self._recorder: Recorder | None = None
        #: Whether the session is being closed: what is cut now is cut by that.
        self.is_closing = False
        #: Seconds of the segment that is given to the output; None: no segment is open.
        self._given: float | None = None
        self._answer: Any = None
        #: Since when the output is paused: monotonic nanoseconds; None: it plays.
        self._paused_at: int | None = None
        #: Seconds of the segment that the output has dropped, and how far it had come when it was paused last.
        self._skipped = 0.0
        self._reached: float | None = None

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
        self.recorder.user_until_now(bytes(_mono(frame)), frame.sample_rate, seconds)

    @guarded
    def agent(self, frame: Any) -> None:
        """A frame is given to the output, at most a few seconds before it is heard."""
        if self._given is None:
            self._given = 0.0
            self._realtime.audible()
            self._answer = self._trace.conversation.audible_answer
            self.recorder.mark_answer()
        self._given += frame.samples_per_channel / frame.sample_rate
        self.recorder.agent(_mono(frame), frame.sample_rate)

    @guarded
    def paused(self) -> None:
        """The output plays nothing from here on."""
        if self._paused_at is None:
            self._paused_at = self._trace.now()
            self.recorder.hold_agent(at=self._paused_at / 1e9)

    @guarded
    def progressed(self, reached: float) -> None:
        """The output has come so far in the segment, in seconds; a room's says so when a pause has begun."""
        self._reached = reached
        if self._paused_at is not None and self._given is not None:
            self.recorder.hold_agent(played_ms=1000 * (reached - self._skipped))

    @guarded
    def resumed(self, goes_on_from: float | None) -> None:
        """The output plays on. `goes_on_from`: where in the segment, in seconds, if it says so."""
        if self._paused_at is None:
            return
        skipped = 0.0
        if self._given is not None and self._reached is not None and goes_on_from is not None:
            # A room's output drops what lay in its buffer.
            skipped = max(0.0, goes_on_from - self._reached)
            self._skipped += skipped
        self._paused_at = None
        self.recorder.release_agent(at=self._trace.now() / 1e9, skipped_ms=1000 * skipped)

    @guarded
    def finished(self, position: float, *, interrupted: bool) -> None:
        """The output has played a segment: `position` seconds of it."""
        given, self._given = self._given, None
        self._skipped, self._reached = 0.0, None
        if not interrupted or given is None:
            return
        if self.is_closing:
            # Whoever hangs up does not cut in.
            if self.recorder.sources[AGENT] is None:
                self.recorder.mark_gap(self._trace.now(), round(position * 1e9))
            return
        self.recorder.cut_agent(played_ms=position * 1000)
        # Where it was paused, the user has often fallen silent before the words were known that made it an interruption.
        if self._answer is not None and (self._trace.user_speaks or self._paused_at is not None):
            self._trace.report(
                Interrupted(
                    self._trace.now() if self._paused_at is None else self._paused_at,
                    "playback_finished",
                    self._answer,
                    None,
                    "playback_finished",
                    round(position * 1000),
                    round(given * 1000),
                )
            )


def _mono(frame: Any) -> Any:
    """The samples of the first channel of a frame of int16 samples, which nearly always has no other; in any object that holds bytes."""
    if frame.num_channels == 1:
        return frame.data
    return frame.data[:: frame.num_channels].tobytes()
