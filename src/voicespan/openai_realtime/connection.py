"""A connection of OpenAI Realtime: knows nearly every frame at sight, the next piece of the answer's audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from voicespan.openai_realtime.frames import QUOTE
from voicespan.runtime.guard import report
from voicespan.tracing.connection import Connection
from voicespan.tracing.context import get_current

if TYPE_CHECKING:
    from voicespan.openai_realtime.protocol import Protocol
    from voicespan.protocol.interface import WireProtocol
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import FrameSink


class RealtimeConnection(Connection):
    """Nothing here raises."""

    def __init__(self, conversation: FrameSink, protocol: WireProtocol, clock: Clock) -> None:
        super().__init__(conversation, protocol, clock)
        self._scanner = cast("Protocol", protocol).scanner

    def received(self, frame: Any) -> None:
        """See `Connection.received`. Most audio frames are known without a call: two are a fifth of what it costs."""
        try:
            if get_current() is not self.context and not self.attach():
                return
            self.frames_received += 1
            speech = self._scanner.speech
            if (
                speech is not None
                and type(frame) is bytes
                and len(frame) == speech.size
                and frame[speech.ids_at] == speech.ids
                and frame[speech.type_ends] == QUOTE
            ):
                speech.alike += 1
            elif not self._scanner.is_redundant(frame):
                self.process_frame(frame)
        except Exception as error:  # noqa: BLE001  the guard written out, as in the base
            report(error)
