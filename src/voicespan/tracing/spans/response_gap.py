"""The response gap: from the user's last voiced sound to the agent's first audible one, and what it is made of.

What always holds:

1. The parts sum to the gap.
2. What is not known is left out: without the end of the user's speech, or its end by a commit, there is no gap.
   Where nobody knows when the answer was heard it lasts until its first audio was received, and its basis says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.tracing.spans.playback import Playback

#: Nanoseconds. A service that needs longer than this to see that the user is silent has seen something else.
LONGEST_ENDPOINTING = 10_000_000_000
#: What ends the user's turn by a word of the application's, and not by silence.
_COMMIT = "input_audio_buffer.commit"
#: Say themselves when the user was silent.
_SPEECH_ENDS = frozenset({"activity_end", "voice_activity"})
BASES = {"devices": "device", "app": "app"}


@dataclass(slots=True)
class Asked:
    """The end of the user's turn."""

    at: int
    #: The event that said so.
    event_type: str
    #: While an answer was under way: it may have asked nothing.
    beside: bool = False


def response_gap(
    asked: Asked | None, first_audio_at: int | None, heard_at: int | None, tool_ns: int, playback: Playback
) -> dict[str, float | str]:
    """The figures of an answer. All times are in monotonic nanoseconds.

    Args:
        asked: the end of the turn that it answers, if that was speech.
        first_audio_at: when its first audio was received.
        heard_at: when that was heard, where it is known.
        tool_ns: for how long in between functions were called.
        playback: knows of the recording.
    """
    if asked is None or first_audio_at is None or first_audio_at < asked.at:
        return {}
    began_at, since = _speech_end(asked, playback)
    if began_at is None:
        return {}
    tool_ns = min(tool_ns, first_audio_at - asked.at)
    parts = {
        "endpointing_ms": asked.at - began_at,
        "model_ms": first_audio_at - asked.at - tool_ns,
        "tool_ms": tool_ns,
        "playout_ms": None if heard_at is None else heard_at - first_audio_at,
    }
    known = {name: part for name, part in parts.items() if part is not None}
    if since == "commit":
        del known["endpointing_ms"]
    if not tool_ns:
        del known["tool_ms"]
    basis = "server" if heard_at is None else BASES.get(playback.source or "", "app")
    return {
        "response_gap_ms": _ms(sum(known.values())),
        **{name: _ms(part) for name, part in known.items()},
        "response_gap_basis": basis,
        "response_gap_from": since,
    }


def _speech_end(asked: Asked, playback: Playback) -> tuple[int | None, str]:
    """When the gap begins, and with what."""
    ended_at = playback.user_speech_ended_before(asked.at)
    if ended_at is not None and 0 <= asked.at - ended_at <= LONGEST_ENDPOINTING:
        return ended_at, "speech_end"
    if asked.event_type in _SPEECH_ENDS:
        return asked.at, "speech_end"
    return (asked.at, "commit") if asked.event_type == _COMMIT else (None, "")


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
