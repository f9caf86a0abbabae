"""Where a socket of the `websockets` package opens, from 13 to 17.

asyncio  `connect.__await_impl__`, from 17 on `connect.connect`      every form of `connect` ends in it
         and in 13 `connect.__init__`                                which keeps neither URI nor headers
sync     `connect`, from 17 on `reconnect.connect`                   before the TCP connection, which can fail
         `ClientConnection.handshake`                                who had imported `connect` before us ends in
                                                                     it, and it has the socket already
legacy   `Connect.__await_impl__`                                    as asyncio
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.sockets.by_url import request_of
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import ModuleType

    from voicespan.instrumentation.sockets.traced_socket import Opens, TracedSocket

    Patch = tuple[Any, str, Callable[..., Any]]
    Attaches = Callable[[Any, TracedSocket], None]

#: Where `connect` of 13 keeps what it was given.
_URI, _HEADERS = "_voicespan_uri", "_voicespan_headers"


def opening_asyncio(connect: Any, opens: Opens, attaches: Attaches) -> Iterator[Patch]:
    """The patches of `websockets.asyncio.client.connect`."""
    name = "__await_impl__" if hasattr(connect, "__await_impl__") else "connect"
    if "uri" in connect.__init__.__code__.co_names:
        kept = "uri", "additional_headers"
    else:
        kept = _URI, _HEADERS
        yield connect, "__init__", _keeping(connect.__init__)
    yield connect, name, _opening(getattr(connect, name), opens, kept, attaches)


def opening_legacy(connect: Any, opens: Opens, attaches: Attaches) -> Iterator[Patch]:
    """The patches of `websockets.legacy.client.Connect`."""
    name = "__await_impl__"
    yield connect, name, _opening(getattr(connect, name), opens, ("_uri", "extra_headers"), attaches)


def opening_sync(module: ModuleType, opens: Opens, attaches: Attaches) -> Iterator[Patch]:
    """The patches of `websockets.sync.client`."""
    connection = module.ClientConnection
    yield connection, "handshake", _shaking_hands(connection.handshake, opens, attaches)
    reconnect = getattr(module, "reconnect", None)
    if reconnect is None:
        yield module, "connect", _connecting(module.connect, opens, _asked_for)
    else:
        yield (
            reconnect,
            "connect",
            _connecting(reconnect.connect, opens, lambda self: request_of(self.uri, self.additional_headers)),
        )


# Asyncio, new and old.


def _keeping(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807  stands in for it
        original(self, *args, **named)
        setattr(self, _URI, args[0] if args else named.get("uri"))
        setattr(self, _HEADERS, named.get("additional_headers"))

    return __init__


def _opening(
    original: Callable[..., Awaitable[Any]], opens: Opens, kept: tuple[str, str], attaches: Attaches
) -> Callable[..., Awaitable[Any]]:
    uri, headers = kept

    @functools.wraps(original)
    async def connect(self: Any) -> Any:
        socket = opens(request_of(getattr(self, uri, ""), getattr(self, headers, None)))
        if socket is None:
            return await original(self)
        try:
            connection = await original(self)
        except BaseException as error:
            socket.failed(error)
            raise
        _opened(connection, socket, attaches)
        return connection

    return connect


# Sync.

#: What `connect` has made of its one look at the URL, for the handshake within it.
_LOOKED: ContextVar[tuple[TracedSocket | None] | None] = ContextVar("voicespan_sync_connect", default=None)


def _asked_for(uri: Any = "", *_: Any, **named: Any) -> Any:
    return request_of(uri, named.get("additional_headers"))


def _connecting(
    original: Callable[..., Any], opens: Opens, request: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def connect(*args: Any, **named: Any) -> Any:
        socket = _look(opens, request, args, named)
        within = _LOOKED.set((socket,))
        try:
            return original(*args, **named)
        except BaseException as error:
            if socket is not None and socket.connection is None:
                socket.failed(error)
            raise
        finally:
            _LOOKED.reset(within)

    return connect


@guarded
def _look(opens: Opens, request: Callable[..., Any], args: Any, named: Any) -> TracedSocket | None:
    return opens(request(*args, **named))


def _shaking_hands(original: Callable[..., Any], opens: Opens, attaches: Attaches) -> Callable[..., Any]:
    @functools.wraps(original)
    def handshake(self: Any, additional_headers: Any = None, *args: Any, **named: Any) -> Any:
        looked = _LOOKED.get()
        (socket,) = looked or (opens(request_of(_uri(self), additional_headers)),)
        if socket is None:
            return original(self, additional_headers, *args, **named)
        try:
            result = original(self, additional_headers, *args, **named)
        except BaseException as error:
            if looked is None:
                socket.failed(error)
            raise
        _opened(self, socket, attaches)
        return result

    return handshake


def _uri(connection: Any) -> str:
    # Until 14 it was called `wsuri`.
    uri = getattr(connection.protocol, "uri", None) or getattr(connection.protocol, "wsuri", None)
    user = getattr(uri, "username", None)
    login = f"{user}:{getattr(uri, 'password', '')}@" if user else ""
    host = str(getattr(uri, "host", ""))
    host = f"[{host}]" if ":" in host else host
    query = getattr(uri, "query", "")
    return f"ws://{login}{host}:{getattr(uri, 'port', 80)}{getattr(uri, 'path', '')}?{query}"


@guarded
def _opened(connection: Any, socket: TracedSocket, attaches: Callable[[Any, TracedSocket], None]) -> None:
    # Keys can stand among the subprotocols, which only the request itself has.
    request = getattr(connection, "request", None)
    headers = getattr(request, "headers", None) or getattr(connection, "request_headers", None)
    socket.sent_headers(request_of("", headers).headers)
    attaches(connection, socket)
    socket.succeeded()
