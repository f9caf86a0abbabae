"""Where the `openai` package lets every frame be seen exactly once: Realtime since 1.107, Live since 3.12.

    what          where                                    why there
    opening       manager `__enter__`/`__aenter__`, and    the same function under two names; a
                  `enter`, each round its original         reconnect does not pass here
    receiving     connection `recv_bytes`                  recv, iteration and dispatch_events all end in it
    sending       connection `_send`, or `send` and        from 3.44 on `send` and `send_raw` both end in
                  `send_raw` where `send` is on its own    `_send`; before, neither calls the other
    queueing      manager `send`                           flushed past all of the above when it opens
    reconnecting  connection `_reconnect`                  same object, new socket, new session id
    closing       connection `close`, manager `__exit__`   `__exit__` knows what left the block

Only attributes of these classes are set, never of the bases they share with each other, with
`client.responses` and translations. The functions are plain ones (a wrapt wrapper costs 1 µs a frame),
they call the original first where its result matters, add no await after it, and every call into
voicespan is guarded. What a connection is to us hangs on the connection itself.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from voicespan.instrumentation.openai_package import connections
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    import types
    from collections.abc import Awaitable, Callable, Iterator

    from voicespan.instrumentation.handshake import Handshake

Begin: TypeAlias = "Callable[[Any], Handshake | None]"


def _nothing(*_: Any) -> None:
    """Nothing is done at this point."""


@dataclass(frozen=True)
class _Around:
    """What is done around one method of the SDK. All three are called inside the guard."""

    #: Before, with the object and both kinds of arguments. What it returns is given to the other two, which
    #: are left out where it is None.
    before: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
    #: After it returned, with the object, that, and the result.
    returned: Callable[[Any, Any, Any], None] = _nothing
    #: After it raised, with the object, that, and the exception.
    raised: Callable[[Any, Any, BaseException], None] = _nothing


def patches(
    module: types.ModuleType, name: str, begin: Begin
) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every (class, attribute, replacement) of one module.

    Args:
        module: of the package's resources.
        name: of its connections: `Realtime` for `RealtimeConnection`.
        begin: begins a traced connection.
    """
    for prefix, wrap, follow, receiving in (
        ("", _wrapped, _followed, _receiving),
        ("Async", _async_wrapped, _async_followed, _async_receiving),
    ):
        manager = getattr(module, f"{prefix}{name}ConnectionManager")
        connection = getattr(module, f"{prefix}{name}Connection")
        into, out = ("__aenter__", "__aexit__") if prefix else ("__enter__", "__exit__")
        yield manager, into, wrap(getattr(manager, into), _opening(begin, in_block=True))
        yield manager, "enter", wrap(manager.enter, _opening(begin, in_block=False))
        yield manager, out, wrap(getattr(manager, out), _LEAVING)
        yield connection, "recv_bytes", receiving(connection.recv_bytes)
        yield connection, "close", wrap(connection.close, _CLOSING)
        if hasattr(manager, "send"):
            # Of both kinds: it only queues.
            yield manager, "send", _followed(manager.send, _queued)
        if hasattr(connection, "_reconnect"):
            yield connection, "_reconnect", follow(connection._reconnect, _reconnected)  # noqa: SLF001  no public way
        for method in _sending_methods(connection):
            yield connection, method, follow(getattr(connection, method), _sent)


def _sending_methods(connection: type[Any]) -> tuple[str, ...]:
    """The fewest methods through which every sent frame passes exactly once."""
    reaches = set(connection.send.__code__.co_names)
    if hasattr(connection, "_send") and reaches & {"_send", "send_raw"}:
        return ("_send",)
    return ("send", "send_raw") if hasattr(connection, "send_raw") else ("send",)


def _wrapped(original: Callable[..., Any], around: _Around) -> Callable[..., Any]:
    before, returned, raised = guarded(around.before), guarded(around.returned), guarded(around.raised)

    @functools.wraps(original)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        state = before(self, args, named)
        if state is None:
            return original(self, *args, **named)
        try:
            result = original(self, *args, **named)
        except BaseException as error:
            raised(self, state, error)
            raise
        returned(self, state, result)
        return result

    return call


def _async_wrapped(original: Callable[..., Awaitable[Any]], around: _Around) -> Callable[..., Awaitable[Any]]:
    before, returned, raised = guarded(around.before), guarded(around.returned), guarded(around.raised)

    @functools.wraps(original)
    async def call(self: Any, *args: Any, **named: Any) -> Any:
        state = before(self, args, named)
        if state is None:
            return await original(self, *args, **named)
        try:
            result = await original(self, *args, **named)
        except BaseException as error:
            raised(self, state, error)
            raise
        returned(self, state, result)
        return result

    return call


_Then: TypeAlias = "Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]"


def _followed(original: Callable[..., Any], then: _Then) -> Callable[..., Any]:
    """`then` is guarded, and has the object, both kinds of arguments, and the result: nothing else is needed here."""

    @functools.wraps(original)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        result = original(self, *args, **named)
        then(self, args, named, result)
        return result

    return call


def _async_followed(original: Callable[..., Awaitable[Any]], then: _Then) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def call(self: Any, *args: Any, **named: Any) -> Any:
        result = await original(self, *args, **named)
        then(self, args, named, result)
        return result

    return call


# Receiving is the hot path, so it is written out, twice.


def _receiving(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def recv_bytes(self: Any) -> Any:
        try:
            frame = original(self)
        except BaseException as error:
            connections.lost(self, error)
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
            connections.lost(self, error)
            raise
        # The attribute itself: `getattr` with a default takes three times as long.
        try:
            received = self._voicespan.received
        except AttributeError:
            return frame
        received(frame)
        return frame

    return recv_bytes


# What is done around the others.


def _opening(begin: Begin, *, in_block: bool) -> _Around:
    return _Around(
        before=lambda manager, _args, _named: begin(manager),
        returned=lambda manager, handshake, connection: connections.opened(
            manager, connection, handshake, in_block=in_block
        ),
        raised=lambda _manager, handshake, error: handshake.failed(error),
    )


def _leaving(manager: Any, exc: tuple[Any, ...], named: dict[str, Any]) -> None:
    connections.left_with(manager, exc[1] if len(exc) > 1 else named.get("exc"))


def _closing(connection: Any, _args: tuple[Any, ...], _named: dict[str, Any]) -> Any:
    found = connections.find(connection)
    if found is not None:
        connections.before_close(connection, found)
    return found


def _closed(connection: Any, found: Any, _: Any) -> None:
    connections.after_close(connection, found)


_LEAVING = _Around(before=_leaving)
_CLOSING = _Around(before=_closing, returned=_closed, raised=_closed)


# What follows a call. The frame's parameter is called `event` or `data`; either may be given by name.


@guarded
def _sent(connection: Any, args: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
    connections.sent(connection, *args, *named.values())


@guarded
def _queued(manager: Any, args: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
    connections.queued(manager, *args, *named.values())


@guarded
def _reconnected(connection: Any, _args: tuple[Any, ...], _named: dict[str, Any], success: Any) -> None:
    connections.reconnected(connection, success=bool(success))
