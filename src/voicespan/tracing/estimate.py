"""A connection whose frames are recorded as well: VOICESPAN_RECORD_SOURCE=wire.

It is a class of its own, so that nobody else's frames pay for it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from voicespan.runtime.guard import guarded
from voicespan.tracing.connection import Connection

if TYPE_CHECKING:
    from voicespan.recording.recorder import Recorder
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import WireProtocol
    from voicespan.tracing.conversation import Conversation

_logger = logging.getLogger("voicespan")
_said: set[str] = set()


class WireRecordingConnection(Connection):
    """Feeds one socket's frames into its conversation, and their sound into its recorder."""

    def __init__(
        self, conversation: Conversation, protocol: WireProtocol, clock: Clock, recorder: Recorder
    ) -> None:
        super().__init__(conversation, protocol, clock)
        self._sound = protocol.sound(recorder)
        if not _said:
            _said.add("said")
            _logger.warning("voicespan records both sides of its conversations, as they cross the wire")

    def received(self, frame: Any) -> None:
        """See `Connection.received`."""
        super().received(frame)
        self._listen(self._sound.received, frame)

    def sent(self, frame: Any) -> None:
        """See `Connection.sent`."""
        super().sent(frame)
        self._listen(self._sound.sent, frame)

    @guarded
    def _listen(self, hear: Any, frame: Any) -> None:
        if not self.ended:
            hear(frame, self._monotonic_ns())
