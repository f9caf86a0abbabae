"""A connection of OpenAI Realtime: knows nearly every frame at sight, the next piece of the answer's audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from voicespan.connection import Connection
from voicespan.contexts import get_current
from voicespan.guard import report

if TYPE_CHECKING:
    from voicespan.clock import Clock
    from voicespan.connection import WireProtocol
    from voicespan.conversation import Conversation
    from voicespan.openai_realtime.protocol import Protocol


class RealtimeConnection(Connection):
    """Nothing here raises."""

    def __init__(self, conversation: Conversation, protocol: WireProtocol, clock: Clock) -> None:
        super().__init__(conversation, protocol, clock)
        self._glance = cast("Protocol", protocol).glance

    def received(self, frame: Any) -> None:
        """See `Connection.received`. `Speech.goes_on_in` is written out: two calls are a fifth of what it costs."""
        try:
            if get_current() is not self.context and not self.enter():
                return
            self.frames_received += 1
            speech = self._glance.speech
            if (
                speech is not None
                and type(frame) is bytes
                and frame[speech.head_at] == speech.head
                and frame[speech.ids_at] == speech.ids
                and ((size := len(frame)) == speech.size or frame[speech.tail_at] == speech.tail)
            ):
                speech.characters += size - speech.around
            elif not self._glance.looked_through(frame):
                self.read(frame)
        except Exception as error:  # noqa: BLE001  the guard written out, as in the base
            report(error)
