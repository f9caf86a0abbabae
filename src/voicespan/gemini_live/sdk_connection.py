"""A session of the SDK and our connection to it: how it opens, how it is lost, how it closes.

The context manager of `AsyncLive.connect` goes on being the standard library's: what warns of deprecated calls
counts the frames of the stack, so no frame of ours may stand between. Our connection is an attribute of the
session itself.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from voicespan.protocol.events import ErrorReported, WireError
from voicespan.runtime.guard import guarded
from voicespan.tracing.connection import abandon
from voicespan.tracing.status import is_the_close

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicespan.gemini_live.endpoint import SessionHandshake
    from voicespan.tracing.connection import Connection

#: Begins a handshake: the SDK's `AsyncLive`, and what its `connect` was given. None: not traced.
Begin: TypeAlias = "Callable[[Any, Mapping[str, Any]], SessionHandshake | None]"

#: The attribute of a session that holds our connection. `sdk` reads it by its name where time matters.
TRACED = "_voicespan"


def traced(session: Any) -> Connection | None:
    """Our connection of a session of the SDK. None: it is not traced."""
    return getattr(session, TRACED, None)


# Opening and closing.


def traced_managers(begin: Begin) -> type[contextlib._AsyncGeneratorContextManager[Any]]:
    """The class of the context managers that `connect` returns from now on."""

    class TracedConnect(contextlib._AsyncGeneratorContextManager[Any]):  # noqa: SLF001  what the SDK's is
        """The SDK's own context manager, that also reports when its block begins and ends."""

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


def connecting(
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


_INTERNAL_ERROR = 1011


@guarded
def _opened(manager: Any, session: Any, opened: SessionHandshake) -> None:
    connection = opened.set_up(session)
    if connection is None:
        return
    setattr(session, TRACED, connection)
    _see_what_passes_the_session(getattr(session, "_ws", None), connection)
    manager._session, manager._connection = session, connection  # noqa: SLF001  ours, in the class above
    # A session that is dropped inside its block must not leave its conversation open for good.
    manager._finalizer = weakref.finalize(manager, abandon, connection)  # noqa: SLF001
    manager._finalizer.atexit = False  # noqa: SLF001


@guarded
def _see_what_passes_the_session(socket: Any, connection: Connection) -> None:
    """Frames that an application writes to the session's private socket, past its methods, are its client's as well."""
    original = getattr(type(socket), "send", None)
    if original is None:
        return

    @functools.wraps(original)
    async def send(self: Any, message: Any, *args: Any, **named: Any) -> Any:
        # The session's own methods write to it, too: those are patched.
        caller = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001  nothing else tells
        result = await original(self, message, *args, **named)
        if not caller.startswith("google.genai"):
            connection.sent(message)
        return result

    socket.send = types.MethodType(send, socket)


@guarded
def _before_close(session: Any, connection: Connection) -> None:
    """A socket that was lost without a read to notice it is noticed here."""
    code = _close_code(session)
    protocol = getattr(getattr(session, "_ws", None), "protocol", None)
    if _left(getattr(protocol, "close_sent", None), getattr(protocol, "close_rcvd_then_sent", None)):
        return
    if code is not None and connection.close_code is None:
        lost(connection, ConnectionError(f"closed with code {code}"), code, None)


@guarded
def _closed(manager: Any, session: Any, connection: Connection, error: BaseException | None) -> None:
    connection.closed(_close_code(session), None if is_the_close(error, connection.loss) else error)
    # However long the application keeps them: they need not keep the conversation as well.
    manager._finalizer.detach()  # noqa: SLF001
    manager._session = manager._connection = None  # noqa: SLF001
    session.__dict__.pop(TRACED, None)


def _close_code(session: Any) -> int | None:
    socket = getattr(session, "_ws", None)
    # Before version 14 of websockets only the protocol inside the socket had it.
    for each in (socket, getattr(socket, "protocol", None)):
        code = getattr(each, "close_code", None)
        if isinstance(code, int):
            return code
    return None


# How it is lost.


@guarded
def reading_failed(session: Any, error: BaseException) -> None:
    """Reading failed. A close means something, and an error that the server sent; all else is the application's."""
    connection = traced(session)
    if connection is None:
        return
    closed = _closed_by(error)
    if closed is not None:
        if _left(getattr(closed, "sent", None), getattr(closed, "rcvd_then_sent", None)):
            return
        frame = getattr(closed, "rcvd", None) or getattr(closed, "sent", None)
        code, reason = getattr(frame, "code", None), getattr(frame, "reason", None)
        code, reason = code if isinstance(code, int) else 1006, reason if isinstance(reason, str) else None
        lost(connection, error, code, reason)
        return
    # Newer versions raise a message of which they know no field.
    details = getattr(error, "details", None)
    if isinstance(details, dict):
        connection.received(details if "error" in details else {"error": details})


def _left(sent: Any, received_first: Any) -> bool:
    """Whether the application left by an exception: `websockets` closes the socket then, as with an internal error.

    LiveKit ends its sessions by a cancellation, and nothing has failed. What `websockets` itself finds wrong has a reason.
    """
    return getattr(sent, "code", None) == _INTERNAL_ERROR and not received_first and not sent.reason


def _closed_by(error: BaseException | None) -> BaseException | None:
    """The closed socket behind an error: the error itself, or (in newer versions) what an `APIError` was made of."""
    for each in (error, getattr(error, "__context__", None)):
        if any(kind.__name__ == "ConnectionClosed" for kind in type(each).__mro__):
            return each
    return None


def lost(connection: Connection, error: BaseException, code: int, reason: str | None) -> None:
    """The socket was closed. An abnormal close is an error of the conversation."""
    connection.lost(error, code, reason)
    if connection.closed_abnormally:
        closed = WireError("connection_closed", f"{code} {reason or ''}".strip())
        connection.ingest(lambda at: [ErrorReported(at, "connection_closed", closed, {"code": code})])
