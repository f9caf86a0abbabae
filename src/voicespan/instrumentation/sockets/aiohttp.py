"""Where the `aiohttp` package lets every message of one client socket be seen exactly once, from 3.9 on.

    what        where                              why there
    opening     `ClientSession._ws_connect`        `ws_connect` returns a context manager round it
    receiving   the socket's `receive`             `receive_str`, `receive_json` and iteration end in it; a CLOSE,
                                                   CLOSED or ERROR message means that nothing is unread
    sending     the socket's `send_str`,           `send_json` ends in the first; none calls another
                `send_bytes`, `send_frame`
    closing     the socket's `close`; `__aexit__`  the second knows what left the block

The first and the last are set on the library's classes; everything between on the one socket that is traced.
"""

from __future__ import annotations

import functools
import sys
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.sockets.by_url import may_match, request_of
from voicespan.instrumentation.sockets.traced_socket import attach, traced_socket
from voicespan.runtime.guard import guarded
from voicespan.runtime.loading import LOADING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import ModuleType

    from voicespan.instrumentation.sockets.by_url import SocketRequest
    from voicespan.instrumentation.sockets.traced_socket import Opens, TracedSocket

    Patch = tuple[Any, str, Callable[..., Any]]

#: RFC 6455, section 5.2; `aiohttp.WSMsgType` has the same numbers, and these for what is no frame.
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0, 1, 2, 8
_CLOSING, _CLOSED, _ERROR = 256, 257, 258
#: Nothing more comes after these.
_ENDS = frozenset({_CLOSE, _CLOSING, _CLOSED, _ERROR})
#: RFC 6455, section 7.4.1.
_NORMAL, _GOING_AWAY, _NO_CODE, _DROPPED = 1000, 1001, 1005, 1006
_NORMALLY = (_NORMAL, _GOING_AWAY, _NO_CODE)


def patches(module: ModuleType, opens: Opens) -> Iterator[Patch]:
    """Every (class, attribute, replacement) of one module; `opens` looks at the URL of a socket."""
    if module.__name__ == "aiohttp.client":
        session = module.ClientSession
        yield session, "_ws_connect", _opening(session._ws_connect, opens)  # noqa: SLF001  see above
        manager = getattr(module, "_WSRequestContextManager", None)
        # An alias of a class, as newer versions have it, is a type as well in Python 3.10.
        if type(manager) is not GenericAlias and isinstance(manager, type) and "__aexit__" in vars(manager):
            # Before 3.11 the socket was no context manager itself.
            yield manager, "__aexit__", _leaving(manager.__aexit__, lambda self: self._resp)  # type: ignore[attr-defined]
    else:
        socket = module.ClientWebSocketResponse
        if hasattr(socket, "__aexit__"):
            yield socket, "__aexit__", _leaving(socket.__aexit__)


# Opening.


def _opening(original: Callable[..., Awaitable[Any]], opens: Opens) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def _ws_connect(self: Any, url: Any, *args: Any, **named: Any) -> Any:
        request = _request(self, url, named)
        if request is not None and may_match(request):
            await LOADING.load_off_the_loop()
        socket = None if request is None else opens(request)
        if socket is None:
            return await original(self, url, *args, **named)
        try:
            response = await original(self, url, *args, **named)
        except BaseException as error:
            socket.failed(error)
            raise
        _opened(response, socket)
        return response

    return _ws_connect


@guarded
def _request(session: Any, url: Any, named: dict[str, Any]) -> SocketRequest:
    url = session._build_url(url)  # noqa: SLF001  as the library does: a session can have a base
    if named.get("params"):
        url = url.update_query(named["params"])
    return request_of(url, getattr(session, "headers", None), named.get("headers"))


@guarded
def _opened(response: Any, socket: TracedSocket) -> None:
    request_info = getattr(getattr(response, "_response", None), "request_info", None)
    socket.sent_headers(request_of("", getattr(request_info, "headers", None)).headers)
    kind = type(response)
    attach(
        response,
        socket,
        (response, "receive", _receiving(kind.receive, socket)),
        *(
            (response, name, _sending(getattr(kind, name), socket, name))
            for name in ("send_str", "send_bytes", "send_frame")
            if hasattr(kind, name)
        ),
        (response, "close", _closing(kind.close, socket)),
    )
    socket.succeeded()


# Receiving: the hot path.


def _receiving(original: Callable[..., Awaitable[Any]], socket: TracedSocket) -> Callable[..., Any]:
    async def receive(self: Any, *args: Any, **named: Any) -> Any:
        # A CLOSE that the library answers by itself is reported when it is handed over, with its reason.
        message = await original(self, *args, **named)
        kind = message.type
        if kind == _TEXT or kind == _BINARY:  # noqa: PLR1714, SIM109  half of what a set costs
            socket.received(message.data)
        elif kind in _ENDS:
            _ended(self, socket, message)
        return message

    return receive


@guarded
def _ended(response: Any, socket: TracedSocket, message: Any) -> None:
    if socket.is_closing:
        # The application's own `close`, in another task, reports the end.
        return
    if message.type == _CLOSE:
        # Without a code in its frame the library says 0.
        code, reason = int(message.data or _NO_CODE), message.extra
    else:
        # No close frame came: the library says 1000 where the other side was gone between two frames.
        code = response.close_code if message.type == _ERROR else _DROPPED
        code, reason = int(code or _DROPPED), None
    error = response.exception() or ConnectionError(f"closed with code {code}")
    socket.closed_while_reading(error, code, reason)


# Sending.


def _sending(
    original: Callable[..., Awaitable[Any]], socket: TracedSocket, name: str
) -> Callable[..., Awaitable[Any]]:
    async def send(self: Any, data: Any, *args: Any, **named: Any) -> Any:
        result = await original(self, data, *args, **named)
        socket.sent(data)
        return result

    async def send_frame(self: Any, message: Any, opcode: Any, *args: Any, **named: Any) -> Any:
        result = await original(self, message, opcode, *args, **named)
        if opcode in (_TEXT, _BINARY):
            socket.sent(message)
        return result

    return send_frame if name == "send_frame" else send


# Closing.


def _closing(original: Callable[..., Awaitable[Any]], socket: TracedSocket) -> Callable[..., Awaitable[Any]]:
    async def close(self: Any, *args: Any, **named: Any) -> Any:
        if sys._getframe(1).f_code.co_name == "receive":  # noqa: SLF001  nothing else tells
            # `receive` answers a close with it; the message that it returns reports the end.
            return await original(self, *args, **named)
        socket.is_closing = True
        try:
            return await original(self, *args, **named)
        finally:
            _closed(self, socket, named.get("code", _NORMAL))

    return close


@guarded
def _closed(response: Any, socket: TracedSocket, sent: Any) -> None:
    code = response.close_code
    code = int(code) if isinstance(code, int) else None
    # A socket that the other side had closed, or dropped, without a read to notice it is noticed here.
    if (code == _DROPPED and response.exception() is not None) or code not in (
        None,
        sent,
        _DROPPED,
        *_NORMALLY,
    ):
        socket.lost(response.exception() or ConnectionError(f"closed with code {code}"), code, None)
    socket.closed(code)


@guarded
def _left_with(response: Any, error: BaseException | None) -> None:
    socket = traced_socket(response)
    if socket is not None and error is not None:
        socket.error = error


def _leaving(
    original: Callable[..., Awaitable[Any]], response: Callable[[Any], Any] = lambda self: self
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def __aexit__(self: Any, *exc: Any, **named: Any) -> Any:  # noqa: N807  stands in for it
        _left_with(response(self), exc[1] if len(exc) > 1 else named.get("exc_val"))
        return await original(self, *exc, **named)

    return __aexit__
