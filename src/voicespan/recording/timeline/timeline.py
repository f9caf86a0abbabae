"""Where each sample of a recording goes. No thread, no clock, no file: times come in as arguments.

The rules:

1. A sample's place is the time at which it was captured (user) or is heard (agent), in nanoseconds of the
   monotonic clock. The wall clock is never looked at.
2. Audio that comes with a time lies there. Audio that comes without lies where it was given, or
   right after what was given before it, if that ends later: a burst is laid out at the speed at
   which it is heard.
3. Jitter is no gap. What lies within `TOLERANCE` of the end of what came before continues it without a
   break. Further off, the side is anchored anew: later, there is silence between; earlier (a device clock
   that runs fast), what would lie over placed samples is left out.
4. What has a place keeps it, and keeps it to itself: two samples of a side never share one. Only a cut
   removes (`agent_track.py`). One exception moves: a microphone that had stalled (`user_track.py`).
5. What was taken is on its way to the file. Audio for a time before that comes too late and is left out.
   So nothing is taken beyond the end of a microphone's stream that is late (`LATE`).
6. Nothing that is given or heard during a pause is kept. It takes its place as silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.recording.codec.formats import SAMPLE_BYTES, SILENCE
from voicespan.recording.timeline.agent_track import AgentTrack
from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.track import MS
from voicespan.recording.timeline.user_track import UserTrack

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.recording.timeline.track import Piece

#: Later than every time that can come.
FOREVER = 1 << 62

#: How late a microphone's stream may be and is still waited for: an event loop that was held, and works off what came
#: meanwhile.
LATE = 5 * NS
#: What has waited is handed over within so long.
_WORKED_OFF = 2 * NS
#: So much later audio for the speaker came than any from the microphone: nothing is held, the stream has ended.
_ALONE = 500 * MS


class Timeline:
    """Both sides of one recording, on one clock.

    Args:
        origin: The time of the first frame, in nanoseconds of the monotonic clock.
    """

    def __init__(self, origin: int) -> None:
        self.user = UserTrack(origin)
        self.agent = AgentTrack(origin)
        self._pauses: tuple[tuple[int, int], ...] = ()
        #: Places what a source holds back; None: there is nothing.
        self.unplaced: Callable[[], None] | None = None

    @property
    def end(self) -> int | None:
        """When the last sample has been heard; None while there is none."""
        return max((side.end for side in (self.user, self.agent) if side.end is not None), default=None)

    @property
    def begin(self) -> int | None:
        """When the first sample is heard that was not taken; None while there is none."""
        begins = (side.begin for side in (self.user, self.agent))
        return min((begin for begin in begins if begin is not None), default=None)

    def pause(self, at: int) -> None:
        """Keep nothing from `at` on. Again without a `resume` between, nothing changes."""
        if not self._pauses or self._pauses[-1][1] != FOREVER:
            self._pauses += ((at, FOREVER),)

    def resume(self, at: int) -> None:
        """Keep what is given and heard from `at` on."""
        if self._pauses and self._pauses[-1][1] == FOREVER:
            self._pauses = (*self._pauses[:-1], (self._pauses[-1][0], at))
            self.user.resumed = at

    def settles(self, until: int) -> int:
        """How far it may be taken, where it ought to be until `until`: not what may still come."""
        user, begins = self.user, self.user.waits_from
        if begins is None or (not user.is_awaited and self.agent.given_at - user.given_at > _ALONE):
            return until
        if user.may_have_waited and until - user.given_at > _ALONE:
            # Nothing follows: a file that somebody read, and no microphone.
            return until
        # Just before the end, so that it goes on from there.
        late = LATE + _WORKED_OFF if user.may_have_waited else LATE
        return min(until, begins - 1) if until - begins < late else until

    def take(self, until: int) -> tuple[list[Piece], list[Piece]]:
        """What the user and the agent said before `until`; it is settled by that."""
        taken = self._without_pauses(self.user.take(until)), self._without_pauses(self.agent.take(until))
        if any(taken) or self.user.written_until is not None:
            self.user.written_until = until
        self._pauses = tuple(pause for pause in self._pauses if pause[1] > until)
        return taken

    def peek(self, until: int) -> tuple[list[Piece], list[Piece]]:
        """What the user and the agent said before `until` and has not been taken."""
        return self._without_pauses(self.user.peek(until)), self._without_pauses(self.agent.peek(until))

    def _without_pauses(self, pieces: list[Piece]) -> list[Piece]:
        if not self._pauses:
            return pieces
        return [self._silenced(piece) for piece in pieces]

    def _silenced(self, piece: Piece) -> Piece:
        width = SAMPLE_BYTES[piece.encoding]
        pcm = piece.pcm

        def offset(time: int) -> int:
            samples = -((piece.start - time) * piece.rate // NS)
            return min(max(samples * width, 0), len(pcm))

        for start, end in self._pauses:
            first, beyond = offset(start), offset(end)
            if beyond > first:
                pcm = pcm[:first] + SILENCE[piece.encoding] * (beyond - first) + pcm[beyond:]
        return piece._replace(pcm=pcm)
