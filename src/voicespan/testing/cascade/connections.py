"""HTTP/1.1 on a loopback port: a thread for each connection, answers whole or in chunks."""

from __future__ import annotations

import contextlib
import http.server
import json
import select
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_JOIN_SECONDS = 5.0
_POLL_SECONDS = 0.02


class Service(Protocol):
    """What stands behind the port."""

    def serve(self, exchange: Exchange) -> None:
        """Answer a request, by the exchange's own methods."""


@dataclass
class ServedRequest:
    """A request that came in.

    Attributes:
        path: `/v1/audio/transcriptions` for example.
        body: Its JSON; of a form its fields, as texts.
        audio: The file of a transcription.
        status: Of the answer; 0 where there was none.
        broken_off: The client went away before it had the whole answer.
    """

    path: str
    body: Mapping[str, Any]
    audio: bytes = b""
    status: int = 0
    broken_off: bool = False


class ClientLeftError(Exception):
    """The client closed its connection before it had the whole answer."""


class Exchange:
    """A request and its answer."""

    def __init__(self, handler: _Handler, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.served = ServedRequest(path.partition("?")[0], {})
        self.headers = headers
        self.body = body
        self._handler = handler

    def send(
        self, status: int, content: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """The whole answer."""
        self._head(status, content_type, {"Content-Length": str(len(content)), **(headers or {})})
        self._write(content)

    def send_json(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        """The whole answer, as JSON."""
        self.send(status, json.dumps(content, ensure_ascii=False).encode(), "application/json", headers)

    def stream(self, content_type: str, pieces: Iterable[bytes]) -> None:
        """An answer in pieces, each of which leaves at once.

        Raises:
            ClientLeftError: the client went away.
        """
        self._head(200, content_type, {"Transfer-Encoding": "chunked"})
        for piece in pieces:
            if piece:
                self._write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self._write(b"0\r\n\r\n")

    def wait(self, released: threading.Event) -> None:
        """Wait until `released`.

        Raises:
            ClientLeftError: the client went away meanwhile.
        """
        connection = self._handler.connection
        while not released.wait(_POLL_SECONDS):
            readable, _, _ = select.select([connection], [], [], 0)
            if readable and not connection.recv(1, socket.MSG_PEEK):
                raise ClientLeftError

    def drop(self) -> None:
        """End the connection, as a broken network does."""
        self._handler.close_connection = True
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)

    def _head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        # Before the answer leaves: a client that has it finds its request among the server's.
        self.served.status = status
        self._handler.send_response(status)
        for name, value in {"Content-Type": content_type, "x-request-id": "req_test", **headers}.items():
            self._handler.send_header(name, value)
        try:
            self._handler.end_headers()
        except OSError:
            raise ClientLeftError from None

    def _write(self, content: bytes) -> None:
        try:
            self._handler.wfile.write(content)
        except OSError:
            self._handler.close_connection = True
            raise ClientLeftError from None


class Listener(http.server.ThreadingHTTPServer):
    """Accepts connections until it is closed."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        self._lock = threading.Lock()
        self._open: dict[Any, threading.Thread] = {}
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name="CascadeServer", daemon=True
        )
        self._thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, which can be cut from outside meanwhile."""
        with self._lock:
            self._open[request] = threading.current_thread()
        try:
            # A client that goes away, or one that is sent away by close(), ends here.
            with contextlib.suppress(OSError, ClientLeftError):
                self.finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def close(self) -> None:
        """Stop listening and cut every connection; returns when their threads are gone."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            threads = list(self._open.values())
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(_JOIN_SECONDS)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "voicespan-testing"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """Say nothing: who wants to know asks the server."""

    def setup(self) -> None:
        """Answers in pieces must not wait for each other."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = Exchange(self, self.path, headers, self._body(headers))
        cast("Listener", self.server).service.serve(exchange)

    do_GET = do_POST  # noqa: N815  the base class calls these names

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(headers.get("content-length", "0")))
        body = b""
        while (size := int(self.rfile.readline().split(b";")[0], 16)) > 0:
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body
