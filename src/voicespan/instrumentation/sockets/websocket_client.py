"""Where the `websocket-client` package lets every frame of one socket be seen exactly once, from 1.6 on.

    what        where                             why there
    opening     `WebSocket.connect`               `create_connection` and `WebSocketApp` end in it
    receiving   the socket's `recv_data_frame`    `recv`, `recv_data`, iteration and `WebSocketApp` end in it, and its
                                                  CLOSE frame or exception means that nothing is unread
    sending     the socket's `send_frame`         everything that sends ends in it; encoded already
    closing     the socket's `close`, `shutdown`  `WebSocketApp` uses either

The first is set on the library's class, the others on the one socket that is traced.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.sockets.by_url import request_of
from voicespan.instrumentation.sockets.traced_socket import attach, traced_socket
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from voicespan.instrumentation.sockets.by_url import SocketRequest
    from voicespan.instrumentation.sockets.traced_socket import Opens, TracedSocket

    Patch = tuple[Any, str, Callable[..., Any]]

#: RFC 6455, section 5.2.
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0, 1, 2, 8
_DATA = frozenset({_CONTINUATION, _TEXT, _BINARY})
#: RFC 6455, section 7.4.1.
_NORMAL, _NO_CODE = 1000, 1005


def patches(module: ModuleType, opens: Opens) -> Iterator[Patch]:
    """Every (class, attribute, replacement) of the module; `opens` looks at the URL of a socket."""
    socket = module.WebSocket
    yield socket, "connect", _opening(socket.connect, opens)


# Opening.


def _opening(original: Callable[..., Any], opens: Opens) -> Callable[..., Any]:
    @functools.wraps(original)
    def connect(self: Any, url: Any, **options: Any) -> Any:
        request = _request(url, options)
        socket = None if request is None else opens(request)
        if socket is None:
            return original(self, url, **options)
        try:
            result = original(self, url, **options)
        except BaseException as error:
            socket.failed(error)
            raise
        _opened(self, socket)
        return result

    return connect


@guarded
def _request(url: Any, options: Mapping[str, Any]) -> SocketRequest:
    # A function that makes the headers is the library's to call.
    headers = options.get("header")
    protocols = options.get("subprotocols")
    named = {"Sec-WebSocket-Protocol": ", ".join(map(str, protocols))} if protocols else None
    return request_of(url, None if callable(headers) else headers, named)


@guarded
def _opened(connection: Any, socket: TracedSocket) -> None:
    earlier = traced_socket(connection)
    if earlier is not None:
        # The same object, connected again.
        earlier.closed()
    kind = type(connection)
    attach(
        connection,
        socket,
        (connection, "recv_data_frame", _receiving(kind.recv_data_frame, socket)),
        (connection, "send_frame", _sending(kind.send_frame, socket)),
        (connection, "close", _closing(kind.close, socket)),
        (connection, "shutdown", _shutting_down(kind.shutdown, socket)),
    )
    socket.succeeded()


# Receiving: the hot path.


def _receiving(original: Callable[..., Any], socket: TracedSocket) -> Callable[..., Any]:
    pieces = socket.pieces()

    def recv_data_frame(self: Any, *args: Any, **named: Any) -> Any:
        try:
            result = original(self, *args, **named)
        except BaseException as error:
            _failed(socket, error)
            raise
        opcode, frame = result
        if opcode == _CLOSE:
            _ended(socket, frame)
        elif opcode in _DATA:
            if opcode != _CONTINUATION and frame.fin:
                socket.received(frame.data)
            # Pieces are handed over one by one with `fire_cont_frame`.
            elif pieces.add(frame.data, first=opcode != _CONTINUATION) and frame.fin:
                socket.received(pieces.whole())
        return result

    return recv_data_frame


@guarded
def _failed(socket: TracedSocket, error: BaseException) -> None:
    """Reading failed. Only a closed socket means something; a time-out is the application's."""
    lost = isinstance(error, ConnectionError) or any(
        kind.__name__ == "WebSocketConnectionClosedException" for kind in type(error).__mro__
    )
    # Closed by another thread, whose `close` reports the end.
    if lost and not socket.is_closing:
        socket.closed_while_reading(error, None, None)


@guarded
def _ended(socket: TracedSocket, frame: Any) -> None:
    data = frame.data if isinstance(frame.data, bytes) else str(frame.data).encode()
    code = int.from_bytes(data[:2], "big") or _NO_CODE
    reason = data[2:].decode("utf-8", "replace") or None
    socket.closed_while_reading(ConnectionError(f"closed with code {code}"), code, reason)


# Sending.


def _sending(original: Callable[..., Any], socket: TracedSocket) -> Callable[..., Any]:
    pieces = socket.pieces()

    def send_frame(self: Any, frame: Any, *args: Any, **named: Any) -> Any:
        result = original(self, frame, *args, **named)
        if frame.opcode in _DATA:
            first = frame.opcode != _CONTINUATION
            if first and frame.fin:
                socket.sent(frame.data)
            elif pieces.add(frame.data, first=first) and frame.fin:
                socket.sent(pieces.whole())
        return result

    return send_frame


# Closing.


def _closing(original: Callable[..., Any], socket: TracedSocket) -> Callable[..., Any]:
    def close(self: Any, *args: Any, **named: Any) -> Any:
        socket.is_closing = True
        try:
            return original(self, *args, **named)
        finally:
            status = args[0] if args else named.get("status", _NORMAL)
            socket.closed(status if isinstance(status, int) else None)

    return close


def _shutting_down(original: Callable[..., Any], socket: TracedSocket) -> Callable[..., Any]:
    def shutdown(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return original(self, *args, **named)
        finally:
            # The last thing that `close` does.
            if not socket.is_closing:
                socket.closed()

    return shutdown
