"""The user's side of the recording: the rules that hold for a microphone only.

A microphone delivers as fast as time passes. Two things look otherwise:

- The event loop stalled. Audio without times stops for a while and then comes in a burst. It was captured during
  the gap, so the gap is closed again, as far as it has not been written to the file.
- The stream runs ahead of the clock.
  - Its lead grows slowly: the device's clock runs fast (50 ppm are 0.36 s in two hours). It is anchored anew when
    it is `TOLERANCE` off.
  - It gets ahead at once and stays there: it had waited. A telephone bridge sends what the caller said while the
    socket was opened, and continues live; a microphone that was not read for seconds gives them all at once. That
    audio is moved back to when it was said, as far as nothing of it has been written. So while this is undecided
    nothing is written: from the end of a live stream until it continues, and until it is known that it continues
    live. A burst that nothing follows stays where it is: it is a test that reads a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.recording.codec.formats import SAMPLE_BYTES
from voicespan.recording.timeline.segment import NS, Segment, size_of, without_head
from voicespan.recording.timeline.track import MS, TOLERANCE, Track
from voicespan.runtime.measurements import SHARED, LoopBlocked

if TYPE_CHECKING:
    from voicespan.recording.timeline.segment import Pcm

#: The longest gap that can be a stall: what lies further back has been written.
STALL = 400 * MS

#: No socket takes longer to open.
_LONGEST_BACKLOG = 30 * NS

#: A stream is live while it is given at most so long before its place.
LIVE = 100 * MS

#: What came at once filled the gap before it, if it is as long within this: a piece more or less.
_SAME_GAP = 2 * TOLERANCE

#: What was live for so long is a microphone that goes on, and not a word from somewhere.
_GOES_ON = 500 * MS


class UserTrack(Track):
    """The user's side.

    Attributes:
        resumed: When the last pause ended, in nanoseconds of the monotonic clock.
    """

    def __init__(self, origin: int) -> None:
        super().__init__(origin)
        self.resumed: int | None = None
        self._awaited: int | None = None  # from when on audio comes late
        #: Nothing before is free any more; None: nothing was written of either side.
        self.written_until: int | None = None
        # Made when they are needed: each call has as few objects as can be.
        self._pace: Pace | None = None
        self._backlog: Backlog | None = None
        self._lead = 0  # of the piece that was given last
        self._live_since: int | None = None  # when what was given last began to be live
        # What was before the newest run ended here, while that may have waited; of the first run its own begin.
        self._open_from: int | None = None
        self._gap = 0  # before the stalled run
        self._stalled: Segment | None = None

    def wait_for(self, since: int | None) -> None:
        """A device captures from `since` on, and may be read later; None: it has stopped."""
        self._awaited = since

    @property
    def waits_from(self) -> int | None:
        """From when on audio may still come that was said before; None: what comes is said now."""
        if self._awaited is not None and self.end is not None:
            return max(self._awaited, self.end)
        if self._open_from is not None:
            return self._open_from
        return self.end if self.flows or self._is_live else self._awaited

    @property
    def _is_live(self) -> bool:
        """Whether it comes without times, as it is said."""
        return self._live_since is not None and self.given_at - self._live_since >= _GOES_ON

    @property
    def is_awaited(self) -> bool:
        """Whether a device captures it, and is known not to have ended."""
        return self._awaited is not None

    @property
    def may_have_waited(self) -> bool:
        """Whether it is open if the newest run is said now, or had waited."""
        return self._open_from is not None

    def _place(self, given_at: int, pcm: Pcm, rate: int, encoding: str, at: int | None) -> int | None:
        if at is None and self.resumed is not None:
            pcm = self._without_the_pause(given_at, self.resumed, pcm, rate, encoding)
            if not pcm:
                return None
        if at is not None or self.end is None:
            self._stalled = self._live_since = self._open_from = None
            start = super()._place(given_at, pcm, rate, encoding, at)
            if at is None:
                self._open_from = start
            return start
        lead = self.end - given_at
        gap = -lead
        if lead < -TOLERANCE:
            self._pace = self._backlog = self._live_since = None
            self._open_from = self.end
        else:
            if self._stalled is not None and lead >= self._gap - TOLERANCE:
                self._close_gap()
            self._backlog = self._backlog or Backlog()
            waited = self._backlog.waited(given_at, lead)
            if waited:
                # A client that keeps the beginning of a word back sends less than it was silent for.
                if -_SAME_GAP <= waited - self._gap <= _SAME_GAP:
                    SHARED.put(LoopBlocked(self._gap / NS))
                self._move_back(waited)
                lead = self.end - given_at
            self._note_pace(given_at, lead, decided=bool(waited))
            self._pace = self._pace or Pace()
            excess = self._pace.excess(given_at, lead)
            at = self.end - excess if excess else None
        start = super()._place(given_at, pcm, rate, encoding, at)
        if gap > TOLERANCE:
            stalled = gap <= STALL and self._lead <= LIVE
            self._stalled, self._gap, lead = (self._runs[-1] if stalled else None), gap, 0
        self._lead = lead
        return start

    def _note_pace(self, given_at: int, lead: int, *, decided: bool) -> None:
        """Whether the stream is live, and whether it is open if the newest run had waited."""
        if decided:
            self._live_since, self._open_from = given_at, None
        elif lead > LIVE:
            self._live_since = None
        elif self._live_since is None:
            self._live_since = given_at
        elif given_at - self._live_since >= Backlog.WINDOW:
            self._open_from = None

    def _move_back(self, waited: int) -> None:
        """The newest run was said so much earlier, as far as there is room."""
        run = self._runs[-1] if self._runs else None
        if run is None or run.taken or self.end is None:
            return
        start = run.start - min(waited, _LONGEST_BACKLOG)
        before = self._open_from
        if before is not None and before != run.start and -TOLERANCE <= start - before <= TOLERANCE:
            # Jitter is no gap.
            start = before
        if self.written_until is not None:
            start = max(start, self.written_until)
        if len(self._runs) > 1:
            start = max(start, self._runs[-2].end)
        if start < run.start:
            run.move(start)
            self.end = run.end
            self._pace = None

    def _close_gap(self) -> None:
        stalled, self._stalled = self._stalled, None
        if stalled is None or not self._runs or self._runs[-1] is not stalled or stalled.taken:
            return
        self._lead = 0
        SHARED.put(LoopBlocked(self._gap / NS))
        start = max(stalled.start - self._gap, self.settled)
        before = self._runs[-2] if len(self._runs) > 1 else None
        if before is not None and before.end == start and before.continued_by(stalled):
            self._runs.pop()
            before.absorb(stalled)
        else:
            stalled.move(start)
        self.end = self._runs[-1].end

    def _without_the_pause(self, given_at: int, resumed: int, pcm: Pcm, rate: int, encoding: str) -> Pcm:
        """Silence what was captured before the pause ended: a piece begins before it is given."""
        width = SAMPLE_BYTES[encoding]
        since = (given_at - resumed) * rate // NS * width
        muted = min(size_of(pcm) - since, size_of(pcm))
        if muted <= 0:
            self.resumed = None
            return pcm
        super()._place(given_at, muted, rate, encoding, None)
        return without_head(pcm, muted)


class Backlog:
    """Finds out that a stream is ahead because what it sent first had waited."""

    #: Its lead must stay the same for so long, less than what lies so far back is written (`recording_writer.SETTLE`).
    WINDOW = 250 * MS
    #: As the pieces are long: a lead is the same within it.
    STEADY = 50 * MS

    def __init__(self) -> None:
        self._since: int | None = None
        self._lead = 0

    def waited(self, given_at: int, lead: int) -> int:
        """How long what came first had waited, once that is known; else 0."""
        if lead <= LIVE:
            self._since = None
        elif self._since is None or not -self.STEADY <= lead - self._lead <= self.STEADY:
            self._since, self._lead = given_at, lead
        elif given_at - self._since >= self.WINDOW:
            self._since = None
            return lead
        return 0


class Pace:
    """Distinguishes a clock that runs fast from audio that is given ahead of time."""

    WINDOW = 5 * NS
    #: More than a clock can gain in a window (4,000 ppm): the sender got ahead on purpose.
    STEP = 20 * MS

    def __init__(self) -> None:
        self._since: int | None = None
        self._least = 0  # lead in this window: the others are jitter
        self._before: int | None = None  # the same, of the window before
        self._usual = 0

    def excess(self, given_at: int, lead: int) -> int:
        """By how much the stream is ahead because of its clock, once that is worth a correction."""
        if self._since is None:
            self._since, self._least = given_at, lead
        self._least = min(self._least, lead)
        if given_at - self._since < self.WINDOW:
            return 0
        least, before = self._least, self._before
        self._since, self._least, self._before = given_at, lead, least
        if before is None:
            self._usual = least
        elif least - before > self.STEP:
            self._usual += least - before
        excess = least - self._usual
        if excess <= TOLERANCE:
            return 0
        self._since = None  # part of a piece may be all that can be left out: look again
        return excess
