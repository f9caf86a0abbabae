"""Where the `websockets` package lets every frame of one socket be seen exactly once, from 13 to 17.

    what        where                                           why there
    opening     in `websockets_opening.py`
    receiving   the socket's `recv_messages.get`, `get_iter`    `recv`, `recv_streaming` and iteration end in them,
                                                                and an EOFError there means that nothing is unread
                legacy: the socket's `recv`                     iteration ends in it
    sending     the socket's `protocol.send_text`,              whole messages and fragments, `send` and
                `send_binary`, `send_continuation`              `broadcast`, end in them; encoded already
                legacy: the socket's `write_frame_sync`         as above
    closing     the socket's `close`; `__aexit__`, `__exit__`   these know what left the block

The first and the last are set on the library's classes; everything between on the one socket that is traced,
so `recv`, `recv_streaming` and `send` stay the library's own, and other sockets run none of this.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.sockets.traced_socket import attach, traced_socket
from voicespan.instrumentation.sockets.websockets_opening import (
    opening_asyncio,
    opening_legacy,
    opening_sync,
)
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import ModuleType

    from voicespan.instrumentation.sockets.traced_socket import Opens, TracedSocket

    Patch = tuple[Any, str, Callable[..., Any]]

#: RFC 6455, section 5.2.
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2


def patches(module: ModuleType, opens: Opens) -> Iterator[Patch]:
    """Every (class, attribute, replacement) of one module; `opens` looks at the URL of a socket."""
    if module.__name__ == "websockets.asyncio.client":
        connect, connection = module.connect, module.ClientConnection
        yield from opening_asyncio(connect, opens, _attach)
        yield connect, "__aexit__", _async_leaving(connect.__aexit__, lambda each: each.connection)
        yield connection, "__aexit__", _async_leaving(connection.__aexit__)
    elif module.__name__ == "websockets.sync.client":
        connection = module.ClientConnection
        yield from opening_sync(module, opens, _attach_sync)
        yield connection, "__exit__", _leaving(connection.__exit__)
    else:
        connect = module.Connect
        yield from opening_legacy(connect, opens, _attach_legacy)
        yield connect, "__aexit__", _async_leaving(connect.__aexit__, lambda each: each.protocol)


def _attach(connection: Any, socket: TracedSocket) -> None:
    messages = connection.recv_messages
    attach(
        connection,
        socket,
        (messages, "get", _async_get(type(messages).get, socket, connection.protocol)),
        (messages, "get_iter", _async_get_iter(type(messages).get_iter, socket, connection.protocol)),
        *_sending(connection.protocol, socket),
        (connection, "close", _async_close(type(connection).close, socket)),
    )


def _attach_sync(connection: Any, socket: TracedSocket) -> None:
    messages = connection.recv_messages
    attach(
        connection,
        socket,
        (messages, "get", _get(type(messages).get, socket, connection.protocol)),
        (messages, "get_iter", _get_iter(type(messages).get_iter, socket, connection.protocol)),
        *_sending(connection.protocol, socket),
        (connection, "close", _close(type(connection).close, socket)),
    )


def _attach_legacy(connection: Any, socket: TracedSocket) -> None:
    kind = type(connection)
    attach(
        connection,
        socket,
        (connection, "recv", _legacy_recv(kind.recv, socket)),
        (connection, "write_frame_sync", _legacy_write(kind.write_frame_sync, socket)),
        (connection, "close", _async_close(kind.close, socket)),
    )


# Receiving: the hot path.


@guarded
def _read_to_the_end(socket: TracedSocket, protocol: Any) -> None:
    """No frame is left unread, and none will come."""
    frame = protocol.close_rcvd or protocol.close_sent
    code = None if frame is None else int(frame.code)
    error = ConnectionError("dropped" if code is None else f"closed with code {code}")
    socket.closed_while_reading(error, code, None if frame is None else frame.reason)


def _async_get(
    original: Callable[..., Awaitable[Any]], socket: TracedSocket, protocol: Any
) -> Callable[..., Any]:
    async def get(self: Any, *args: Any, **named: Any) -> Any:
        try:
            message = await original(self, *args, **named)
        except EOFError:
            _read_to_the_end(socket, protocol)
            raise
        socket.received(message)
        return message

    return get


def _get(original: Callable[..., Any], socket: TracedSocket, protocol: Any) -> Callable[..., Any]:
    def get(self: Any, *args: Any, **named: Any) -> Any:
        try:
            message = original(self, *args, **named)
        except EOFError:
            _read_to_the_end(socket, protocol)
            raise
        socket.received(message)
        return message

    return get


def _async_get_iter(
    original: Callable[..., AsyncIterator[Any]], socket: TracedSocket, protocol: Any
) -> Callable[..., AsyncIterator[Any]]:
    async def get_iter(self: Any, *args: Any, **named: Any) -> AsyncIterator[Any]:
        pieces = socket.pieces()
        inner = original(self, *args, **named)
        try:
            async for piece in inner:
                pieces.add(piece)
                yield piece
        except EOFError:
            _read_to_the_end(socket, protocol)
            raise
        finally:
            await inner.aclose()  # type: ignore[attr-defined]  # a generator
        socket.received(pieces.whole())

    return get_iter


def _get_iter(
    original: Callable[..., Iterator[Any]], socket: TracedSocket, protocol: Any
) -> Callable[..., Iterator[Any]]:
    def get_iter(self: Any, *args: Any, **named: Any) -> Iterator[Any]:
        pieces = socket.pieces()
        inner = original(self, *args, **named)
        try:
            for piece in inner:
                pieces.add(piece)
                yield piece
        except EOFError:
            _read_to_the_end(socket, protocol)
            raise
        finally:
            inner.close()  # type: ignore[attr-defined]  # a generator
        socket.received(pieces.whole())

    return get_iter


def _legacy_recv(original: Callable[..., Awaitable[Any]], socket: TracedSocket) -> Callable[..., Any]:
    async def recv(self: Any) -> Any:
        try:
            message = await original(self)
        except BaseException as error:
            _legacy_failed(self, socket, error)
            raise
        if message is None:
            # With `legacy_recv` the end is no exception.
            _legacy_failed(self, socket, None)
        else:
            socket.received(message)
        return message

    return recv


@guarded
def _legacy_failed(connection: Any, socket: TracedSocket, error: BaseException | None) -> None:
    """Reading failed. Only a closed socket means something; a cancelled read is the application's."""
    if error is None or any(kind.__name__ == "ConnectionClosed" for kind in type(error).__mro__):
        _read_to_the_end(socket, connection)


# Sending.


def _sending(protocol: Any, socket: TracedSocket) -> list[Patch]:
    pieces = socket.pieces()
    kind = type(protocol)

    def send(original: Callable[..., Any], *, first: bool) -> Callable[..., Any]:
        def send(self: Any, data: Any, fin: bool = True) -> Any:
            result = original(self, data, fin)
            if first and fin:
                socket.sent(data)
            elif pieces.add(data, first=first) and fin:
                socket.sent(pieces.whole())
            return result

        return send

    return [
        (protocol, "send_text", send(kind.send_text, first=True)),
        (protocol, "send_binary", send(kind.send_binary, first=True)),
        (protocol, "send_continuation", send(kind.send_continuation, first=False)),
    ]


def _legacy_write(original: Callable[..., Any], socket: TracedSocket) -> Callable[..., Any]:
    pieces = socket.pieces()

    def write_frame_sync(self: Any, fin: bool, opcode: int, data: Any) -> Any:
        result = original(self, fin, opcode, data)
        if fin and opcode in (_TEXT, _BINARY):
            socket.sent(data)
        elif (
            opcode in (_TEXT, _BINARY, _CONTINUATION)
            and pieces.add(data, first=opcode != _CONTINUATION)
            and fin
        ):
            socket.sent(pieces.whole())
        return result

    return write_frame_sync


# Closing.


@guarded
def _before_close(connection: Any, socket: TracedSocket) -> None:
    """A socket that was lost without a read to notice it is noticed here."""
    # In `legacy` the connection is the protocol.
    protocol = getattr(connection, "protocol", connection)
    code = protocol.close_code
    if isinstance(code, int):
        socket.lost(ConnectionError(f"closed with code {code}"), int(code), protocol.close_reason)


@guarded
def _after_close(connection: Any, socket: TracedSocket) -> None:
    code = getattr(connection, "protocol", connection).close_code
    socket.closed(int(code) if isinstance(code, int) else None)


def _async_close(original: Callable[..., Awaitable[Any]], socket: TracedSocket) -> Callable[..., Any]:
    async def close(self: Any, *args: Any, **named: Any) -> Any:
        _before_close(self, socket)
        try:
            return await original(self, *args, **named)
        finally:
            _after_close(self, socket)

    return close


def _close(original: Callable[..., Any], socket: TracedSocket) -> Callable[..., Any]:
    def close(self: Any, *args: Any, **named: Any) -> Any:
        _before_close(self, socket)
        try:
            return original(self, *args, **named)
        finally:
            _after_close(self, socket)

    return close


@guarded
def _left_with(connection: Any, error: BaseException | None) -> None:
    socket = traced_socket(connection)
    if socket is not None and error is not None:
        socket.error = error


def _async_leaving(
    original: Callable[..., Awaitable[Any]], connection: Callable[[Any], Any] = lambda self: self
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def __aexit__(self: Any, *exc: Any, **named: Any) -> Any:  # noqa: N807  stands in for it
        _left_with(connection(self), exc[1] if len(exc) > 1 else named.get("exc_value"))
        return await original(self, *exc, **named)

    return __aexit__


def _leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def __exit__(self: Any, *exc: Any, **named: Any) -> Any:  # noqa: N807  stands in for it
        _left_with(self, exc[1] if len(exc) > 1 else named.get("exc_value"))
        return original(self, *exc, **named)

    return __exit__
