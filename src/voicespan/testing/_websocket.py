"""What the fake WebSocket servers share: a thread with an event loop, a socket on 127.0.0.1, a record.

Four rules hold in here:

- The server's thread owns its sockets and runs what the server says. A test's thread only reads the
  record, which one condition guards, and asks for things to be done in the server's thread.
- Nothing waits without a bound. What was awaited and did not come is an `AssertionError` that lists
  what came instead.
- A failure in the server's thread is kept, and raised where the test leaves the server's block.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voicespan.testing._connection import Connection, Frame, Refuse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self
    from websockets.http11 import Request, Response

_T = TypeVar("_T")

# How long a client may take to answer a close: a scripted one, and the one at the end of a test, where
# the client's event loop may be the very thread that waits here.
_CLOSE_TIMEOUT = 5.0
_LAST_CLOSE_TIMEOUT = 0.25


class Wire:
    """The open connection, in the server's thread."""

    def __init__(self, socket: ServerConnection, connection: Connection) -> None:
        self.connection = connection
        self._socket = socket

    async def send(self, frame: str | bytes, *, binary: bool = False) -> None:
        """Send one frame: text, also where it is given as encoded bytes, unless `binary` is set."""
        if isinstance(frame, bytes) is binary:
            # As websockets does by itself; version 13 cannot be told.
            await self._socket.send(frame)
        else:
            await self._socket.send(frame, text=not binary)

    async def listen(self, on_frame: Callable[[str | bytes], None]) -> None:
        """Keep every frame that comes and hand it on, until the connection is closed."""
        record = self.connection.record
        try:
            async for frame in self._socket:
                record(frame)
                on_frame(frame)
        except ConnectionClosed:
            # Without a closing handshake; `Connection.closed` will tell.
            pass

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a closing handshake."""
        await self._socket.close(code, reason)

    def drop(self) -> None:
        """End the connection as a broken network does: what was sent arrives, no close frame does."""
        self._socket.transport.close()

    def abort(self) -> None:
        """End the connection at once, whatever was still to be sent."""
        self._socket.transport.abort()

    async def record_close(self) -> None:
        """Wait for the very end and keep how it came about."""
        await self._socket.wait_closed()
        ended = self._socket.protocol
        self.connection.record_close(ended.close_code or 1006, ended.close_reason or "")


class LoopbackServer:
    """A WebSocket server on an ephemeral port of 127.0.0.1, in a thread of its own.

    A subclass says what it does with a connection (`converse`), which handshakes it refuses (`admit`)
    and what a frame is called (`frame_name`).

    Args:
        timeout: Seconds after which what a test or a script waits for counts as missing.
        tls: For `wss://`, a context with the server's certificate.
    """

    #: What precedes the protocol's own path in `url`.
    base_path = ""

    #: How much of a client's frames is kept for each connection; of more, the older frames are dropped.
    most_bytes = 64 << 20

    def __init__(self, *, timeout: float = 5.0, tls: ssl.SSLContext | None = None) -> None:
        self.timeout = timeout
        #: What clients did, in the order in which they connected; refused handshakes too.
        self.connections: list[Connection] = []
        #: What went wrong in the server's thread; the first one is raised at the end of the block.
        self.failures: list[BaseException] = []
        self.changed = threading.Condition()
        self._tls = tls
        self._port = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._wires: dict[ServerConnection, Wire] = {}
        self._admitted: dict[ServerConnection, Connection] = {}
        self._closing: set[asyncio.Future[None]] = set()
        self._held: deque[Callable[[int | None], None]] = deque()

    # What a subclass says.

    def admit(self, number: int) -> Refuse | None:
        """Whether to refuse the handshake of the connection with this number, counted from 0."""
        del number
        return None

    def respond(self, request: Request) -> Response | None:
        """Answer a request that opens no connection; None: it does."""
        del request
        return None

    async def converse(self, wire: Wire) -> None:
        """Serve one connection; the connection is closed when this returns or raises."""
        raise NotImplementedError

    def frame_name(self, frame: Frame) -> str:
        """What a client's frame is called in messages and in `Connection.wait_for`."""
        raise NotImplementedError

    # What a test says.

    @property
    def url(self) -> str:
        """Where the server listens, with what clients expect before the protocol's own path."""
        scheme = "ws" if self._tls is None else "wss"
        return f"{scheme}://127.0.0.1:{self._port}{self.base_path}"

    def drop_connections(self) -> None:
        """End all open connections without a closing handshake: clients see close code 1006."""
        self._in_loop(self._drop_all)

    def close_connections(self, code: int = 1000, reason: str = "") -> None:
        """Begin a closing handshake on all open connections, and do not wait for the clients' part."""

        def close() -> None:
            for wire in self._wires.values():
                closing = asyncio.ensure_future(wire.close(code, reason))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

        self._in_loop(close)

    def release(self, chunks: int | None = None) -> None:
        """Let what is held go on: a script's `Hold`, or an answer that stopped half-way.

        Waits for something to be held, so a test needs no other synchronization. Of several, the one
        that was held first goes on.

        Args:
            chunks: How many more chunks of an answer; all of them when not given.

        Raises:
            AssertionError: Nothing was held in time.
        """
        self.wait_until(lambda: bool(self._held))
        with self.changed:
            if not self._held:
                came = "; ".join(connection.summary for connection in self.connections) or "nothing"
                raise AssertionError(f"nothing was held that could be released; clients sent: {came}")
            resume = self._held.popleft()
        self._in_loop(lambda: resume(chunks))

    def wait_until(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `condition`, which is asked whenever something came or ended, holds."""
        with self.changed:
            return self.changed.wait_for(condition, self.timeout if timeout is None else timeout)

    def __enter__(self) -> Self:
        started: Future[int] = Future()
        name = f"voicespan {type(self).__name__}"
        self._thread = threading.Thread(target=self._run_loop, args=(started,), name=name, daemon=True)
        self._thread.start()
        self._port = started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        # What went wrong in the server is mostly the cause of what went wrong in the test; an exit or
        # a cancellation, though, stays what it is.
        if self.failures and (error is None or isinstance(error, Exception)):
            raise self._failure() from error

    def _failure(self) -> BaseException:
        if len(self.failures) == 1:
            return self.failures[0]
        listed = "\n".join(f"- {type(failure).__name__}: {failure}" for failure in self.failures)
        return AssertionError(f"{len(self.failures)} failures in the server:\n{listed}")

    # What a session in the server's thread says.

    def hold(self, resume: Callable[[int | None], None]) -> Callable[[], None]:
        """Have `release` call `resume` in the server's thread; returns how to take that back."""
        with self.changed:
            self._held.append(resume)
            self.changed.notify_all()

        def withdraw() -> None:
            with self.changed:
                if resume in self._held:
                    self._held.remove(resume)

        return withdraw

    # The thread and its loop.

    def _in_loop(self, function: Callable[[], _T]) -> _T:
        """Call `function` in the server's thread and wait for what it returns."""
        if self._loop is None:
            raise RuntimeError("the server is not running")

        async def call() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(self.timeout)

    def _run_loop(self, started: Future[int]) -> None:
        try:
            asyncio.run(self._run(started))
        finally:
            if not started.done():
                started.set_exception(RuntimeError("the server did not start"))

    async def _run(self, started: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            # No keep-alive: nothing here depends on the clock. No compression: frames stay cheap and
            # can be read in a packet capture.
            server = await serve(
                self._handle, "127.0.0.1", 0, process_request=self._answer_handshake, ssl=self._tls,
                ping_interval=None, compression=None, max_size=None, close_timeout=_CLOSE_TIMEOUT, open_timeout=None,
            )  # fmt: skip
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(next(iter(server.sockets)).getsockname()[1])
        await self._stopping.wait()
        await self._close_all()
        server.close()
        await server.wait_closed()

    def _drop_all(self) -> None:
        for wire in self._wires.values():
            wire.drop()

    async def _close_all(self) -> None:
        wires = list(self._wires.values())
        closing = [asyncio.ensure_future(wire.close(1001, "the server is gone")) for wire in wires]
        if closing:
            await asyncio.wait(closing, timeout=_LAST_CLOSE_TIMEOUT)
            for wire in wires:
                wire.abort()
            await asyncio.wait(closing)

    def _stop(self) -> None:
        loop, stopping, thread = self._loop, self._stopping, self._thread
        if loop is None or stopping is None or thread is None:
            return
        loop.call_soon_threadsafe(stopping.set)
        thread.join(self.timeout + _CLOSE_TIMEOUT)
        if thread.is_alive():
            self.failures.append(
                AssertionError("the server's thread does not end: does an answer take so long?")
            )
        self._loop = self._stopping = self._thread = None
        self._held.clear()

    def _answer_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        answer = self.respond(request)
        if answer is not None:
            return answer
        number = len(self.connections)
        refusal = self.admit(number)
        status = 101 if refusal is None else refusal.status
        connection = Connection(request, number=number, status=status, server=self)
        with self.changed:
            self.connections.append(connection)
            self.changed.notify_all()
        if refusal is not None:
            connection.record_close(1006, f"refused with {status}")
            return refusal.response()
        self._admitted[socket] = connection
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        connection = self._admitted.pop(socket)
        wire = self._wires[socket] = Wire(socket, connection)
        session = asyncio.ensure_future(self.converse(wire))
        # Waited for, not awaited: whatever ended the session is looked at, nothing has to be caught.
        await asyncio.wait({session})
        error = session.exception()
        failed = error is not None and not isinstance(error, ConnectionClosed)
        if error is not None and failed:
            with self.changed:
                self.failures.append(error)
        await wire.close(1011 if failed else 1000, "the test's server failed" if failed else "")
        await wire.record_close()
        del self._wires[socket]
