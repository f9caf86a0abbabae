"""A server whose connections play scripts or hold conversations: what both providers' servers do alike."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from websockets.exceptions import ConnectionClosed

from voicespan.testing._connection import Connection, Refuse
from voicespan.testing._websocket import LoopbackServer, Wire
from voicespan.testing.script import Script, Step

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable


class Conversing(Protocol):
    """The server's side of one conversation."""

    def receive(self, frame: str | bytes) -> None:
        """Take in one frame of the client; may raise `Refused`."""

    def close(self) -> None:
        """The connection is gone."""


DialogueT = TypeVar("DialogueT")
ConversationT = TypeVar("ConversationT", bound=Conversing)


class Refused(Exception):  # noqa: N818  a name, not an Error: it is how the conversation ends
    """Why the server closes the connection: a close code and its reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Dropped(Exception):  # noqa: N818  as `Refused`
    """The connection ends without a close frame, so many seconds after what was sent before."""

    def __init__(self, after: float = 0.0) -> None:
        super().__init__("dropped")
        self.after = after


class ScriptedServer(LoopbackServer, Generic[DialogueT, ConversationT]):
    """Plays a part on each connection: a script, a dialogue, or a refusal.

    Args:
        parts: What successive connections get; the last one is for all further connections too.
        default: What they get where there are none.
        timeout: Seconds after which what a test or a script waits for counts as missing.
        tls: For `wss://`, a context with the server's certificate.
    """

    #: Between an id's prefix and its number.
    id_separator = "_"

    def __init__(
        self,
        parts: tuple[Script | DialogueT | Refuse | Iterable[Step], ...],
        default: DialogueT,
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(timeout=timeout, tls=tls)
        kinds = (Script, Refuse, type(default))
        self._parts: list[Any] = [part if isinstance(part, kinds) else Script(part) for part in parts]  # type: ignore[arg-type]
        self._parts = self._parts or [default]
        self._counts: Counter[str] = Counter()
        self._conversations: dict[Connection, ConversationT] = {}

    @abstractmethod
    def _begin(self, dialogue: DialogueT, wire: Wire, send: Callable[[str | Dropped], None]) -> ConversationT:
        """Begin the conversation of one connection, which says what it has to say by `send`."""

    def admit(self, number: int) -> Refuse | None:
        """Refuse the connections for which the test says so."""
        part = self._part(number)
        return part if isinstance(part, Refuse) else None

    async def converse(self, wire: Wire) -> None:
        """Play the connection's script, or hold its conversation."""
        part = self._part(wire.connection.number)
        if isinstance(part, Script):
            await part.play(self, wire)
        elif not isinstance(part, Refuse):
            await self._hold_conversation(part, wire)

    async def _hold_conversation(self, dialogue: DialogueT, wire: Wire) -> None:
        # Frames are queued, not sent from within: a client that sends a long time before it reads
        # must be listened to all the while.
        outbox: asyncio.Queue[str | Refused | Dropped] = asyncio.Queue()
        conversation = self._conversations[wire.connection] = self._begin(dialogue, wire, outbox.put_nowait)
        sending = asyncio.ensure_future(_send_all(wire, outbox))

        def receive(frame: str | bytes) -> None:
            try:
                conversation.receive(frame)
            except Refused as refused:
                outbox.put_nowait(refused)

        try:
            await wire.listen(receive)
        finally:
            del self._conversations[wire.connection]
            conversation.close()
            sending.cancel()
            await asyncio.wait({sending})

    def _part(self, number: int) -> Script | DialogueT | Refuse:
        part: Script | DialogueT | Refuse = self._parts[min(number, len(self._parts) - 1)]
        return part

    def _next_id(self, prefix: str) -> str:
        self._counts[prefix] += 1
        return f"{prefix}{self.id_separator}{self._counts[prefix]:04d}"


async def _send_all(wire: Wire, outbox: asyncio.Queue[str | Refused | Dropped]) -> None:
    try:
        while True:
            message = await outbox.get()
            if isinstance(message, Refused):
                await wire.close(message.code, message.reason)
                return
            if isinstance(message, Dropped):
                await asyncio.sleep(message.after)
                wire.drop()
                return
            await wire.send(message)
    except ConnectionClosed:
        return
