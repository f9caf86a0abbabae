"""The caller's telephone: a microphone and a loudspeaker that move in steps of 20 ms, as a sound card does.

No sound is made. What the agent says is played to nobody, at the speed of speech, so that the agent can be
cut off in the middle of a word and everybody knows which one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from voicespan.cli.demo.story import RATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from voicespan.cli.demo.call_clock import CallClock
    from voicespan.cli.demo.story import Cue
    from voicespan.recording import Recorder

_BLOCK_SECONDS = 0.02
_SAMPLE_BYTES = 2
_BLOCK_BYTES = round(RATE * _BLOCK_SECONDS) * _SAMPLE_BYTES
_MOST_BEHIND = 0.1

#: Seconds of the call after which the caller speaks, or hangs up, whatever the agent does.
_PATIENCE = 8.0
#: And after which the caller hangs up in any case.
_LONGEST_CALL = 60.0
#: Seconds between the agent's last word and the end of the call.
_HANG_UP_AFTER = 1.0


class Loudspeaker:
    """Plays what has come, in the order in which it came."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._answer: str | None = None
        self._played = 0

    @property
    def sounding(self) -> bool:
        """Whether there is anything to play."""
        return bool(self._waiting)

    @property
    def heard(self) -> float:
        """Seconds that were played of the newest answer."""
        return self._played / RATE

    def play(self, answer: str, pcm: bytes) -> None:
        """Queue audio of an answer, known by any id."""
        self._waiting.append((answer, pcm))

    def block(self) -> bytes:
        """The next 20 ms; nothing when there is nothing to play, and less at the end of an answer."""
        sound = b""
        while self._waiting and len(sound) < _BLOCK_BYTES:
            answer, pcm = self._waiting.popleft()
            if answer != self._answer:
                self._answer, self._played = answer, 0
            taken, rest = pcm[: _BLOCK_BYTES - len(sound)], pcm[_BLOCK_BYTES - len(sound) :]
            sound += taken
            self._played += len(taken) // _SAMPLE_BYTES
            if rest:
                self._waiting.appendleft((answer, rest))
        return sound

    def cut(self) -> tuple[str, int] | None:
        """Fall silent. The answer that was playing and how many milliseconds of it were heard, if one was."""
        if not self._waiting or self._answer is None:
            self._waiting.clear()
            return None
        self._waiting.clear()
        return self._answer, round(self.heard * 1000)


class Caller:
    """Speaks each line on its cue."""

    def __init__(self, cues: Iterable[Cue]) -> None:
        self._cues = deque(cues)
        self._saying = b""
        #: Whether the agent has answered the last line; nobody is waited for at first.
        self._answered = True
        self._silent = 0.0
        self._passed = 0.0

    @property
    def done(self) -> bool:
        """Whether it is time to hang up."""
        if self._passed >= _LONGEST_CALL:
            return True
        if self._cues or self._saying:
            return False
        return self._silent >= (_HANG_UP_AFTER if self._answered else _PATIENCE)

    def block(self, loudspeaker: Loudspeaker) -> bytes:
        """The next 20 ms of the microphone: words or silence, always the same size."""
        self._passed += _BLOCK_SECONDS
        self._listen(loudspeaker)
        if not self._saying and self._cues and self._is_due(self._cues[0], loudspeaker):
            self._saying = self._cues.popleft().line.pcm()
        block, self._saying = self._saying[:_BLOCK_BYTES], self._saying[_BLOCK_BYTES:]
        if block:
            self._silent, self._answered = 0.0, False
        return block.ljust(_BLOCK_BYTES, b"\0")

    def _listen(self, loudspeaker: Loudspeaker) -> None:
        if loudspeaker.sounding:
            self._silent, self._answered = 0.0, True
        else:
            self._silent += _BLOCK_SECONDS

    def _is_due(self, cue: Cue, loudspeaker: Loudspeaker) -> bool:
        if cue.cutting_in_at is not None and loudspeaker.sounding and loudspeaker.heard >= cue.cutting_in_at:
            return True
        return self._silent >= (cue.after_silence if self._answered else _PATIENCE)


class Telephone:
    """Connects the caller with whoever answers."""

    def __init__(self, cues: Iterable[Cue], clock: CallClock) -> None:
        self.loudspeaker = Loudspeaker()
        self._caller = Caller(cues)
        self._clock = clock

    async def talk(self, send: Callable[[bytes], Awaitable[None]], recorder: Recorder) -> None:
        """Until the caller hangs up: hand each 20 ms of the microphone to `send`, and play what has come.

        Both sides go to the recorder as they are heard: PCM16, mono, at `story.RATE` Hz.
        """
        due = self._clock.seconds()
        while not self._caller.done:
            words = self._caller.block(self.loudspeaker)
            recorder.user(words, RATE)
            sound = self.loudspeaker.block()
            if sound:
                recorder.agent(sound, RATE)
            await send(words)
            # A machine that was held up makes up for a little of it, and for no more: nobody hears faster.
            now = self._clock.seconds()
            due = max(due + _BLOCK_SECONDS, now - _MOST_BEHIND)
            await self._clock.sleep(due - now)
