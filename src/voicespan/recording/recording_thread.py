"""Writes all recordings of the process, in one thread (`voicespan-audio`).

It wakes up every 250 ms and works on each recording. Batches of that size cost a third of what single pieces of 20
ms do, and the encoder releases the GIL while it works.

With hundreds of recordings each is worked on less often, but at least once a second. Most of the cost of a turn is
to get the GIL back after the encoder, among the application's threads: with four turns a second, 500 recordings
were written five seconds late.

The thread exists only while there are recordings. A forked child has none: the parent continues the recordings, and
the child never touches their files.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING

from voicespan.recording.timeline.segment import NS
from voicespan.runtime.background import Loop
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.descriptors import make_room
from voicespan.runtime.fork import register
from voicespan.runtime.guard import guard
from voicespan.runtime.pacing import paced

if TYPE_CHECKING:
    from voicespan.recording.recording_writer import RecordingWriter
    from voicespan.runtime.clock import Clock

#: Seconds between two passes.
PERIOD = 0.25
#: So many recordings have a turn in each pass. Of more, some wait for the next one, or the third after it.
_TURNS = 125
_MOST_PASSES = 4
#: A thread is woken some milliseconds late now and then; so late, in seconds, it has more to do than it can.
_BEHIND = 0.05
#: After so many seconds without a recording the thread ends.
_IDLE_SECONDS = 1.0
#: The turns of a pass are spread over so many seconds of it.
_SPREAD = 0.2
#: A writer that is late rests as long as it works while each recording has its turn after so many seconds at most. It
#: rests less where that takes longer, and not at all where it takes as long as the second of these: what waits grows.
_RESTS, _RESTS_NO_MORE = 4.0, 12.0


class RecordingThread:
    """Gives recordings their turns.

    Args:
        clock: Tells what has settled.
        threaded: Whether a thread does it; otherwise `run_once` is called by hand.
    """

    def __init__(self, clock: Clock = SYSTEM, *, threaded: bool = True) -> None:
        self._clock = clock
        self._threaded = threaded
        self._writers: dict[RecordingWriter, None] = {}  # in the order in which they came
        self._lock = threading.Lock()
        self._loop = Loop("voicespan-audio", self._step, idle_seconds=_IDLE_SECONDS)
        self._due = 0.0  # when the next pass begins, in seconds of the clock
        self._last_pass = 0
        self._took = 0
        self._round = 0.0  # seconds in which the recordings of late had one turn each
        register(self)

    @property
    def behind(self) -> float:
        """By how many seconds the newest pass is overdue, or the last one's turns took more than half of its time.

        The machine has more to do than it can, or nearly.
        """
        if not self._writers or not self._last_pass:
            return 0.0
        since = self._clock.monotonic_ns() - self._last_pass
        return max(0.0, since / NS - PERIOD, self._took / NS - PERIOD / 2)

    @property
    def is_behind(self) -> bool:
        """Whether it is late by more than a thread is now and then."""
        return self.behind > _BEHIND

    @property
    def _share_of_rest(self) -> float:
        # An event loop is late by what we do meanwhile, and a kill loses what waits: of two evils some of both.
        return min(max((_RESTS_NO_MORE - self._round) / (_RESTS_NO_MORE - _RESTS), 0.0), 1.0)

    def add(self, writer: RecordingWriter) -> None:
        """Give `writer` turns from now on, until it is over."""
        with self._lock:
            if not self._writers:
                self._last_pass = self._clock.monotonic_ns()
                self._due = self._last_pass / NS + PERIOD
            self._writers[writer] = None
        if self._threaded:
            self._loop.wake()

    def run_once(self) -> None:
        """One pass: every recording gets a turn, or of very many those that have waited for longest."""
        make_room()
        with self._lock:
            count = max(_TURNS, -(-len(self._writers) // _MOST_PASSES))
            writers = list(islice(self._writers, count))
            if count < len(self._writers):
                for writer in writers:  # to the end of the line
                    del self._writers[writer]
                    self._writers[writer] = None
        self._last_pass = self._clock.monotonic_ns()
        took: list[int] = []

        def run(writer: RecordingWriter) -> None:
            # Its own reading: the recordings before it may have taken a while.
            began = self._clock.monotonic_ns()
            self._run(writer, began)
            took.append(self._clock.monotonic_ns() - began)

        if self._threaded:
            share = self._share_of_rest
            paced(writers, run, _SPREAD, self._clock, rests=share, waits=share)
        else:
            for writer in writers:
                run(writer)
        self._took = sum(took)
        passes = -(-len(self._writers) // max(len(writers), 1))
        self._round = passes * (self._clock.monotonic_ns() - self._last_pass) / NS

    def _run(self, writer: RecordingWriter, now: int) -> None:
        ran = False
        with guard():
            writer.run(now)
            ran = True
        if not ran:
            writer.fail("voicespan could not lay out what was given")
        if writer.over:
            self.discard(writer)

    def discard(self, writer: RecordingWriter) -> None:
        """Give `writer` no more turns."""
        with self._lock:
            self._writers.pop(writer, None)

    def reset_after_fork(self) -> None:
        """Be a new writer, in a forked child."""
        self._lock = threading.Lock()
        writers, self._writers = list(self._writers), {}
        for writer in writers:
            with guard():
                writer.disown()

    def _step(self) -> float | None:
        """A pass, if one is due; seconds until the next one, None while there is nothing to record."""
        now = self._clock.monotonic_ns() / NS
        if self._writers and now >= self._due:
            self._due = max(self._due + PERIOD, now)
            self.run_once()
        return max(self._due - self._clock.monotonic_ns() / NS, 0.0) if self._writers else None


#: The process's own. Its thread begins with the first recording.
SHARED = RecordingThread()
