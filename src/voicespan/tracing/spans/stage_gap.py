"""The response gap of a cascade: from the user's last voiced sound to the agent's first audible one, by stages.

What always holds:

1. Each instant of the gap belongs to one part, so the parts sum to it. Where several models work at a time it is the
   later one's in the pipeline: to wait for the language model is to wait for it until its first sentence is synthesized.
2. While none works: before the language model is called the pipeline waits for the end of the turn (`endpointing`),
   after the first audio it plays (`playout`), and everything else has no name (`unnamed`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voicespan.tracing.spans.response_gap import LONGEST_ENDPOINTING

if TYPE_CHECKING:
    from voicespan.tracing.spans.playback import Playback

#: So many calls of one gap are looked at.
_MOST_CALLS = 64
#: Which of several that work at a time has the instant, the last first.
_LATER_FIRST = ("tts", "tool", "llm", "stt")


@dataclass(slots=True)
class _Work:
    stage: str
    key: str
    began_at: int
    ended_at: int | None = None


class StageGap:
    """What worked since the user was silent. Not thread-safe: the lock of the event queue is held."""

    def __init__(self) -> None:
        self._work: list[_Work] = []
        #: When the words of the user were there; None: nothing was asked, or it is answered.
        self._asked_at: int | None = None
        #: When a voice activity detector says that the user was silent.
        self._silent_at: int | None = None
        #: When the transcription of what was asked began.
        self._transcribed_from: int | None = None

    def began(self, stage: str, key: str, at: int) -> None:
        """A model is called, or a function."""
        self._work.append(_Work(stage, key, at))
        del self._work[:-_MOST_CALLS]

    def ended(self, key: str, at: int) -> None:
        """It is over; of a synthesis: its first audio is there."""
        for work in self._work:
            if work.key == key and work.ended_at is None:
                work.ended_at = at

    def user_silent(self, at: int) -> None:
        """A voice activity detector heard the end of the user's speech."""
        self._silent_at = at

    def user_speaks(self) -> None:
        """Nothing is asked until that is over."""
        self._asked_at = self._silent_at = None

    def asked(self, key: str, at: int) -> None:
        """The transcription `key` gave words: they are to be answered."""
        self._asked_at = at
        self._transcribed_from = next((work.began_at for work in self._work if work.key == key), None)

    def answered(self, at: int) -> AnsweredGap | None:
        """The first audio of an answer is there; None: nothing was asked."""
        asked_at, self._asked_at = self._asked_at, None
        silent_at, self._silent_at = self._silent_at, None
        work, self._work = self._work, [each for each in self._work if each.ended_at is None]
        if asked_at is None or at < asked_at:
            return None
        return AnsweredGap(asked_at, silent_at, self._transcribed_from, at, [replace(each) for each in work])


@dataclass(slots=True)
class AnsweredGap:
    """One that ended with audio. Who listens to the sound knows only later when it began, and when it was over."""

    asked_at: int
    silent_at: int | None
    transcribed_from: int | None
    first_audio_at: int
    work: list[_Work]

    def figures(self, playback: Playback) -> dict[str, float | str]:
        """Of the span that ended it; none where it is not known since when the user waited."""
        began_at, since = self._began(playback)
        if began_at is None or began_at > self.first_audio_at:
            return {}
        parts = _parts(self.work, began_at, self.first_audio_at)
        heard_at = playback.first(self.first_audio_at)
        if heard_at is not None and heard_at >= self.first_audio_at:
            parts["playout"] = heard_at - self.first_audio_at
        else:
            heard_at = None
        return {
            "response_gap_ms": _ms(sum(parts.values())),
            **{f"{name}_ms": _ms(part) for name, part in parts.items() if part},
            "response_gap_basis": "server" if heard_at is None else playback.basis,
            "response_gap_from": since,
        }

    def _began(self, playback: Playback) -> tuple[int | None, str]:
        """When the user was silent, and how that is known."""
        # Some transcribe before the user is through: then the last words end after the transcript.
        for at in (self.asked_at, self.first_audio_at):
            heard = playback.user_speech_ended_before(at)
            if heard is not None and self.asked_at - heard <= LONGEST_ENDPOINTING:
                return heard, "speech_end"
        if self.silent_at is not None and self.silent_at <= self.asked_at:
            return self.silent_at, "speech_end"
        # Whoever transcribes what was recorded begins when the user's turn is over.
        return self.transcribed_from, "commit"


def _parts(work: list[_Work], since: int, until: int) -> dict[str, int]:
    """How many nanoseconds of the time between belong to what."""
    edges = {since, until}
    for each in work:
        edges.update(at for at in (each.began_at, each.ended_at) if at is not None and since < at < until)
    model_at = min((each.began_at for each in work if each.stage != "stt"), default=until)
    parts: dict[str, int] = {}
    ordered = sorted(edges)
    for begin, end in itertools.pairwise(ordered):
        working = {
            each.stage
            for each in work
            if each.began_at <= begin and (each.ended_at is None or each.ended_at >= end)
        }
        stage = next((stage for stage in _LATER_FIRST if stage in working), None)
        name = stage or ("endpointing" if begin < model_at else "unnamed")
        parts[name] = parts.get(name, 0) + end - begin
    return parts


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
