"""Gemini Live on a socket of one's own: the same protocol, from the JSON that crosses the wire.

Most frames carry audio and nothing else. What stands round its base64 is the same in each of them, so it is parsed
once; of the others it is compared. Parsing 10 kB of base64 costs ten times as much as all the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, values
from voicespan.gemini_live.protocol import Protocol

if TYPE_CHECKING:
    from voicespan.protocol.events import Level

#: What stands round the audio is no longer than this.
_LONGEST_SHELL = 512
_KEY = b'"data"'


class Shell:
    """What stands round the audio in frames that carry nothing else."""

    def __init__(self) -> None:
        self._head = self._tail = b"?"
        #: The message without its audio.
        self.message: dict[str, Any] = {}

    def payload(self, frame: bytes) -> int | None:
        """Characters of base64 in a frame with this shell, or with another one that takes its place."""
        head, tail = self._head, self._tail
        size = len(frame) - len(head) - len(tail)
        if size >= 0 and frame.startswith(head) and frame.endswith(tail):
            # Between two quotation marks: nothing else is in there.
            return size if frame.find(b'"', len(head)) == len(head) + size else None
        return self._learn(frame)

    def _learn(self, frame: bytes) -> int | None:
        key = frame.find(_KEY, 0, _LONGEST_SHELL)
        start = frame.find(b'"', key + len(_KEY)) + 1
        end = frame.find(b'"', start)
        if key < 0 or start == 0 or end < 0 or start + len(frame) - end > _LONGEST_SHELL:
            return None
        message = frames.parsed(frame[:start] + frame[end:])
        if message is None:
            return None
        self._head, self._tail, self.message = frame[:start], frame[end:], message
        return end - start


class JsonProtocol(Protocol):
    """One connection whose frames are bytes."""

    def __init__(self, level: Level) -> None:
        """See `Protocol`."""
        super().__init__(level)
        self._server, self._client = Shell(), Shell()
        self._sent_size = 0

    def skip_server_frame(self, frame: Any) -> bool:
        """Count a frame that carries only more audio of the turn that is in progress."""
        turn = self._turns.turn
        if turn is None or turn.audio == 0 or not isinstance(frame, bytes):
            return False
        size = self._server.payload(frame)
        if size is None or _only_audio(self._server.message) != turn.mime_type:
            return False
        turn.audio += _decoded_size(frame, size)
        return True

    def skip_client_frame(self, frame: Any, at: int) -> bool:
        """Whether a client's frame is microphone audio, which is counted."""
        characters = self._client.payload(frame) if isinstance(frame, bytes) else None
        if characters is None:
            return False
        self._sent_size = _decoded_size(frame, characters)
        message = self._client.message
        return len(message) == 1 and super().skip_client_frame(message, at)

    def _microphone_size(self, _blob: Any) -> int:
        # What is left of the message has no audio.
        return self._sent_size


def _decoded_size(frame: bytes, characters: int) -> int:
    """Bytes in the base64 of a frame, which has at most two signs of padding; the type has one, where it says the rate."""
    return characters * 3 // 4 - frame.count(b'="', -_LONGEST_SHELL) - frame.count(b'=="', -_LONGEST_SHELL)


def _only_audio(message: dict[str, Any]) -> str | None:
    """The type of the audio, if there is nothing else in the server's message."""
    content = _only(message, "serverContent")
    parts = _only(_only(content, "modelTurn"), "parts")
    if not isinstance(parts, list) or len(parts) != 1:
        return None
    blob = _only(parts[0], "inlineData")
    return values.mime_type(blob) if isinstance(blob, dict) and len(blob) == 2 else None  # noqa: PLR2004  its type and its data


def _only(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) and len(value) == 1 else None
