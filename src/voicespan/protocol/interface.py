"""What a provider's protocol is to the rest: frames in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicespan.protocol.events import Event


class WireProtocol(Protocol):
    """One connection's state. Pure: no I/O and no clock; the time in nanoseconds comes with each frame."""

    def skip_server_frame(self, frame: Any) -> bool:
        """Whether the server's `frame` needs no parsing; the audio in it has been counted then."""
        ...

    def skip_client_frame(self, frame: Any, at: int) -> bool:
        """The same for a client's frame, which was sent at the time `at`."""
        ...

    def receive(self, frame: Any, at: int) -> Sequence[Event]:
        """What happened, according to a server's frame."""
        ...

    def send(self, frame: Any, at: int) -> Sequence[Event]:
        """What happened, according to a client's frame."""
        ...

    def connection_lost(self, at: int) -> Sequence[Event]:
        """What had begun when the connection ended, and will not go on."""
        ...

    def resumable(self, *, abnormal: bool) -> bool:
        """Whether the session can be, and is likely to be, resumed on another connection."""
        ...
