"""What of a recording needs numpy, soxr and libsndfile: loaded when there is audio, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.recording.codec.samples import decode
from voicespan.recording.codec.stereo_file import StereoFile
from voicespan.recording.timeline.activity import ActivityDetector
from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.speech import SpeechDetector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicespan.recording.codec.stereo_file import Decoded
    from voicespan.recording.timeline.agent_track import AgentTrack
    from voicespan.recording.timeline.track import Piece

__all__ = ["Listener", "StereoFile"]


class Listener:
    """Knows when each side could be heard.

    Attributes:
        user: When the user spoke.
        agent: When the agent was audible.
    """

    __slots__ = ("agent", "user")

    def __init__(self) -> None:
        self.user = SpeechDetector()
        self.agent = ActivityDetector()

    def copy(self) -> Listener:
        """Another one that can be added to."""
        other = Listener()
        other.user, other.agent = self.user.copy(), self.agent.copy()
        return other

    def listen_to_user(self, pieces: list[Piece]) -> Decoded:
        """Note when the user speaks; the samples of each piece."""
        decoded = [(piece, decode(piece.pcm, piece.encoding)) for piece in pieces]
        for piece, samples in decoded:
            self.user.listen(piece.start, piece.rate, samples)
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
        for begin in (*answers, end):
            count = -((start - begin) * rate // NS)
            self.agent.listen(start, rate, samples[:count], apart=start in answers)
            samples, start = samples[count:], begin
