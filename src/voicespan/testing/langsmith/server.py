"""The server that a test starts, and what it can be asked and told."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voicespan.runtime.clock import SYSTEM
from voicespan.testing.langsmith.attachments import Attachments
from voicespan.testing.langsmith.connections import Listener
from voicespan.testing.langsmith.endpoints import Endpoints
from voicespan.testing.langsmith.failures import Failure, Failures
from voicespan.testing.langsmith.render import render
from voicespan.testing.langsmith.store import RunStore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from voicespan.runtime.clock import Clock
    from voicespan.testing.langsmith.body import Body
    from voicespan.testing.langsmith.connections import Answer
    from voicespan.testing.langsmith.failures import Stage
    from voicespan.testing.langsmith.multipart import Kind
    from voicespan.testing.langsmith.runs import Dropped, Request, Run

_T = TypeVar("_T")

_HOST = "127.0.0.1"
_NS = 1_000_000_000
_MOST_REQUESTS_KEPT = 100_000

# LangSmith's own figures.
_ORPHAN_WINDOW_SECONDS = 12 * 3600.0
_RUNS_PER_TRACE = 25_000
_MOST_BODY_BYTES = 209_715_200


class LangSmithServer:
    """LangSmith's ingest on 127.0.0.1: takes OTLP spans and REST runs, and shows the runs they become.

    Where LangSmith's behaviour is not documented, the less convenient one was chosen, so that what works
    here works there.

    A context manager; all of it may be used from any thread.

    Args:
        clock: By which the orphans' window passes and requests are timed.
        api_keys: The keys that are known; none means that everybody may send, as to a Collector.
        org_scoped: Whether the keys belong to an organisation, and so need an `X-Tenant-Id`.
        orphan_window: Seconds that a run waits for its parent before it is dropped.
        runs_per_trace: What one trace takes, its root included; further runs are dropped.
        max_body_bytes: The largest body, as it comes and decompressed; beyond it the answer is 413.
        save_attachments: A folder for attachments; without one they are kept in memory.
        tls: For `https://`, a context with the server's certificate.

    Attributes:
        api_keys: As given, and to be changed at any time; so are `org_scoped` and `max_body_bytes`.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM,
        api_keys: Iterable[str] = ("lsv2_pt_test",),
        org_scoped: bool = False,
        orphan_window: float = _ORPHAN_WINDOW_SECONDS,
        runs_per_trace: int = _RUNS_PER_TRACE,
        max_body_bytes: int = _MOST_BODY_BYTES,
        save_attachments: str | os.PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.api_keys = list(api_keys)
        self.org_scoped = org_scoped
        self.max_body_bytes = max_body_bytes
        self._store = RunStore(
            clock, orphan_window_ns=round(orphan_window * _NS), runs_per_trace=runs_per_trace
        )
        folder = None if save_attachments is None else Path(save_attachments)
        self._failures = Failures()
        self._service = _Service(self, clock, self._failures, self._store, Attachments(folder))
        self._tls = tls
        self._port = 0
        self._reserved: socket.socket | None = None
        self._listener: Listener | None = None
        self._switching = threading.Lock()

    # The port

    def __enter__(self) -> Self:
        self._reserved = _bound(0)
        self._port = self._reserved.getsockname()[1]
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once, whatever is going on; what was received can still be read."""
        self.down()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def up(self) -> None:
        """Listen again, on the same port.

        Raises:
            RuntimeError: The server was not entered, or is closed.
        """
        with self._switching:
            if self._reserved is None:
                raise RuntimeError("enter the server first: with LangSmithServer() as server")
            if self._listener is None:
                self._listener = Listener(_bound(self._port), self._service, self._tls)

    def down(self) -> None:
        """Stop listening and cut every connection: from now on connections are refused."""
        with self._switching:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

    @property
    def url(self) -> str:
        """What `LANGSMITH_ENDPOINT` is set to."""
        return f"{'http' if self._tls is None else 'https'}://{_HOST}:{self._port}"

    @property
    def traces_url(self) -> str:
        """Where an OTLP exporter posts."""
        return f"{self.url}/otel/v1/traces"

    @property
    def api_key(self) -> str:
        """A key that is known; empty where none is needed."""
        return self.api_keys[0] if self.api_keys else ""

    # Failures

    def fail(
        self,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        text: str | None = None,
        reset: Stage | None = None,
        hang: Stage | None = None,
        bytes_per_second: float | None = None,
        stored: bool = False,
        times: int | None = 1,
        after: int = 0,
        match: str | Callable[[Request], bool] | None = None,
    ) -> None:
        """Order a failure. Orders are met in the order in which they were given.

        Args:
            status: Answer this.
            headers: With these headers, such as `Retry-After`.
            text: And this body.
            reset: Reset the connection: in the middle of the `body`, or when the `answer` is due.
            hang: Stop reading or say nothing until `release`, `down` or `close`, then hang up.
            bytes_per_second: Read the body no faster than this, in real time; alone or with one of the above.
            stored: Take the request in although it fails: the client cannot know.
            times: How many requests meet it; None means every one until `clear_failures`.
            after: How many matching requests pass before.
            match: Which requests: a part of the path, or a function of the request's head.

        Raises:
            ValueError: The arguments contradict each other.
        """
        failure = Failure(status, headers or {}, text, reset, hang, bytes_per_second, stored)
        self._failures.order(failure, times=times, after=after, match=match)

    def clear_failures(self) -> None:
        """Forget the failures that have not happened yet."""
        self._failures.clear()

    def release(self) -> None:
        """Hang up on every request that hangs now."""
        self._failures.release()

    @property
    def hanging(self) -> int:
        """How many requests hang now."""
        with self._store.changed:
            return self._service.hanging

    # What was received

    @property
    def underway(self) -> int:
        """How many requests have begun and not been answered; one that hangs counts as ended."""
        with self._store.changed:
            return self._service.underway

    @property
    def most_underway(self) -> int:
        """The most requests that were ever under way at once."""
        with self._store.changed:
            return self._service.most_underway

    @property
    def requests(self) -> list[Request]:
        """Every request at whose end the server is, in the order of those ends; the last 100,000."""
        with self._store.changed:
            return list(self._service.requests)

    @property
    def runs(self) -> list[Run]:
        """Every run that is shown."""
        with self._store.changed:
            return list(self._store.shown.values())

    @property
    def roots(self) -> list[Run]:
        """The roots among them, one for each trace."""
        return [run for run in self.runs if run.parent_run_id is None]

    @property
    def waiting(self) -> list[Run]:
        """The runs that are not shown as their parent has not come."""
        return self._store.waiting()

    @property
    def dropped(self) -> list[Dropped]:
        """What was accepted and then dropped."""
        with self._store.changed:
            self._store.expire()
            return list(self._store.dropped)

    def run(self, run_id: str) -> Run:
        """The run with this id.

        Raises:
            KeyError: It is not shown.
        """
        with self._store.changed:
            return self._store.shown[run_id]

    def tree(self, root: Run | str) -> list[tuple[int, Run]]:
        """A run (or the run with this id) and everything below it, depth first, each with its depth.

        Raises:
            KeyError: There is no such run.
        """
        top = self.run(root) if isinstance(root, str) else root
        with self._store.changed:
            return list(top.walk())

    def received_count(self, run_id: str, operation: Kind = "post") -> int:
        """How often this run came, or its update (`patch`).

        Counted is each arrival that was stored, or refused with 409 because it had been stored before;
        requests that were made to fail without being stored are not.
        """
        return self._store.received_count(operation, run_id)

    def render(self, root: Run | str | None = None) -> str:
        """A trace, or all of them, as text for a person."""
        tops = self.roots if root is None else [self.run(root) if isinstance(root, str) else root]
        with self._store.changed:
            return "\n".join(render(top) for top in tops)

    def wait_for(self, predicate: Callable[[LangSmithServer], _T], timeout: float = 10.0) -> _T:
        """Wait until `predicate(server)` is true, and return what it returned.

        It is asked at once and after every change; no change happens while it is asked.

        Raises:
            TimeoutError: It was not true after `timeout` seconds.
        """
        with self._store.changed:
            found = self._store.changed.wait_for(lambda: predicate(self), timeout)
            if not found:
                raise TimeoutError(f"not after {timeout:g} s: {self}")
        return found

    def clear(self) -> None:
        """Forget what was received."""
        with self._store.changed:
            self._store.clear()
            self._service.requests.clear()

    def __repr__(self) -> str:
        with self._store.changed:
            statuses = Counter(str(request.status) for request in self._service.requests)
            return (
                f"<LangSmithServer {self.url}: {len(self.runs)} runs in {len(self.roots)} traces, "
                f"{len(self.waiting)} waiting, {len(self.dropped)} dropped, requests {dict(statuses)}>"
            )


class _Service:
    """What the connections ask of the server."""

    def __init__(
        self,
        server: LangSmithServer,
        clock: Clock,
        failures: Failures,
        store: RunStore,
        attachments: Attachments,
    ) -> None:
        self.requests: deque[Request] = deque(maxlen=_MOST_REQUESTS_KEPT)
        self.underway = self.most_underway = self.hanging = 0
        self._server = server
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        self._failures = failures
        self._changed = store.changed
        self._endpoints = Endpoints(store, attachments)

    def seconds(self) -> float:
        return (self._clock.monotonic_ns() - self._started_ns) / _NS

    def limit(self) -> int:
        return self._server.max_body_bytes

    def begin(self, request: Request) -> Failure | None:
        with self._changed:
            self.underway += 1
            self.most_underway = max(self.most_underway, self.underway)
            self._changed.notify_all()
        return self._failures.take(request)

    def answer(self, request: Request, key: str | None, body: Body) -> Answer:
        keys = self._server.api_keys
        return self._endpoints.answer(
            request,
            body,
            authorized=not keys or key in keys,
            tenant=not self._server.org_scoped or "x-tenant-id" in request.headers,
            limit=self.limit(),
        )

    def end(self, request: Request) -> None:
        with self._changed:
            self.underway -= 1
            self.requests.append(request)
            self._changed.notify_all()

    def hang(self) -> None:
        released = self._failures.next_release()
        self._count_hanging(1)
        released.wait()
        self._count_hanging(-1)

    def release(self) -> None:
        self._failures.release()

    def _count_hanging(self, change: int) -> None:
        with self._changed:
            self.hanging += change
            self._changed.notify_all()


def _bound(port: int) -> socket.socket:
    """A socket bound to the port.

    A second socket holds the port while the server is down, so that no other program is given it: both say
    that they share it (the first option is enough for Linux, BSD and macOS need the second), and only one
    that listens is connected to.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((_HOST, port))
    except OSError:
        bound.close()
        raise
    return bound
