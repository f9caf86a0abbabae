"""Answers `/ready` and `/metrics`.

The standard library's server does it, one request at a time: who asks is a probe every few seconds. Nothing that it says
names a conversation, a key or a person.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from voicespan.delivery.deliverer import metrics
from voicespan.delivery.destination.variables import DeliverySettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.delivery.deliverer.deliverer import Status

#: Seconds that a client may take to ask: others wait meanwhile.
_PATIENCE = 2.0


class StatusServer(HTTPServer):
    """Listens until it is closed."""

    def __init__(self, address: str, status: Callable[[], Status]) -> None:
        """Listen at `address`, `HOST:PORT`; port 0: any that is free.

        Raises:
            DeliverySettingsError: it is no address, or cannot be listened at.
        """
        self.status = status
        host, _, port = address.rpartition(":")
        try:
            super().__init__((host.strip("[]") or "127.0.0.1", int(port)), _Handler)
        except (OSError, ValueError, OverflowError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is no HOST:PORT"
            raise DeliverySettingsError(f"cannot listen at {address} ({reason})") from None
        self._thread = threading.Thread(target=self.serve_forever, name="voicespan-status", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """Answer no more."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: StatusServer
    timeout = _PATIENCE

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status = self.server.status()
        if path == "/metrics":
            self._answer(HTTPStatus.OK, metrics.text(status), metrics.CONTENT_TYPE)
        elif path == "/ready" and status.is_ready:
            self._answer(HTTPStatus.OK, "ready\n")
        elif path == "/ready":
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there are /ready and /metrics\n")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Say nothing: a line for each probe helps nobody."""
