"""Where the `openai` package lets every frame be seen exactly once, in every version since 1.107.

    what          where                                    why there
    opening       manager `__enter__`/`__aenter__`, and    the same function under two names; a
                  `enter`, each round its original         reconnect does not pass here
    receiving     connection `recv_bytes`                  recv, iteration and dispatch_events all end in it
    sending       connection `_send`, or `send` and        from 3.44 on `send` and `send_raw` both end in
                  `send_raw` where `send` is on its own    `_send`; before, neither calls the other
    queueing      manager `send`                           flushed past all of the above when it opens
    reconnecting  connection `_reconnect`                  same object, new socket, new session id
    closing       connection `close`, manager `__exit__`   `__exit__` knows what left the block

Only attributes of these classes are set, never of the bases they share with `client.live`,
`client.responses` and translations. The functions are plain ones (a wrapt wrapper costs 1 µs a frame),
they call the original first where its result matters, add no await after it, and every call into
voicespan is guarded. What a connection is to us hangs on the connection itself.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import endpoint
from voicespan.protocol.json_values import json_text
from voicespan.runtime.guard import guarded
from voicespan.tracing.connection import abandon

if TYPE_CHECKING:
    import types
    from collections.abc import Awaitable, Callable, Iterator

    from voicespan.instrumentation.handshake import Handshake
    from voicespan.tracing.connection import Connection

    #: Whether frames are traced at all, asked by each opening.
    Active = Callable[[], bool]

#: The modules that hold the classes: GA, and the beta API, which the package still ships.
MODULES = ("openai.resources.realtime.realtime", "openai.resources.beta.realtime.realtime")

_TRACED = "_voicespan"
_QUEUED = "_voicespan_queued"
_MOST_QUEUED = 1000


def patches(
    module: types.ModuleType, begin: endpoint.Begin
) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every (class, attribute, replacement) of one module; `begin` opens a traced connection."""
    manager, connection = module.RealtimeConnectionManager, module.RealtimeConnection
    yield manager, "__enter__", _opening(manager.__enter__, begin, in_block=True)
    yield manager, "enter", _opening(manager.enter, begin, in_block=False)
    yield manager, "__exit__", _leaving(manager.__exit__)
    yield connection, "recv_bytes", _receiving(connection.recv_bytes)
    yield connection, "close", _closing(connection.close)

    manager, connection = module.AsyncRealtimeConnectionManager, module.AsyncRealtimeConnection
    yield manager, "__aenter__", _async_opening(manager.__aenter__, begin, in_block=True)
    yield manager, "enter", _async_opening(manager.enter, begin, in_block=False)
    yield manager, "__aexit__", _async_leaving(manager.__aexit__)
    yield connection, "recv_bytes", _async_receiving(connection.recv_bytes)
    yield connection, "close", _async_closing(connection.close)

    for name, queueing, sending, reconnecting in (
        ("RealtimeConnection", _queueing, _sending, _reconnecting),
        ("AsyncRealtimeConnection", _queueing, _async_sending, _async_reconnecting),
    ):
        manager, connection = getattr(module, f"{name}Manager"), getattr(module, name)
        if hasattr(manager, "send"):
            yield manager, "send", queueing(manager.send)
        if hasattr(connection, "_reconnect"):
            yield connection, "_reconnect", reconnecting(connection._reconnect)  # noqa: SLF001  no public way
        for method in _sending_methods(connection):
            yield connection, method, sending(getattr(connection, method))


def _sending_methods(connection: type[Any]) -> tuple[str, ...]:
    """The fewest methods through which every sent frame passes exactly once."""
    reaches = set(connection.send.__code__.co_names)
    if hasattr(connection, "_send") and reaches & {"_send", "send_raw"}:
        return ("_send",)
    return ("send", "send_raw") if hasattr(connection, "send_raw") else ("send",)


class _Traced:
    """What a connection of the SDK is to us."""

    __slots__ = ("connection", "error", "finalizer", "in_block", "managers_queue", "queued", "received")

    def __init__(self, connection: Connection, managers_queue: list[Any], *, in_block: bool) -> None:
        self.connection = connection
        self.received = connection.received
        #: Frames that were given to the manager, as one list with it: some versions let it go on queueing.
        self.managers_queue = managers_queue
        self.in_block = in_block
        self.error: BaseException | None = None
        self.finalizer: weakref.finalize[..., Any] | None = None
        #: Frames that wait for the SDK's reconnect.
        self.queued: list[Any] = []


def traced(sdk_connection: Any) -> Connection | None:
    """Our side of a connection of the SDK, if it is traced."""
    found = getattr(sdk_connection, _TRACED, None)
    return found.connection if isinstance(found, _Traced) else None


# Opening.


@guarded
def _opened(manager: Any, sdk_connection: Any, opened: Handshake, *, in_block: bool) -> None:
    connection = opened.succeeded()
    if connection is None:
        return
    found = _Traced(connection, manager.__dict__.setdefault(_QUEUED, []), in_block=in_block)
    setattr(sdk_connection, _TRACED, found)
    # A connection that is dropped without being closed must not leave its conversation open for good.
    found.finalizer = weakref.finalize(sdk_connection, abandon, connection)
    found.finalizer.atexit = False
    _flushed(found)
    if endpoint.queue_of(manager) is not getattr(sdk_connection, "_send_queue", None):
        # Early versions give the connection a queue of its own where the manager's is empty.
        found.managers_queue = []


def _flushed(found: _Traced) -> None:
    """What was queued on the manager has gone out."""
    queued = found.managers_queue.copy()
    del found.managers_queue[: len(queued)]
    for frame in queued:
        found.connection.sent(frame)


def _opening(original: Callable[..., Any], begin: endpoint.Begin, *, in_block: bool) -> Callable[..., Any]:
    @functools.wraps(original)
    def enter(self: Any) -> Any:
        opened = begin(self)
        if opened is None:
            return original(self)
        try:
            sdk_connection = original(self)
        except BaseException as error:
            opened.failed(error)
            raise
        _opened(self, sdk_connection, opened, in_block=in_block)
        return sdk_connection

    return enter


def _async_opening(
    original: Callable[..., Any], begin: endpoint.Begin, *, in_block: bool
) -> Callable[..., Any]:
    @functools.wraps(original)
    async def enter(self: Any) -> Any:
        opened = begin(self)
        if opened is None:
            return await original(self)
        try:
            sdk_connection = await original(self)
        except BaseException as error:
            opened.failed(error)
            raise
        _opened(self, sdk_connection, opened, in_block=in_block)
        return sdk_connection

    return enter


# Receiving: the hot path.


@guarded
def _lost(sdk_connection: Any, error: BaseException) -> None:
    """Reading failed. Only a closed socket means something; a cancelled or timed-out read is the application's."""
    found = getattr(sdk_connection, _TRACED, None)
    if found is None or not any(kind.__name__ == "ConnectionClosed" for kind in type(error).__mro__):
        return
    frame = getattr(error, "rcvd", None) or getattr(error, "sent", None)
    code, reason = getattr(frame, "code", None), getattr(frame, "reason", None)
    found.connection.lost(
        error, code if isinstance(code, int) else 1006, reason if isinstance(reason, str) else None
    )
    if not found.in_block and getattr(sdk_connection, "_on_reconnecting", None) is None:
        # Nobody has to close what was opened by `enter()` and is gone already.
        _ended(sdk_connection, found, found.connection.close_code)


def _receiving(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def recv_bytes(self: Any) -> Any:
        try:
            frame = original(self)
        except BaseException as error:
            _lost(self, error)
            raise
        # The attribute itself: `getattr` with a default takes three times as long.
        try:
            received = self._voicespan.received
        except AttributeError:
            return frame
        received(frame)
        return frame

    return recv_bytes


def _async_receiving(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def recv_bytes(self: Any) -> Any:
        try:
            frame = await original(self)
        except BaseException as error:
            _lost(self, error)
            raise
        # The attribute itself: `getattr` with a default takes three times as long.
        try:
            received = self._voicespan.received
        except AttributeError:
            return frame
        received(frame)
        return frame

    return recv_bytes


# Sending.


@guarded
def _sent(sdk_connection: Any, found: _Traced, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    # The frame's parameter is called `event` or `data`; either may be given by name.
    (frame,) = args or named.values()
    # Accepted is not sent: during a reconnect the SDK queues, and may give up.
    if getattr(sdk_connection, "_is_reconnecting", False) is True:
        if len(found.queued) < _MOST_QUEUED:
            found.queued.append(frame)
        else:
            found.connection.frames_unsent += 1
    else:
        if found.managers_queue and not getattr(sdk_connection, "_send_queue", True):
            # From 3.43 on a send takes along what the manager got while the connection was open.
            _flushed(found)
        found.connection.sent(frame)


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(self: Any, *args: Any, **named: Any) -> Any:
        result = original(self, *args, **named)
        found = getattr(self, _TRACED, None)
        if found is not None:
            _sent(self, found, args, named)
        return result

    return send


def _async_sending(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def send(self: Any, *args: Any, **named: Any) -> Any:
        result = await original(self, *args, **named)
        found = getattr(self, _TRACED, None)
        if found is not None:
            _sent(self, found, args, named)
        return result

    return send


@guarded
def _queued(manager: Any, frame: Any) -> None:
    """Kept as the text it is now: the application may change its dict before the connection opens."""
    queue = manager.__dict__.setdefault(_QUEUED, [])
    if len(queue) < _MOST_QUEUED:
        queue.append(json_text(frame) if isinstance(frame, dict) else frame)


def _queueing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(self: Any, event: Any) -> Any:
        result = original(self, event)
        _queued(self, event)
        return result

    return send


# Reconnecting.


@guarded
def _reconnected(sdk_connection: Any, found: _Traced, *, success: bool) -> None:
    queued, found.queued = found.queued, []
    if success:
        found.connection.reopened()
        _flushed(found)
        for frame in queued:
            found.connection.sent(frame)
    else:
        found.connection.frames_unsent += len(queued)
        if not found.in_block:
            _ended(sdk_connection, found, found.connection.close_code)


def _reconnecting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def _reconnect(self: Any, *args: Any, **kwargs: Any) -> Any:
        success = original(self, *args, **kwargs)
        found = getattr(self, _TRACED, None)
        if found is not None:
            _reconnected(self, found, success=bool(success))
        return success

    return _reconnect


def _async_reconnecting(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def _reconnect(self: Any, *args: Any, **kwargs: Any) -> Any:
        success = await original(self, *args, **kwargs)
        found = getattr(self, _TRACED, None)
        if found is not None:
            _reconnected(self, found, success=bool(success))
        return success

    return _reconnect


# Closing.


def _ended(sdk_connection: Any, found: _Traced, code: int | None) -> None:
    found.connection.closed(code, found.error)
    # The SDK's connection refers to itself, and so stays until a garbage collection, with all that it refers to.
    if found.finalizer is not None:
        found.finalizer.detach()
    sdk_connection.__dict__.pop(_TRACED, None)


@guarded
def _left_with(manager: Any, error: BaseException | None) -> None:
    """Tell the connection what leaves the block, before `__exit__` closes it."""
    found = getattr(endpoint.connection_of(manager), _TRACED, None)
    if found is not None:
        found.error = error


def _leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def __exit__(self: Any, *exc: Any, **named: Any) -> Any:  # noqa: N807  stands in for it
        _left_with(self, exc[1] if len(exc) > 1 else named.get("exc"))
        return original(self, *exc, **named)

    return __exit__


def _async_leaving(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def __aexit__(self: Any, *exc: Any, **named: Any) -> Any:  # noqa: N807  stands in for it
        _left_with(self, exc[1] if len(exc) > 1 else named.get("exc"))
        return await original(self, *exc, **named)

    return __aexit__


def _close_code(sdk_connection: Any) -> int | None:
    """Asked of the websocket's state machine: the connection itself knows it only since websockets 14."""
    websocket = getattr(sdk_connection, "_connection", None)
    code = getattr(getattr(websocket, "protocol", None), "close_code", None)
    return code if isinstance(code, int) else None


@guarded
def _before_close(sdk_connection: Any, found: _Traced) -> None:
    """A socket that was lost without a read to notice it is noticed here."""
    code = _close_code(sdk_connection)
    if code is not None and found.connection.close_code is None:
        found.connection.close_code = code
        if code not in (1000, 1001, 1005):
            found.connection.loss = ConnectionError(f"closed with code {code}")


@guarded
def _after_close(sdk_connection: Any, found: _Traced) -> None:
    _ended(sdk_connection, found, _close_code(sdk_connection))


def _closing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(self, _TRACED, None)
        if found is None:
            return original(self, *args, **kwargs)
        _before_close(self, found)
        try:
            return original(self, *args, **kwargs)
        finally:
            _after_close(self, found)

    return close


def _async_closing(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(self, _TRACED, None)
        if found is None:
            return await original(self, *args, **kwargs)
        _before_close(self, found)
        try:
            return await original(self, *args, **kwargs)
        finally:
            _after_close(self, found)

    return close
