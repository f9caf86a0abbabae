"""What is known of one session: the state that the readers of both sides' messages share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from voicespan.gemini_live.function_calls import FunctionCalls
from voicespan.gemini_live.microphone import Microphone
from voicespan.gemini_live.turn_tracker import TurnTracker
from voicespan.protocol.events import Event, Level


@dataclass(slots=True)
class Session:
    """The state of one connection."""

    #: Up to which level messages under their own name are wanted.
    level: Level
    turns: TurnTracker = field(default_factory=TurnTracker)
    calls: FunctionCalls = field(default_factory=FunctionCalls)
    microphone: Microphone = field(default_factory=Microphone)
    #: SHA-256 of the newest resumption handle, as long as it is valid.
    fingerprint: str | None = None
    #: The server said that it is about to close the connection.
    going_away: bool = False
    #: Resumption updates that have a span already.
    resumption_updates: dict[tuple[str | None, bool], None] = field(default_factory=dict)


#: Reads one field of a message: the session, the field's value, the time, and all fields of the message.
Reader: TypeAlias = Callable[[Session, Any, int, dict[str, Any]], Iterable[Event]]
