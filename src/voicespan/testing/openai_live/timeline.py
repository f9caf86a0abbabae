"""A session's time line, which advances with the audio that comes in: without any it stands still.

Every 100 ms of it a piece of the model's one continuous track goes out, silence included.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from voicespan.testing._dialogue import pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.testing._speech import Format

_STEP_MS = 100


class Speech:
    """What the model says from some time on; words and audio stop together."""

    def __init__(self, text: str, yields: bool) -> None:
        self.text = text
        self.yields = yields
        self.stopped = False


class Timeline:
    """Of one session.

    Args:
        encoding: The session's audio format.
        play: Sends a piece of the model's track, given its start and its end.
        word: Sends a piece of what the model says, given its start and its end.
    """

    def __init__(
        self,
        encoding: Format,
        play: Callable[[bytes, int, int], None],
        word: Callable[[str, int, int], None],
    ) -> None:
        self.ms = 0
        self._encoding = encoding
        self._play = play
        self._word = word
        self._bytes = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._track = bytearray()
        self._speech: Speech | None = None

    @property
    def speaking(self) -> Speech | None:
        """What the model is saying."""
        return self._speech if self._track else None

    def at(self, ms: int, action: Callable[[], None]) -> None:
        """Do something when the time line is there; at the next step where it has passed."""
        heapq.heappush(self._due, (ms, next(self._numbers), action))

    def say(self, text: str, audio: bytes, *, yields: bool) -> None:
        """Say something after what is being said already."""
        per_ms = self._encoding.bytes_per_ms
        start = self.ms + len(self._track) // per_ms
        self._track += audio
        self._speech = speech = Speech(text, yields)
        words = pieces(text)
        length = len(audio) // per_ms // max(len(words), 1)
        for number, word in enumerate(words):
            begins = start + number * length
            self.at(begins, _unless_stopped(speech, self._word, word, begins, begins + length))

    def stop(self) -> None:
        """Fall silent in the middle of a word."""
        if self._speech is not None:
            self._speech.stopped = True
        self._track.clear()

    def advance(self, size: int) -> None:
        """So many bytes of audio have come in."""
        self._bytes += size
        step = _STEP_MS * self._encoding.bytes_per_ms
        while self._bytes >= step:
            self._bytes -= step
            self._step(step)

    def _step(self, size: int) -> None:
        start, self.ms = self.ms, self.ms + _STEP_MS
        while self._due and self._due[0][0] < self.ms:
            heapq.heappop(self._due)[2]()
        piece = bytes(self._track[:size])
        del self._track[:size]
        self._play(piece + self._encoding.silence * (size - len(piece)), start, self.ms)


def _unless_stopped(
    speech: Speech, word: Callable[[str, int, int], None], text: str, start: int, end: int
) -> Callable[[], None]:
    def send() -> None:
        if not speech.stopped:
            word(text, start, end)

    return send
