"""An agent's audio until it is known how much of it was played."""

from __future__ import annotations

from collections import deque

#: Bytes, nearly three minutes: a model is so far ahead of what is heard only where nobody listens.
_MOST = 8_000_000


class ReceivedAudio:
    """Of one session, in the order in which it came."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[str, bytes]] = deque()
        self._size = 0
        #: How much of the first piece was played.
        self._played = 0
        #: Something was not kept.
        self.is_short = False

    def put(self, item_id: str, pcm: bytes) -> None:
        """The model has sent this, of a message."""
        if self._size + len(pcm) > _MOST:
            # Were it the oldest that went, the rest would be taken for it.
            self.is_short = True
            return
        self._pieces.append((item_id, pcm))
        self._size += len(pcm)

    def take(self, item_id: str, size: int) -> bytes:
        """The next so many bytes of a message, or as much as there is. What came before that message was played."""
        if not self.is_short and not any(name == item_id for name, _ in self._pieces):
            return b""
        while self._pieces and self._pieces[0][0] != item_id:
            self._drop_first()
        taken: list[bytes] = []
        while size > 0 and self._pieces and self._pieces[0][0] == item_id:
            pcm = self._pieces[0][1]
            part = pcm[self._played : self._played + size]
            taken.append(part)
            size -= len(part)
            self._played += len(part)
            if self._played == len(pcm):
                self._drop_first()
        return b"".join(taken)

    def clear(self) -> None:
        """The rest is never played."""
        self._pieces.clear()
        self._size = self._played = 0

    def _drop_first(self) -> None:
        _, pcm = self._pieces.popleft()
        self._size -= len(pcm)
        self._played = 0
