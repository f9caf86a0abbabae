"""What is kept of each client of a fake server, for the test that asks.

The record is bounded, and no credential gets into it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

#: A client's frame as it was parsed; the bare text (or bytes) where that was no JSON object.
Frame = dict[str, Any] | str | bytes

# Headers that carry a key: whether there was one is all that a test may learn.
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
_SECRET_QUERY = frozenset({"key", "api-key", "api_key", "access_token", "authorization"})
_REDACTED = "(redacted)"


@dataclass(frozen=True)
class Refuse:
    """A handshake that is answered with an HTTP error instead of a connection.

    Args:
        status: The HTTP status: 401, 403, 429, 500, …
        message: The message in the JSON body, which has the vendors' shape `{"error": {"message": …}}`.
        headers: Further response headers, for example `{"retry-after": "1"}`.
    """

    status: int
    message: str = "refused by the test"
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The answer to the handshake."""
        body = json.dumps({"error": {"message": self.message, "type": "invalid_request_error"}}).encode()
        headers = Headers(
            {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        )
        headers.update(self.headers)
        return Response(self.status, HTTPStatus(self.status).phrase, headers, body)


def parsed(frame: str | bytes) -> Frame:
    """The frame as a dictionary, or as it came where it is no JSON object."""
    try:
        value = json.loads(frame)
    except ValueError:
        return frame
    return value if isinstance(value, dict) else frame


class Server(Protocol):
    """What a record asks of its server."""

    @property
    def changed(self) -> threading.Condition:
        """Guards all records; notified when one changes."""

    most_bytes: int

    def frame_name(self, frame: Frame) -> str:
        """What a frame is called."""

    def wait_until(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `condition` holds."""


class Connection:
    """What one client did on one connection, kept for the test that asks.

    Attributes:
        number: 0 for the first connection that was tried, and so on.
        path: The path of the URL that was opened, for example `/v1/realtime`.
        query: The URL's query. Of a key it is only kept that there was one.
        headers: The handshake's headers, names in lower case. Of `authorization`, `api-key` and the
            like it is only kept that they were there.
        status: 101, or the HTTP status with which the handshake was refused.
    """

    def __init__(self, request: Request, *, number: int, status: int, server: Server) -> None:
        url = urlsplit(request.path)
        self.number = number
        self.path = url.path
        self.query = {
            name: _REDACTED if name.lower() in _SECRET_QUERY else value
            for name, value in parse_qsl(url.query, keep_blank_values=True)
        }
        self.headers = {
            name.lower(): _REDACTED if name.lower() in _SECRET_HEADERS else value
            for name, value in request.headers.raw_items()
        }
        self.status = status
        self._server = server
        self._frames: list[str | bytes] = []
        self._size = 0
        self._forgotten = 0
        self._closed: tuple[int, str] | None = None

    @property
    def received(self) -> list[Frame]:
        """The client's frames, oldest first, parsed. Complete once the connection is closed."""
        with self._server.changed:
            frames = list(self._frames)
        return [parsed(frame) for frame in frames]

    @property
    def closed(self) -> tuple[int, str] | None:
        """Close code and reason, 1006 for an end without a closing handshake; None while it is open."""
        return self._closed

    @property
    def summary(self) -> str:
        """The names of the frames that were received, for messages: `session.update, … x12`."""
        counts = Counter(self._server.frame_name(frame) for frame in self.received)
        return ", ".join(f"{name} x{n}" if n > 1 else name for name, n in counts.items()) or "nothing"

    def wait_for(self, name: str, count: int = 1, timeout: float | None = None) -> list[Frame]:
        """Wait until the client has sent `count` frames called `name`; returns all of them so far.

        Args:
            name: The frame's name: for OpenAI its `type`.
            count: How many of them, since the connection was opened.
            timeout: Seconds; the server's `timeout` when not given.

        Raises:
            AssertionError: They did not come in time.

        It blocks: from a coroutine call it with `asyncio.to_thread` where the frames are still to be sent.
        """
        found: list[Frame] = []
        position = 0

        def complete() -> bool:
            nonlocal position
            position, new = self.frames_since(position)
            found.extend(f for f in map(parsed, new) if self._server.frame_name(f) == name)
            return len(found) >= count or self._closed is not None

        self._server.wait_until(complete, timeout)
        if len(found) < count:
            raise AssertionError(
                f"the client sent {name} {len(found)} times of {count}; it sent: {self.summary}"
            )
        return found

    def wait_closed(self, timeout: float | None = None) -> tuple[int, str]:
        """Wait until the connection is closed; returns close code and reason.

        Raises:
            AssertionError: It was still open after `timeout` seconds (the server's, when not given).

        It blocks, and a client that runs in the event loop has to answer a close: from a coroutine call
        it with `asyncio.to_thread`.
        """
        self._server.wait_until(lambda: self._closed is not None, timeout)
        if self._closed is None:
            raise AssertionError(f"the connection was not closed; the client sent: {self.summary}")
        return self._closed

    def frames_since(self, position: int, most: int | None = None) -> tuple[int, list[str | bytes]]:
        """Frames from the one numbered `position` on that are still kept, and the number to go on from."""
        with self._server.changed:
            start = max(position - self._forgotten, 0)
            frames = self._frames[start:] if most is None else self._frames[start : start + most]
            return self._forgotten + start + len(frames), frames

    # The server's thread writes the record.

    def record(self, frame: str | bytes) -> None:
        """Keep a frame; when they are too many bytes, only the newer half of the frames."""
        with self._server.changed:
            self._frames.append(frame)
            self._size += len(frame)
            if self._size > self._server.most_bytes:
                half = len(self._frames) // 2
                del self._frames[:half]
                self._forgotten += half
                self._size = sum(map(len, self._frames))
            self._server.changed.notify_all()

    def record_close(self, code: int, reason: str) -> None:
        """Keep how the connection ended."""
        with self._server.changed:
            self._closed = (code, reason)
            self._server.changed.notify_all()
