"""HTTP/1.1 on a port that can go down and come up again: one thread accepts, one serves each connection.

Closing never waits for a client: connections are shut down under their threads, and what hangs on
purpose is released.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import selectors
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from voicespan.testing.langsmith.body import Body, BodyError, pieces
from voicespan.testing.langsmith.runs import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socketserver import BaseServer

    from voicespan.testing.langsmith.failures import Failure

_BACKLOG = 1024
_JOIN_SECONDS = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SECRET_HEADERS = frozenset({"x-api-key", "authorization", "cookie", "x-service-key"})
_TICKS_PER_SECOND = 20
_LARGE_PIECE = 1 << 18


@dataclass(frozen=True)
class Answer:
    """What a request gets back."""

    status: int
    content: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def refusal(cls, status: int, detail: str) -> Answer:
        """An error with the reason in the words of LangSmith's API."""
        return cls(status, json.dumps({"detail": detail}).encode())


class Service(Protocol):
    """What stands behind the port."""

    def seconds(self) -> float:
        """Seconds since the server's start, by its clock."""
        ...

    def limit(self) -> int:
        """The most bytes that a body may have."""
        ...

    def begin(self, request: Request) -> Failure | None:
        """A request's head was read; the failure that was ordered for it."""
        ...

    def answer(self, request: Request, key: str | None, body: Body) -> Answer:
        """The whole request was read: take it in."""
        ...

    def end(self, request: Request) -> None:
        """The request is at its end; its answer leaves after this returns."""
        ...

    def hang(self) -> None:
        """Wait until hanging requests are released."""
        ...

    def release(self) -> None:
        """Release them."""
        ...


class Listener:
    """Accepts connections from its creation to `close`.

    Args:
        listening: A bound socket, which the listener owns from now on.
        service: What serves the requests.
        tls: With the server's certificate; None: plain HTTP.
    """

    def __init__(self, listening: socket.socket, service: Service, tls: ssl.SSLContext | None = None) -> None:
        self.service = service
        self._tls = tls
        self.closing = threading.Event()
        self._listening = listening
        self._listening.setblocking(False)  # an accept must not wait for a client that went away again
        self._listening.listen(_BACKLOG)
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept, name="LangSmithServer", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                selector.select()
                if self.closing.is_set():
                    return
                try:
                    connection, _ = self._listening.accept()
                except OSError:
                    # The client has gone again, or there are no more file descriptors for a while.
                    self.closing.wait(1 / _TICKS_PER_SECOND)
                else:
                    self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        connection.setblocking(True)  # some systems hand the listener's mode down
        with contextlib.suppress(OSError):  # as the client may have gone again
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            try:
                # The handshake is for its thread: a client that says nothing must keep nobody waiting.
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            except OSError:  # as above
                connection.close()
                return
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="LangSmithServer connection", daemon=True
        )
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            # A client that goes away, or one that is sent away by close(), ends here. So does one that does
            # not trust the certificate.
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                _Connection(connection, ("127.0.0.1", 0), cast("BaseServer", self))
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def close(self) -> None:
        """Stop listening and cut every connection; returns when their threads are gone."""
        self.closing.set()
        self._wake.send(b"!")
        self._thread.join()
        for end in (self._listening, self._wake, self._woken):
            end.close()
        with self._lock:
            connections = dict(self._connections)
            # Under the lock: a thread that ends now closes its socket only after this.
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in connections.values():
            while thread.is_alive() and time.monotonic() < deadline:
                self.service.release()  # each time, as it may only now have come to hang
                thread.join(1 / _TICKS_PER_SECOND)


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "voicespan-testing"

    @property
    def _listener(self) -> Listener:
        return cast("Listener", self.server)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """Say nothing: who wants to know asks the server."""

    def do_POST(self) -> None:
        service = self._listener.service
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = _length(headers)
        public = {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
        request = Request(self.command, self.path, public, length, at=service.seconds())
        failure = service.begin(request)
        answer = None
        self._body_bytes = 0
        try:
            with contextlib.closing(Body()) as body:
                answer = self._outcome(request, failure, headers.get("x-api-key"), body)
        finally:
            # Also where the client went away. And before the answer leaves: a client that has its answer
            # finds its request among the server's.
            service.end(
                replace(
                    request,
                    body_bytes=self._body_bytes,
                    status=None if answer is None else answer.status,
                    seconds=service.seconds() - request.at,
                )
            )
        if answer is None:
            self._break_off(failure)
        else:
            self._send(answer)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815  the base class calls these names

    def _outcome(
        self, request: Request, failure: Failure | None, key: str | None, body: Body
    ) -> Answer | None:
        """The answer, or None where there is to be none."""
        service = self._listener.service
        if failure is not None and failure.in_body:
            self._read_half(request.length)
            return None
        refusal = self._read(request.length, failure, body)
        if failure is None or failure.only_slow:
            return refusal or service.answer(request, key, body)
        if failure.stored and refusal is None:
            service.answer(request, key, body)
        if failure.status is None:
            return None
        text = failure.text if failure.text is not None else json.dumps({"detail": "ordered by the test"})
        return Answer(failure.status, text.encode(), headers=failure.headers)

    def _read(self, length: int | None, failure: Failure | None, body: Body) -> Answer | None:
        """Read the body to its end, also where it is refused, so that the client sees the answer."""
        pace = None if failure is None else failure.bytes_per_second
        most = _LARGE_PIECE if pace is None else max(1, int(pace / _TICKS_PER_SECOND))
        limit = self._listener.service.limit()
        try:
            for piece in pieces(self.rfile, length, most):
                self._body_bytes += len(piece)
                if self._body_bytes <= limit:
                    body.write(piece)
                if pace is not None and self._listener.closing.wait(len(piece) / pace):
                    raise ConnectionAbortedError("the server closes")
        except BodyError as error:
            self.close_connection = True
            return Answer.refusal(400, str(error))
        if self._body_bytes > limit:
            return Answer.refusal(413, f"the body has more than {limit} bytes")
        return None

    def _read_half(self, length: int | None) -> None:
        """Read half of the body, or of chunks the first."""
        with contextlib.suppress(BodyError):
            for piece in pieces(self.rfile, length if length is None else length // 2):
                self._body_bytes += len(piece)
                if length is None:
                    return

    def _break_off(self, failure: Failure | None) -> None:
        self.close_connection = True
        if failure is not None and failure.hang:
            self._listener.service.hang()
        if failure is not None and failure.reset:
            with contextlib.suppress(OSError):  # as above
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if "Content-Type" not in answer.headers:
            self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.content)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.content)


def _length(headers: Mapping[str, str]) -> int | None:
    """How many bytes follow; None where they come in chunks."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return None
    written = headers.get("content-length", "0")
    return int(written) if written.isascii() and written.isdigit() else 0
