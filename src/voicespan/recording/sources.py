"""Who gives a recorder its audio in the application's place: a sound device, or the wire.

What a recorder and its sources know of each other, so that neither imports the other.
"""

from __future__ import annotations

from typing import Protocol

#: The attribute of a device's stream under which its taps are kept. `Recorder.bind` looks there.
TAPS_ATTRIBUTE = "_voicespan_taps"


class AudioSource(Protocol):
    """Gives a recorder the audio of one side.

    Attributes:
        source: What the root says of the recording: `devices` or `wire`.
    """

    source: str

    def may_hand_over_to(self, other: AudioSource, now: int) -> bool:
        """Whether `other` may give the side from `now` on, in nanoseconds of the monotonic clock."""
