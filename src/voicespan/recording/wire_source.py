"""Estimates what was heard from the frames of the socket, where neither a device nor the application gives the audio.

The user's audio is placed when it was sent. The agent's audio is placed as if it was played when it was received,
at the speed of speech, and is cut where a frame says so. No frame says how long the application buffered audio, or
when its loudspeaker fell silent, so nothing from this source counts as heard.

A frame costs the application's thread one append. The writer's thread decodes it.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from voicespan.recording.recorder import Recorder
    from voicespan.recording.sources import AudioSource
    from voicespan.recording.timeline.timeline import Timeline

#: The rate of audio, in Hz, and its encoding.
Kind: TypeAlias = "tuple[int, str]"
_MS = 1_000_000


class WireAudioSource:
    """Reports both sides of a recording, from the frames of one connection.

    What a provider's frames tell is read by its own subclass. Everything but `received` and `sent` is
    called by the writer, in the order of the frames.
    """

    source = "wire"

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        recorder.source = self.source
        recorder.sources[:] = [self, self]
        recorder.keep_one_order()
        self._answer: str | None = None

    def may_hand_over_to(self, other: AudioSource, now: int) -> bool:  # noqa: ARG002  part of what a reporter is
        """Never: there is either the wire or a device."""
        return False

    def received(self, frame: object, at: int) -> None:
        """The server sent `frame`."""
        raise NotImplementedError

    def sent(self, frame: object, at: int) -> None:
        """The application sent `frame`."""
        raise NotImplementedError

    @staticmethod
    def place_user(timeline: Timeline, paused: bool, pcm: bytes, at: int, kind: Kind) -> None:
        """The microphone's audio, as it was sent."""
        timeline.user.place(at, len(pcm) if paused else pcm, *kind)

    @staticmethod
    def place_agent(timeline: Timeline, paused: bool, pcm: bytes, at: int, kind: Kind) -> None:
        """The agent's audio, as it was received."""
        timeline.agent.place(at, len(pcm) if paused else pcm, *kind)

    def begin_answer(self, timeline: Timeline, answer: str, at: int) -> None:
        """What the agent says is of this answer; nothing changes where it was before."""
        if answer != self._answer:
            self._answer = answer
            timeline.agent.mark_answer(at)

    def truncate(self, timeline: Timeline, at: int, answer: str | None, played_ms: int) -> None:
        """The application said how much of an answer it had played."""
        if answer == self._answer:
            timeline.agent.cut(at, None, played_ms * _MS)

    @staticmethod
    def stop(timeline: Timeline, at: int) -> None:
        """Whatever was playing is not, from `at` on."""
        timeline.agent.cut(at, at, None)


def decode_base64(base64: object) -> bytes:
    """The bytes that a text stands for; none, where it stands for none."""
    try:
        return binascii.a2b_base64(base64) if isinstance(base64, (str, bytes)) else b""
    except ValueError:
        return b""
