"""One way to speak through each library, for tests that are the same for all of them."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from importlib import metadata

from voicespan.instrumentation import sockets


class EndedError(Exception):
    """The library has said that the socket is closed."""


class AsyncioWebsockets:
    """`websockets.asyncio.client`."""

    name = "websockets"
    instrumentor = "WebsocketsInstrumentor"
    module = "websockets.asyncio.client"
    refused = "InvalidStatus"
    headers = "additional_headers"
    #: Whether it answers a close before anybody reads it, and keeps what is unread.
    answers = int(metadata.version("websockets").partition(".")[0]) >= 15
    #: Whether frames that are unread when the socket ends are never handed over.
    discards_the_unread = not answers
    #: Whether its own `close` of 13 tells the code, and what was unread when the other side closed.
    loses_the_end = False
    #: Whether it is a context manager itself.
    has_block = True

    def __init__(self, socket):
        self.socket = socket

    @classmethod
    def available(cls):
        try:
            with warnings.catch_warnings():
                # `websockets.legacy` says that it is old.
                warnings.simplefilter("ignore")
                importlib.import_module(cls.module)
        except ImportError:
            return False
        return hasattr(sockets, cls.instrumentor)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url, headers=None):
        connect = importlib.import_module(cls.module).connect
        async with connect(url, **({cls.headers: headers} if headers else {})) as socket:
            yield cls(socket)

    async def send(self, text):
        await self.socket.send(text)

    async def receive(self):
        from websockets.exceptions import ConnectionClosed

        try:
            return await self.socket.recv()
        except ConnectionClosed as error:
            raise EndedError from error

    async def close(self, code=1000, reason=""):
        await self.socket.close(code, reason)


class LegacyWebsockets(AsyncioWebsockets):
    """`websockets.legacy.client`."""

    discards_the_unread = False

    answers = True
    name = "websockets-legacy"
    module = "websockets.legacy.client"
    refused = "InvalidStatusCode"
    headers = "extra_headers"


class SyncWebsockets(AsyncioWebsockets):
    """`websockets.sync.client`."""

    loses_the_end = not AsyncioWebsockets.answers

    name = "websockets-sync"
    module = "websockets.sync.client"

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url, headers=None):
        connect = importlib.import_module(cls.module).connect
        with connect(url, **({cls.headers: headers} if headers else {})) as socket:
            yield cls(socket)

    async def send(self, text):
        self.socket.send(text)

    async def receive(self):
        from websockets.exceptions import ConnectionClosed

        try:
            return self.socket.recv()
        except ConnectionClosed as error:
            raise EndedError from error

    async def close(self, code=1000, reason=""):
        self.socket.close(code, reason)


class Aiohttp(AsyncioWebsockets):
    """`aiohttp`."""

    discards_the_unread = False

    name = "aiohttp"
    instrumentor = "AiohttpInstrumentor"
    module = "aiohttp"
    answers = False
    refused = "WSServerHandshakeError"

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url, headers=None):
        aiohttp = importlib.import_module(cls.module)
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
            yield cls(socket)

    async def send(self, text):
        await self.socket.send_str(text)

    async def receive(self):
        message = await self.socket.receive()
        if message.type.name in ("TEXT", "BINARY"):
            return message.data
        raise EndedError(message)

    async def close(self, code=1000, reason=""):
        await self.socket.close(code=code, message=reason.encode())


class WebsocketClient(AsyncioWebsockets):
    """`websocket-client`."""

    discards_the_unread = False

    name = "websocket-client"
    instrumentor = "WebsocketClientInstrumentor"
    module = "websocket"
    answers = False
    has_block = False
    refused = "WebSocketBadStatusException"

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url, headers=None):
        socket = importlib.import_module(cls.module).create_connection(url, header=headers, timeout=10)
        try:
            with contextlib.closing(socket):
                yield cls(socket)
        finally:
            # `close` leaves the descriptor alone where the other side has closed.
            socket.shutdown()

    async def send(self, text):
        self.socket.send(text)

    async def receive(self):
        from websocket import WebSocketConnectionClosedException

        try:
            message = self.socket.recv()
        except WebSocketConnectionClosedException as error:
            raise EndedError from error
        if not message:
            raise EndedError
        return message

    async def close(self, code=1000, reason=""):
        self.socket.close(code, reason.encode())


_ALL = (AsyncioWebsockets, SyncWebsockets, LegacyWebsockets, Aiohttp, WebsocketClient)
CLIENTS = [each for each in _ALL if each.available()]


async def read_all(client):
    """Every message until the library says that the socket is closed."""
    found = []
    with contextlib.suppress(EndedError):
        while True:
            found.append(await client.receive())
    return found
