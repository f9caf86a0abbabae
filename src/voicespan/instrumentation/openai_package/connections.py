"""What stands on a connection of the `openai` package, and what happens to it: opened, written to, lost, closed.

`patches` says which of the package's methods each of these belongs to, and calls them inside the guard.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.openai_package import managers
from voicespan.protocol.json_values import json_text
from voicespan.runtime.guard import guarded
from voicespan.tracing.connection import abandon

if TYPE_CHECKING:
    from voicespan.instrumentation.handshake import Handshake
    from voicespan.tracing.connection import Connection

_TRACED = "_voicespan"
_QUEUED = "_voicespan_queued"
_MOST_QUEUED = 1000


class TracedConnection:
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


def find(sdk_connection: Any) -> TracedConnection | None:
    """What stands on a connection of the SDK, if it is traced."""
    found = getattr(sdk_connection, _TRACED, None)
    return found if isinstance(found, TracedConnection) else None


def opened(manager: Any, sdk_connection: Any, handshake: Handshake, *, in_block: bool) -> None:
    """The handshake succeeded. `in_block`: the manager closes the connection when its block is left."""
    connection = handshake.succeeded()
    if connection is None:
        return
    found = TracedConnection(connection, manager.__dict__.setdefault(_QUEUED, []), in_block=in_block)
    setattr(sdk_connection, _TRACED, found)
    # A connection that is dropped without being closed must not leave its conversation open for good.
    found.finalizer = weakref.finalize(sdk_connection, abandon, connection)
    found.finalizer.atexit = False
    _flushed(found)
    if managers.queue_of(manager) is not getattr(sdk_connection, "_send_queue", None):
        # Early versions give the connection a queue of its own where the manager's is empty.
        found.managers_queue = []


def _flushed(found: TracedConnection) -> None:
    """What was queued on the manager has gone out."""
    frames = found.managers_queue.copy()
    del found.managers_queue[: len(frames)]
    for frame in frames:
        found.connection.sent(frame)


@guarded
def lost(sdk_connection: Any, error: BaseException) -> None:
    """Reading failed. Only a closed socket means something; a cancelled or timed-out read is the application's."""
    found = find(sdk_connection)
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


def sent(sdk_connection: Any, frame: Any) -> None:
    """The SDK took a frame."""
    found = find(sdk_connection)
    if found is None:
        return
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


def queued(manager: Any, frame: Any) -> None:
    """Kept as the text it is now: the application may change its dict before the connection opens."""
    queue = manager.__dict__.setdefault(_QUEUED, [])
    if len(queue) < _MOST_QUEUED:
        queue.append(json_text(frame) if isinstance(frame, dict) else frame)


def reconnected(sdk_connection: Any, *, success: bool) -> None:
    """The SDK opened a new socket for this connection, or has given up."""
    found = find(sdk_connection)
    if found is None:
        return
    waiting, found.queued = found.queued, []
    if success:
        found.connection.reopened()
        _flushed(found)
        for frame in waiting:
            found.connection.sent(frame)
    else:
        found.connection.frames_unsent += len(waiting)
        if not found.in_block:
            _ended(sdk_connection, found, found.connection.close_code)


def _ended(sdk_connection: Any, found: TracedConnection, code: int | None) -> None:
    found.connection.closed(code, found.error)
    # The SDK's connection refers to itself, and so stays until a garbage collection, with all that it refers to.
    if found.finalizer is not None:
        found.finalizer.detach()
    sdk_connection.__dict__.pop(_TRACED, None)


def left_with(manager: Any, error: BaseException | None) -> None:
    """An exception, or None, leaves the manager's block; its `__exit__` closes the connection next."""
    found = find(managers.connection_of(manager))
    if found is not None:
        found.error = error


def _close_code(sdk_connection: Any) -> int | None:
    """Asked of the websocket's state machine: the connection itself knows it only since websockets 14."""
    websocket = getattr(sdk_connection, "_connection", None)
    code = getattr(getattr(websocket, "protocol", None), "close_code", None)
    return code if isinstance(code, int) else None


@guarded
def before_close(sdk_connection: Any, found: TracedConnection) -> None:
    """A socket that was lost without a read to notice it is noticed here."""
    code = _close_code(sdk_connection)
    if code is not None and found.connection.close_code is None and found.connection.loss is None:
        found.connection.close_code = code
        if code not in (1000, 1001, 1005):
            found.connection.loss = ConnectionError(f"closed with code {code}")


def after_close(sdk_connection: Any, found: TracedConnection) -> None:
    """The SDK closed it, or failed to."""
    _ended(sdk_connection, found, _close_code(sdk_connection))
