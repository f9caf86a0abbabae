"""One socket, whichever library opened it, as a connection of a conversation.

`opening` looks at the URL once. The object that it returns is given the result of the handshake, and then each
frame that the application received or that was sent. The patches of a library set its methods on the one socket
that is traced, so all other sockets of the process run the library's own code.

A socket's connection begins when the socket opens, with two exceptions:

- On an unknown host the server's first frame decides which protocol it is; frames are kept until then.
- Where sessions are resumed by a handle, the client's first frame decides which conversation continues.
"""

from __future__ import annotations

import sys
import threading
import types
import weakref
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.handshake import Handshake
from voicespan.instrumentation.sockets.by_url import match
from voicespan.runtime.guard import guarded, report
from voicespan.tracing.connection import abandon
from voicespan.tracing.context import SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from opentelemetry.trace import TracerProvider

    from voicespan.instrumentation.sockets.by_url import Match, SocketRequest
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import Connection

    #: Looks at the URL of a socket that is about to be opened.
    Opens = Callable[[SocketRequest], "TracedSocket | None"]

#: Frames, and their bytes, that wait for the one that says whose they are.
_MOST_WAITING = 1_000
_MOST_BYTES = 8_000_000
#: Of a message in pieces.
_LONGEST_MESSAGE = 8_000_000
#: So many callers are looked at, beside what stands between a socket library and them.
_CALLERS = 3
_BETWEEN = frozenset({"voicespan", "websockets", "aiohttp", "websocket", "asyncio", "contextlib", "wrapt"})
_TRACED = "_voicespan_socket"
#: RFC 6455, section 7.4.1: no close frame came.
_DROPPED = 1006


@guarded
def opening(
    request: SocketRequest, tracer_provider: TracerProvider | None, clock: Clock
) -> TracedSocket | None:
    """The socket that is about to be opened, if its frames are to be traced."""
    found = match(request)
    if found is None or _is_opened_by(found.endpoint.clients):
        return None
    return TracedSocket(found, request, tracer_provider, clock)


def _is_opened_by(clients: tuple[str, ...]) -> bool:
    """Whether a client library opens the socket for itself: its own patches see what passes, or are switched off."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  the one way to the caller, and only for what matches
    callers = 0
    while frame is not None and callers < _CALLERS:
        package = str(frame.f_globals.get("__name__")).split(".")
        if any(package[: len(client)] == client for client in (each.split(".") for each in clients)):
            return True
        callers += package[0] not in _BETWEEN
        frame = frame.f_back
    return False


class TracedSocket:
    """What a library's patches report of one socket. Nothing here raises."""

    def __init__(
        self, found: Match, request: SocketRequest, tracer_provider: TracerProvider | None, clock: Clock
    ) -> None:
        self._endpoint = found.endpoint
        self._request = request
        self._tracer_provider = tracer_provider
        self._clock = clock
        self._needs_first_frame = found.needs_first_frame
        self._scope = SCOPE.get()
        self._lock = threading.Lock()
        self._waiting: list[bytes] | None = []
        self._waiting_bytes = 0
        self._lost = False
        self.connection: Connection | None = None
        #: The application closes it.
        self.is_closing = False
        #: What leaves the application's block.
        self.error: BaseException | None = None
        #: Takes the library's methods off the socket again.
        self.detach: Callable[[], None] | None = None
        #: Given each frame as bytes; another function once the connection has begun.
        self.deliver: Callable[[bytes], None] = self._first_received
        self.deliver_sent: Callable[[bytes], None] = self._first_sent
        self._handshake: Handshake | None = None if self._waits() else self._begin(None)

    def _waits(self) -> bool:
        return self._needs_first_frame or self._endpoint.resumes is not None

    def _begin(self, fingerprint: str | None) -> Handshake:
        endpoint, request = self._endpoint, self._request

        def secrets() -> list[str]:
            # Asked when the handshake is over, with the headers that were sent by then.
            return self._request.secrets()

        if endpoint.handshake is not None:
            return endpoint.handshake(request, secrets, self._tracer_provider, self._clock)
        return Handshake(
            endpoint.provider,
            endpoint.attributes(request),
            secrets,
            tracer_provider=self._tracer_provider,
            clock=self._clock,
            fingerprint=fingerprint,
        )

    # Opening.

    def sent_headers(self, headers: Mapping[str, str]) -> None:
        """The headers that the library sent, with those that it made itself."""
        self._request = replace(self._request, headers={**self._request.headers, **headers})

    @guarded
    def succeeded(self) -> None:
        """The socket is open."""
        if self._handshake is not None:
            self._connected(self._handshake)

    @guarded
    def failed(self, error: BaseException) -> None:
        """The handshake raised `error`. On a host that nobody knows there is nothing to tell."""
        if not self._needs_first_frame:
            (self._handshake or self._begin(None)).failed(error)

    def _connected(self, handshake: Handshake) -> None:
        self.connection = connection = handshake.succeeded()
        waiting, self._waiting = self._waiting, None
        if connection is None:
            self.release()
            return
        self.deliver, self.deliver_sent = connection.received, connection.sent
        for frame in waiting or ():
            connection.sent(frame)

    def _first_frame(self, fingerprint: str | None) -> None:
        """Begin the connection in the scope that the socket was opened in."""
        before = SCOPE.get()
        SCOPE.set(self._scope)
        try:
            self._handshake = self._begin(fingerprint)
            self._connected(self._handshake)
        finally:
            SCOPE.set(before)

    def _first_received(self, frame: bytes) -> None:
        with self._lock:
            if self._waiting is not None:
                if self._needs_first_frame and not self._endpoint.is_first_frame(frame):
                    self.release()
                    return
                self._first_frame(None)
        if self.connection is not None:
            self.deliver(frame)

    def _first_sent(self, frame: bytes) -> None:
        resumes = self._endpoint.resumes
        with self._lock:
            if self._waiting is not None:
                if self._needs_first_frame or resumes is None:
                    self._wait(frame)
                    return
                self._first_frame(resumes(frame))
        if self.connection is not None:
            self.deliver_sent(frame)

    def _wait(self, frame: bytes) -> None:
        if self._waiting is None:
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_BYTES:
            # No service of this protocol says nothing for so long.
            self.release()

    # Frames.

    def received(self, message: Any) -> None:
        """The application is about to be handed the server's `message`."""
        try:
            self.deliver(message.encode() if type(message) is str else _as_bytes(message))
        except Exception as error:  # noqa: BLE001  the guard written out: a decorator costs a fifth of a frame
            report(error)

    def sent(self, message: Any) -> None:
        """The library put the application's `message` on the wire."""
        try:
            self.deliver_sent(message.encode() if type(message) is str else _as_bytes(message))
        except Exception as error:  # noqa: BLE001  as above
            report(error)

    def pieces(self) -> Pieces:
        """Collects the pieces of one direction's messages."""
        return Pieces()

    # The end.

    @guarded
    def closed_while_reading(self, error: BaseException, code: int | None, reason: object) -> None:
        """The application has read the end: no frame is left unread."""
        self.lost(error, code, reason)
        self.closed(code)

    @guarded
    def lost(self, error: BaseException, code: int | None, reason: object) -> None:
        """The socket was closed by the other side, or dropped (`code` is None)."""
        connection = self.connection
        if connection is not None and not connection.ended and not self._lost:
            self._lost = True
            self._endpoint.lost(
                connection,
                error,
                _DROPPED if code is None else code,
                reason if isinstance(reason, str) else None,
            )

    @guarded
    def closed(self, code: int | None = None) -> None:
        """The socket is over."""
        if self.connection is not None:
            self.connection.closed(code, self.error)
        self.release()

    @guarded
    def untraced(self) -> None:
        """Tracing ends before the socket does."""
        if self._handshake is not None and self.connection is not None and not self.connection.ended:
            self._handshake.conversation.end(status="untraced")
        self.release()

    def release(self) -> None:
        """Nothing more is traced: the socket runs the library's own code again."""
        self._waiting = None
        self.deliver = self.deliver_sent = _ignore
        if self.detach is not None:
            self.detach()
            self.detach = None

    def abandoned(self) -> None:
        """The application dropped the socket without closing it. This runs inside garbage collection."""
        if self.connection is not None:
            abandon(self.connection)


def _ignore(_frame: bytes) -> None:
    """Of a socket that is no longer traced."""


def _as_bytes(message: Any) -> bytes:
    return message if type(message) is bytes else bytes(message)


class Pieces:
    """The pieces of a message that crosses the socket in several."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: Any, *, first: bool = False) -> bool:
        """Keep a piece, of a long message only the beginning; a `first` one begins the next message."""
        if first:
            self._pieces, self._size = [], 0
        if self._size <= _LONGEST_MESSAGE:
            self._pieces.append(piece.encode() if isinstance(piece, str) else bytes(piece))
            self._size += len(self._pieces[-1])
        return True

    def whole(self) -> bytes:
        """The message; the next one begins."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        return b"".join(pieces)


def traced_socket(owner: Any) -> TracedSocket | None:
    """What a library's socket is to us, if it is traced."""
    found = owner.__dict__.get(_TRACED)
    return found if isinstance(found, TracedSocket) else None


def attach(owner: Any, socket: TracedSocket, *methods: tuple[Any, str, Callable[..., Any]]) -> None:
    """Set `methods` (object, name, function of `self`) for as long as the socket `owner` is traced.

    Each is a method of that object: bound to it, with the signature and the name of the one that it calls.
    """
    owner.__dict__[_TRACED] = socket
    # Weak, and the functions without what they are bound to: a socket that is dropped has to be noticed.
    places: list[tuple[weakref.ref[Any], str, weakref.ref[Any]]] = [
        (weakref.ref(owner), _TRACED, weakref.ref(socket))
    ]
    for each, name, function in methods:
        method = wraps(getattr(type(each), name))(function)
        each.__dict__[name] = types.MethodType(method, each)
        places.append((weakref.ref(each), name, weakref.ref(method)))
    finalizer = weakref.finalize(owner, socket.abandoned)
    finalizer.atexit = False

    def detach() -> None:
        finalizer.detach()
        for place, name, ours in places:
            # What somebody else set over it stays, and calls ours, which then lets everything through.
            found = place()
            set_now = None if found is None else found.__dict__.get(name)
            if found is not None and getattr(set_now, "__func__", set_now) is ours():
                del found.__dict__[name]

    socket.detach = detach
