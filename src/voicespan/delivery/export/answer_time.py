"""A time limit for an answer as a whole: `requests` limits the time between two bytes alone.

A server that sends a byte now and then would hold the thread that waits for it for ever.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    import socket

    from urllib3.poolmanager import PoolManager


class LimitedAnswers(HTTPAdapter):
    """Gives each answer the time that its read time-out says, from the end of the request to the last byte."""

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        """As `HTTPAdapter`'s."""
        super().init_poolmanager(*arguments, **settings)
        _limit(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **settings: Any) -> PoolManager:
        """As `HTTPAdapter`'s."""
        manager = cast("PoolManager", super().proxy_manager_for(*arguments, **settings))
        _limit(manager)
        return manager


def _limit(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Reader(io.RawIOBase):
    """What a socket receives until its time is over."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # One that counts as a user of the socket: it stays open until this is closed.
        self._raw = connection.makefile("rb", buffering=0)
        limit = connection.gettimeout()
        self._deadline = None if limit is None else time.monotonic() + limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer took too long")
            self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """All that an answer asks of its socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket))


class _Answer(http.client.HTTPResponse):
    def __init__(self, connection: socket.socket, *arguments: Any, **settings: Any) -> None:
        super().__init__(cast("socket.socket", _Socket(connection)), *arguments, **settings)


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
