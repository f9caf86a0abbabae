"""Which conversation a device belongs to: the only open one of the process.

With several open, nobody can know whose microphone it is; then it is recorded for none of them, unless the
application binds its streams (`conversation.recorder.bind(stream)`).
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    from voicespan.recording.recorder import Recorder

    class SpeakerTap(Protocol):
        """What a file's rate depends on."""

        rate: int
        plays: bool


_logger = logging.getLogger("voicespan")

#: What both providers' models speak, in Hz: so that a file that begins with a slower microphone has room.
_AGENT_RATE = 24_000

#: The recorder of the only open conversation. Audio threads read it, once a block.
sole_recorder: Recorder | None = None

#: Every tap, so that a file has room for the rate of a loudspeaker that has not played yet.
all_taps: weakref.WeakSet[SpeakerTap] = weakref.WeakSet()

_open: dict[object, Recorder] = {}
_lock = threading.Lock()
_said: set[str] = set()


def conversation_opened(conversation: object, recorder: Recorder) -> None:
    """A conversation has opened, in which devices are to be recorded."""
    if recorder.status != "off":
        _say_once(
            "voicespan records the microphone and the loudspeaker of this process while it holds a conversation"
        )
        recorder.expect_rate(max([_AGENT_RATE, *(tap.rate for tap in list(all_taps) if tap.plays)]))
    with _lock:
        _open[conversation] = recorder
        _choose()


def conversation_closed(conversation: object) -> None:
    """It is over."""
    with _lock:
        if _open.pop(conversation, None) is not None:
            _choose()


def _forget_the_parent() -> None:
    """The lock may be held by a thread that a forked child does not have; its conversations leave by themselves."""
    global _lock  # noqa: PLW0603  one per process
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget_the_parent)


def _choose() -> None:
    global sole_recorder  # noqa: PLW0603  one per process: so are the devices
    sole_recorder = next(iter(_open.values())) if len(_open) == 1 else None
    if len(_open) > 1:
        _say_once(
            "several conversations are open, so voicespan cannot know whose the microphone and the loudspeaker"
            " are: only streams bound with conversation.recorder.bind(stream) are recorded"
        )


def _say_once(words: str) -> None:
    if words not in _said:
        _said.add(words)
        _logger.warning(words)
