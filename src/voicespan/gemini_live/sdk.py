"""Where the `google-genai` package lets every message be seen exactly once, in every version since 1.9.

    what                    where                                  why there
    opening, setup, closing the context manager of                 the SDK sends the setup and reads its answer
                            `AsyncLive.connect`                    before there is a session, and leaves the
                                                                   socket without calling the session's `close`
    receiving               `AsyncSession._receive`                `receive` and `start_stream` both end in it
    sending                 `send_client_content`,                 none calls another
                            `send_realtime_input`,
                            `send_tool_response`,
                            `send_context_update`
    sending, the old way    `AsyncSession._parse_client_message`   all that `send` (and so `start_stream`) does
                                                                   before it sends what this returns

`send` itself is left alone, and the context manager goes on being the standard library's: both warn of
what is deprecated and say by the depth of the stack whose line it is, so no frame of ours may stand between.
The functions are plain ones, they call the original first where its result matters, add no await after
it, and every call into voicespan is guarded. What a session is to us hangs on the session itself.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import endpoint
from voicespan.runtime.guard import guarded
from voicespan.tracing.connection import abandon

if TYPE_CHECKING:
    import types
    from collections.abc import Awaitable, Callable, Iterator

    from voicespan.tracing.connection import Connection

#: The module that holds the classes.
MODULES = ("google.genai.live",)

_TRACED = "_voicespan"


def patches(
    module: types.ModuleType, begin: endpoint.Begin
) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every (class, attribute, replacement) of the module; `begin` opens a traced connection."""
    live, session = module.AsyncLive, module.AsyncSession
    yield live, "connect", _connecting(live.connect, _managers(begin))
    yield session, "_receive", _receiving(session._receive)  # noqa: SLF001  the one place that sees all
    for method, frame in _SENDING.items():
        if hasattr(session, method):
            yield session, method, _sending(getattr(session, method), frame)
    if hasattr(session, "_parse_client_message"):
        yield session, "_parse_client_message", _parsing(session._parse_client_message)  # noqa: SLF001


def traced(session: Any) -> Connection | None:
    """Our side of a session of the SDK, if it is traced."""
    return getattr(session, _TRACED, None)


# Opening and closing.


def _managers(begin: endpoint.Begin) -> type[contextlib._AsyncGeneratorContextManager[Any]]:
    """The class of the context managers that `connect` returns from now on."""

    class TracedConnect(contextlib._AsyncGeneratorContextManager[Any]):  # noqa: SLF001  what the SDK's is
        """The SDK's own context manager, that also tells when its block begins and ends."""

        _connection: Connection | None = None
        _session: Any = None
        _finalizer: weakref.finalize[..., Any] | None = None

        async def __aenter__(self) -> Any:
            opened = begin(self.args[0] if self.args else None, self.kwds)
            if opened is None:
                return await contextlib._AsyncGeneratorContextManager.__aenter__(self)  # noqa: SLF001
            # As the base does, which would be one frame more under the SDK's warnings.
            del self.args, self.kwds, self.func
            try:
                session = await self.gen.__anext__()
            except StopAsyncIteration:
                raise RuntimeError("generator didn't yield") from None
            except BaseException as error:
                opened.failed(error)
                raise
            _opened(self, session, opened)
            return session

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: types.TracebackType | None,
        ) -> bool | None:
            if self._connection is None:
                return await super().__aexit__(kind, error, traceback)
            _before_close(self._session, self._connection)
            try:
                return await super().__aexit__(kind, error, traceback)
            finally:
                _closed(self, self._session, self._connection, error)

    return TracedConnect


def _connecting(
    original: Callable[..., Any], managers: type[contextlib._AsyncGeneratorContextManager[Any]]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        manager = original(*args, **kwargs)
        # What somebody else made of it stays as it is.
        if type(manager) is contextlib._AsyncGeneratorContextManager:  # noqa: SLF001
            manager.__class__ = managers
        return manager

    return connect


@guarded
def _opened(manager: Any, session: Any, opened: endpoint.SessionHandshake) -> None:
    connection = opened.set_up(session)
    if connection is None:
        return
    setattr(session, _TRACED, connection)
    manager._session, manager._connection = session, connection  # noqa: SLF001  ours, in the class above
    # A session that is dropped inside its block must not leave its conversation open for good.
    manager._finalizer = weakref.finalize(manager, abandon, connection)  # noqa: SLF001
    manager._finalizer.atexit = False  # noqa: SLF001


@guarded
def _before_close(session: Any, connection: Connection) -> None:
    """A socket that was lost without a read to notice it is noticed here."""
    code = _close_code(session)
    if code is not None and connection.close_code is None:
        endpoint.lost(connection, ConnectionError(f"closed with code {code}"), code, None)


@guarded
def _closed(manager: Any, session: Any, connection: Connection, error: BaseException | None) -> None:
    connection.closed(_close_code(session), None if _is_the_close(error, connection.loss) else error)
    # However long the application keeps them: they need not keep the conversation as well.
    manager._finalizer.detach()  # noqa: SLF001
    manager._session = manager._connection = None  # noqa: SLF001
    session.__dict__.pop(_TRACED, None)


def _close_code(session: Any) -> int | None:
    socket = getattr(session, "_ws", None)
    # Before 14 only the protocol inside the socket told.
    for each in (socket, getattr(socket, "protocol", None)):
        code = getattr(each, "close_code", None)
        if isinstance(code, int):
            return code
    return None


def _is_the_close(error: BaseException | None, lost: BaseException | None) -> bool:
    """Whether what leaves the block is only that the connection was closed, which is told by its code."""
    if error is None or lost is None:
        return False
    grouped = getattr(error, "exceptions", None)
    if isinstance(grouped, tuple):
        return all(_is_the_close(each, lost) for each in grouped)
    return error is lost


# Receiving: the hot path.


@guarded
def _lost(session: Any, error: BaseException) -> None:
    """Reading failed. A close means something, and an error that the server sent; all else is the application's."""
    connection = traced(session)
    if connection is None:
        return
    closed = _closed_by(error)
    if closed is not None:
        frame = getattr(closed, "rcvd", None) or getattr(closed, "sent", None)
        code, reason = getattr(frame, "code", None), getattr(frame, "reason", None)
        code, reason = code if isinstance(code, int) else 1006, reason if isinstance(reason, str) else None
        endpoint.lost(connection, error, code, reason)
        return
    # Newer versions raise a message of which they know no field.
    details = getattr(error, "details", None)
    if isinstance(details, dict):
        connection.received(details if "error" in details else {"error": details})


def _closed_by(error: BaseException | None) -> BaseException | None:
    """The closed socket behind an error: the error itself, or (in newer versions) what an `APIError` was made of."""
    for each in (error, getattr(error, "__context__", None)):
        if any(kind.__name__ == "ConnectionClosed" for kind in type(each).__mro__):
            return each
    return None


def _receiving(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def _receive(self: Any) -> Any:
        try:
            message = await original(self)
        except BaseException as error:
            _lost(self, error)
            raise
        # The attribute itself: `getattr` with a default takes three times as long.
        try:
            received = self._voicespan.received
        except AttributeError:
            return message
        received(message)
        return message

    return _receive


# Sending.


def _client_content(turns: Any = None, turn_complete: Any = True, **_: Any) -> dict[str, Any]:
    return {"clientContent": {"turns": turns, "turnComplete": turn_complete}}


def _realtime_input(**given: Any) -> dict[str, Any]:
    return {"realtimeInput": given}


def _tool_response(function_responses: Any = None, **_: Any) -> dict[str, Any]:
    several = isinstance(function_responses, Sequence)
    return {"toolResponse": {"functionResponses": function_responses if several else [function_responses]}}


def _context_update(**given: Any) -> dict[str, Any]:
    return {"contextUpdate": given}


#: Every method that sends, and what its arguments are on the wire.
_SENDING: dict[str, Callable[..., dict[str, Any]]] = {
    "send_client_content": _client_content,
    "send_realtime_input": _realtime_input,
    "send_tool_response": _tool_response,
    "send_context_update": _context_update,
}


@guarded
def _sent(connection: Connection, frame: Callable[..., dict[str, Any]], given: dict[str, Any]) -> None:
    connection.sent(frame(**given))


def _sending(
    original: Callable[..., Awaitable[Any]], frame: Callable[..., dict[str, Any]]
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = await original(self, *args, **kwargs)
        connection = getattr(self, _TRACED, None)
        if connection is not None:
            _sent(connection, frame, kwargs)
        return result

    return send


def _parsing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def _parse_client_message(self: Any, *args: Any, **kwargs: Any) -> Any:
        message = original(self, *args, **kwargs)
        connection = getattr(self, _TRACED, None)
        if connection is not None:
            connection.sent(message)
        return message

    return _parse_client_message
