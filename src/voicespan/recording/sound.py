"""What of a recording needs numpy, soxr and libsndfile: loaded when there is audio, and not before."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from voicespan.recording.codec.samples import decode
from voicespan.recording.codec.stereo_file import StereoFile
from voicespan.recording.timeline.activity import ActivityDetector
from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.speech import SpeechDetector
from voicespan.recording.timeline.talk import Talk, TalkTimes
from voicespan.recording.timeline.timeline import FOREVER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicespan.recording.codec.stereo_file import Decoded
    from voicespan.recording.timeline.agent_track import AgentTrack
    from voicespan.recording.timeline.track import Piece

__all__ = ["Listener", "StereoFile"]


#: What was said so long before the end of what was listened to is not changed any more: a pause belongs to speech for
#: 250 ms.
_SETTLED = NS // 2
#: Nanoseconds between two additions to the sums of the talk.
FOLD_EVERY = 30 * NS
#: Less audio than this is no answer.
_SHORTEST_ANSWER = NS // 5


class Listener:
    """Knows when each side could be heard.

    Attributes:
        user: When the user spoke.
        agent: When the agent was audible.
        agent_speech: When the agent spoke, by the same measure as the user.
        times: How both shared the call, but for what may still change.
        origin: When the file begins.
    """

    __slots__ = (
        "_agent_audible_at", "_answer", "_inaudible_answers", "_is_audible", "agent", "agent_speech", "origin", "times",
        "user",
    )  # fmt: skip

    def __init__(self) -> None:
        self.origin = 0
        self.user = SpeechDetector()
        self.agent = ActivityDetector()
        self.agent_speech = SpeechDetector()
        self.times = TalkTimes()
        self._agent_audible_at: int | None = None
        #: Of the newest answer: how much audio there was, and whether it could be heard. None: none was marked yet.
        self._answer: int | None = None
        self._is_audible = False
        self._inaudible_answers = 0

    def copy(self) -> Listener:
        """Another one that can be added to."""
        other = copy.copy(self)
        other.user, other.agent = self.user.copy(), self.agent.copy()
        other.agent_speech, other.times = self.agent_speech.copy(), self.times.copy()
        return other

    def settle(self, until: int) -> None:
        """Both sides have been listened to until `until`."""
        if until - self.times.until > FOLD_EVERY:
            self.times.fold(self.user.times, self.agent_speech.times, until - _SETTLED)

    def cut_agent(self, place: int) -> None:
        """Forget what would have been heard of the agent after `place`."""
        self.agent.cut(place)
        self.agent_speech.cut(place)

    def talk(self, *, final: bool) -> Talk:
        """What both said by now, together; `final`: what the agent says now is over."""
        times = self.times.copy()
        times.fold(self.user.times, self.agent_speech.times, FOREVER)
        return Talk(
            hears_user=self.user.listened > 0,
            hears_agent=self.agent_speech.listened > 0,
            user=times.user,
            agent=times.agent,
            overlap=times.overlap,
            silence=times.silence,
            spoken=times.spoken,
            longest_silence=times.longest_silence,
            dead_air=times.dead_air,
            dead_air_count=times.dead_air_count,
            agent_interrupts=times.agent_interrupts,
            talk_overs=times.talk_overs,
            yields=times.yields,
            user_spoke_at=times.user_spoke_at,
            agent_audible_at=self._agent_audible_at,
            microphone_dead=self.user.is_dead,
            inaudible_answers=self._inaudible_answers + (final and self._is_inaudible),
        )

    def listen_to_user(self, pieces: list[Piece]) -> Decoded:
        """Note when the user speaks; the samples of each piece."""
        decoded = [(piece, decode(piece.pcm, piece.encoding)) for piece in pieces]
        for piece, samples in decoded:
            self.user.listen(piece.start, piece.rate, samples, self.origin)
        return decoded

    def listen_to_agent(self, pieces: list[Piece], track: AgentTrack) -> Decoded:
        """Note when the agent is audible, each answer apart; the samples of each piece."""
        decoded = [(piece, decode(piece.pcm, piece.encoding)) for piece in pieces]
        for piece, samples in decoded:
            self._note(piece, samples, track)
        return decoded

    def _note(self, piece: Piece, samples: NDArray[np.int16], track: AgentTrack) -> None:
        start, rate = piece.start, piece.rate
        end = start + len(samples) * NS // rate
        answers = track.answers_between(start, end)
        self.agent_speech.listen(start, rate, samples, self.origin)
        for begin in (*answers, end):
            count = -((start - begin) * rate // NS)
            if start in answers:
                self._inaudible_answers += self._is_inaudible
                self._answer, self._is_audible = 0, False
            self.agent.listen(start, rate, samples[:count], apart=start in answers)
            self._is_audible = self._is_audible or self.agent.is_audible_after(start)
            if self._answer is not None:
                self._answer += count * NS // rate
            samples, start = samples[count:], begin
        if self._agent_audible_at is None:
            self._agent_audible_at = self.agent.start

    @property
    def _is_inaudible(self) -> bool:
        """Whether there was an answer of which nothing could be heard."""
        return not self._is_audible and (self._answer or 0) >= _SHORTEST_ANSWER
