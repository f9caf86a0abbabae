"""A local server that lists the conversations of a folder and shows each, also while it runs.

The standard library's server does it: on loopback, for one person, it has to answer a handful of requests, and nothing
is installed for it. What it hands out is somebody's phone call, so: it listens on loopback unless told otherwise, and
elsewhere only who has the token in the URL may read; a page of another site cannot, whatever name leads here (Host
and Origin are looked at).
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from voicespan.report import find, otlp, page
from voicespan.report.listing import listing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicespan.report.received import Received

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE = 1 << 18
#: Requests with traces that are in memory at a time.
_AT_A_TIME = 2


class Viewer(ThreadingHTTPServer):
    """Serves one folder until it is shut down."""

    daemon_threads = True

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tidy: Callable[[], None],
        received: Received | None = None,
    ) -> None:
        """Listen. `port` 0: any that is free. `tidy` finishes what killed processes left, now and then.

        `received` keeps what is sent as OTLP; None: nothing is taken.

        Raises:
            OSError: the port is taken.
        """
        super().__init__((host, port), _Handler)
        self.folder = folder
        #: What a request must know; empty: whoever reaches loopback may read.
        self.token = "" if host in _LOOPBACK else secrets.token_urlsafe(24)
        self.received = received
        self._tidy = tidy
        self._tidying = threading.Lock()
        self.reading = threading.BoundedSemaphore(_AT_A_TIME)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """What a person opens."""
        host = str(self.server_address[0])
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/{f'?token={self.token}' if self.token else ''}"

    @property
    def traces_url(self) -> str:
        """Where it takes traces."""
        base, _, token = self.url.partition("?")
        return f"{base.rstrip('/')}{otlp.PATH}{f'?{token}' if token else ''}"

    def tidy(self) -> None:
        """Finish what killed processes left, unless another request does."""
        if self._tidying.acquire(blocking=False):
            try:
                self._tidy()
            finally:
                self._tidying.release()


class _Handler(BaseHTTPRequestHandler):
    server: Viewer
    #: Seconds that a client may be silent in the middle of a request, or between two.
    timeout = 60.0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        if not self._is_ours():
            self._answer(HTTPStatus.FORBIDDEN, b"not from here\n", "text/plain")
        elif not self._is_known(query):
            self._answer(HTTPStatus.UNAUTHORIZED, b"the URL needs its token\n", "text/plain")
        else:
            try:
                self._show(asked.path, query)
            except (LookupError, ValueError, FileNotFoundError):
                self._answer(HTTPStatus.NOT_FOUND, b"there is no such conversation\n", "text/plain")
            except (ConnectionError, TimeoutError):
                self.close_connection = True

    def do_POST(self) -> None:
        asked = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        # What was not read of a request is no next one.
        self.close_connection = True
        if not self._is_ours():
            self._answer(HTTPStatus.FORBIDDEN, b"not from here\n", "text/plain")
        elif not self._is_known(query):
            self._answer(
                HTTPStatus.UNAUTHORIZED,
                b"the URL or the header Authorization needs the token\n",
                "text/plain",
            )
        elif asked.path != otlp.PATH or self.server.received is None:
            self._answer(
                HTTPStatus.NOT_FOUND, b"`voicespan view --otlp` takes traces at /v1/traces\n", "text/plain"
            )
        else:
            try:
                self._take(self.server.received)
            except otlp.RefusedError as refused:
                self._answer(refused.status, f"{refused}\n".encode(), "text/plain")
            except (ConnectionError, TimeoutError):
                return
            except OSError as error:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error.strerror}\n".encode(), "text/plain")

    def _take(self, received: Received) -> None:
        with self.server.reading:
            body = self._body()
            kind, encoding = (self.headers.get(name, "") for name in ("Content-Type", "Content-Encoding"))
            request, answer = otlp.decoded(kind, encoding, body)
            received.take(request)
        self.close_connection = False
        self._answer(HTTPStatus.OK, answer.content, answer.kind)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return otlp.in_chunks(self.rfile.readline, self.rfile.read)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise otlp.RefusedError(HTTPStatus.LENGTH_REQUIRED, "the request needs a Content-Length")
        if int(length) > otlp.MOST:
            raise otlp.too_large()
        return self.rfile.read(int(length))

    def _show(self, path: str, query: dict[str, str]) -> None:
        folder = self.server.folder
        if path == "/":
            self.server.tidy()
            self._answer(HTTPStatus.OK, listing(folder, query.get("q", "")), "text/html; charset=utf-8")
            return
        _, kind, name, *rest = path.split("/")
        if kind != "call":
            raise LookupError(path)
        found = find.by_name(unquote(name), folder)
        if found is None:
            raise LookupError(name)
        call = find.read(found)
        if rest == ["recording"] and call.recording is not None:
            self._send_file(call.recording, call.mime_type)
        elif rest == ["data"]:
            content = json.dumps(page.data_of(call), ensure_ascii=False).encode()
            self._answer(HTTPStatus.OK, content, "application/json")
        elif not rest:
            here = f"/call/{name}"
            audio = f"{here}/recording" if call.recording is not None and not call.running else ""
            content = page.page(page.data_of(call), audio=audio, live=f"{here}/data")
            self._answer(HTTPStatus.OK, content, "text/html; charset=utf-8")
        else:
            raise LookupError(path)

    def _is_ours(self) -> bool:
        """Whether it was asked by a page of ours or by a person: any other name may lead here as well."""
        host, port = self.server.server_address[:2]
        names = {*_LOOPBACK, str(host)}
        asked = urlsplit(f"//{self.headers.get('Host', '')}")
        if str(host) in _LOOPBACK and (asked.hostname not in names or (asked.port or 80) != port):
            return False
        origin = self.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc == self.headers.get("Host")

    def _is_known(self, query: dict[str, str]) -> bool:
        token = self.server.token
        if not token:
            return True
        given = query.get("token", "") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        cookies = self.headers.get("Cookie", "")
        return secrets.compare_digest(
            given.encode(), token.encode()
        ) or f"voicespan={token}" in cookies.split("; ")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self._head(kind, len(content), **headers)
        self.wfile.write(content)

    def _head(self, kind: str, size: int, **headers: str) -> None:
        known = {
            "Content-Type": kind,
            "Content-Length": str(size),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self.server.token:
            known["Set-Cookie"] = f"voicespan={self.server.token}; HttpOnly; SameSite=Strict"
        for name, value in known.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_file(self, path: Path, kind: str) -> None:
        """A part of it, where one is asked for: a browser seeks in this way."""
        size = path.stat().st_size
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first, last = 0, size - 1
        if asked is not None and asked[1]:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        elif asked is not None and asked[2]:
            first = max(size - int(asked[2]), 0)
        if first > last:
            self._answer(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", kind, Content_Range=f"bytes */{size}"
            )
            return
        self.send_response(HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT)
        ranged = {} if asked is None else {"Content_Range": f"bytes {first}-{last}/{size}"}
        self._head(kind, last - first + 1, Accept_Ranges="bytes", **ranged)
        with path.open("rb") as file:
            file.seek(first)
            left = last - first + 1
            while left and (piece := file.read(min(_PIECE, left))):
                self.wfile.write(piece)
                left -= len(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Say nothing: a line for each request helps nobody here."""
