"""The response gap: from the user's last voiced sound to the agent's first audible one, and what it is made of.

What always holds:

1. The parts sum to the gap.
2. What is not known is left out: without the end of the user's speech, or its end by a commit, there is no gap.
   Where nobody knows when the answer was heard it lasts until its first audio was received, and its basis says so.
3. The end of the user's speech is the recording's. Where there is none it is the service's: when its turn detection saw
   the speech end, less the silence that it waits for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from voicespan.tracing.spans.asked import LONGEST_BESIDE

if TYPE_CHECKING:
    from voicespan.tracing.spans.asked import Asked
    from voicespan.tracing.spans.generation import Generation
    from voicespan.tracing.spans.playback import Playback

#: Nanoseconds. A service that needs longer than this to see that the user is silent has seen something else.
LONGEST_ENDPOINTING = 10_000_000_000
#: What was recorded and ended so long before the service heard the user begin is not what it heard.
_LATEST_START = 1_000_000_000
#: So far a service's time of a word may be from what is heard of it.
_SAME = 2_000_000_000
#: What ends the user's turn by a word of the application's, and not by silence.
_COMMIT = "input_audio_buffer.commit"
#: Say themselves when the user was silent.
_SPEECH_ENDS = frozenset({"activity_end", "voice_activity"})


class _Beginning(NamedTuple):
    at: int
    #: `speech_end` or `commit`.
    what: str
    #: Who knows of it is the service alone.
    by_service: bool = False


def response_gap(generation: Generation, playback: Playback) -> dict[str, float | str]:
    """The figures of an answer; `playback` knows of the recording."""
    asked, first_audio_at = generation.asked, generation.first_audio_at
    if asked is None or first_audio_at is None or first_audio_at < asked.at:
        return {}
    began = _in_recording(asked, generation.started_at, playback) or _by_service(asked)
    if began is None:
        return {}
    heard_at = generation.estimated_at if generation.heard_at is None else generation.heard_at
    if heard_at is None and generation.behind is not None and not generation.behind.cut:
        # It was queued behind another answer: it was not heard when it was received.
        return {}
    parts = _parts(asked, began, first_audio_at, min(generation.tool_ns, first_audio_at - asked.at))
    if heard_at is not None:
        parts["playout_ms"] = heard_at - first_audio_at
    known_to_service = heard_at is None or began.by_service
    return {
        "response_gap_ms": _ms(sum(parts.values())),
        **{name: _ms(part) for name, part in parts.items()},
        "response_gap_basis": "server" if known_to_service else playback.basis,
        "response_gap_from": began.what,
    }


@dataclass(slots=True)
class SynthesizedGap:
    """That of an answer that the model wrote, and another one spoke."""

    generation: Generation
    #: From the call of the one that speaks to its first audio, in nanoseconds.
    synthesis_ns: int

    def figures(self, playback: Playback) -> dict[str, float | str]:
        """Of the span that ended it."""
        generation = self.generation
        generation.heard_at = playback.first(generation.first_audio_at)
        figures = response_gap(generation, playback)
        waited = figures.get("model_ms")
        if isinstance(waited, float):
            synthesis = min(_ms(self.synthesis_ns), waited)
            figures.update(model_ms=round(waited - synthesis, 3), tts_ms=synthesis)
        return figures


def gap_of_run(answers: tuple[int, int] | None, playback: Playback) -> dict[str, float | str]:
    """The figures of words that answer, where the service has no responses; `answers`: see `TranscriptCompleted`."""
    if answers is None or answers[1] - answers[0] > LONGEST_ENDPOINTING:
        return {}
    ended_at, heard_at = answers
    known_to_service = True
    # The service's times are those of its time line, and only about those of this clock.
    first = playback.first(ended_at)
    first = playback.estimated_first(ended_at) if first is None else first
    ended = None if first is None else playback.user_speech_ended_before(first)
    # Where the two do not speak of the same words, the recording has others.
    if first is not None and ended is not None and max(abs(ended - ended_at), abs(first - heard_at)) <= _SAME:
        ended_at, heard_at, known_to_service = ended, first, False
    return {
        "response_gap_ms": _ms(heard_at - ended_at),
        # Nobody says what the service does meanwhile.
        "unnamed_ms": _ms(heard_at - ended_at),
        "response_gap_basis": "server" if known_to_service else playback.basis,
        "response_gap_from": "speech_end",
    }


def _parts(asked: Asked, began: _Beginning, first_audio_at: int, tool_ns: int) -> dict[str, int]:
    """What there is between the end of the user's speech and the first audio received."""
    parts: dict[str, int] = {}
    if asked.unmarked:
        # Nobody says when the service saw the end.
        parts["unnamed_ms"] = first_audio_at - began.at - tool_ns
    else:
        if began.what != "commit":
            parts["endpointing_ms"] = asked.at - began.at
        parts["model_ms"] = first_audio_at - asked.at - tool_ns
    if tool_ns:
        parts["tool_ms"] = tool_ns
    return parts


def _in_recording(asked: Asked, answered_at: int, playback: Playback) -> _Beginning | None:
    """The end of the user's speech that the recording has."""
    ended_at = playback.user_speech_ended_before(asked.at)
    if ended_at is None or not 0 <= asked.at - ended_at <= LONGEST_ENDPOINTING:
        return None
    if asked.began_at is not None and ended_at < asked.began_at - _LATEST_START:
        return None
    if asked.unmarked and not _is_answered(asked, ended_at, answered_at, playback):
        return None
    return _Beginning(ended_at, "speech_end")


def _is_answered(asked: Asked, ended_at: int, answered_at: int, playback: Playback) -> bool:
    """Whether what the recording has is what is answered, where the service says nothing of it."""
    if ended_at <= asked.after:
        return False
    if ended_at < asked.previous_until and asked.at - ended_at > LONGEST_BESIDE:
        return False
    again_at = playback.user_speech_began_after(asked.at)
    return again_at is None or again_at >= answered_at


def _by_service(asked: Asked) -> _Beginning | None:
    """The end of the user's speech that the service, or the application, knows of."""
    if asked.silent_at is not None:
        return _Beginning(asked.silent_at, "speech_end", by_service=True)
    if asked.event_type in _SPEECH_ENDS:
        return _Beginning(asked.at, "speech_end", by_service=asked.event_type == "voice_activity")
    return _Beginning(asked.at, "commit") if asked.event_type == _COMMIT else None


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
