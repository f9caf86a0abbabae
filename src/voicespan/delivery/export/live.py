"""Shows conversations in LangSmith while they are going on: creates their runs as they open and as their spans end.

What always holds:

1. It only reads what the spool has and only writes how far it came (`progress.json`). So a kill, a server that is gone
   or a thread that hangs costs nothing: whoever delivers the folder goes on from there.
2. A folder has one of two, it or the scheduler: a folder that is complete while a request is under way goes on after.
3. A conversation whose root was created goes by that way to its end, never also by OTLP.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from voicespan.delivery.encoding import langsmith_spans
from voicespan.delivery.export import live_runs, requests, run_requests
from voicespan.delivery.export.delivery_state import WAITING, Batch, DeliveryState, Outcome
from voicespan.delivery.export.live_state import LiveRuns
from voicespan.delivery.export.responses import Action, BackOff
from voicespan.delivery.export.run_requests import RunsBody
from voicespan.delivery.spool.folder import FIRST_JOURNAL, OPEN, PROGRESS, Folder
from voicespan.runtime.background import Loop
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Protocol

    from voicespan.delivery.encoding.protobuf import Message
    from voicespan.delivery.export.responses import Answer
    from voicespan.runtime.clock import Clock

    class OpenTrace(Protocol):
        """What is asked of a conversation's trace."""

        #: Its runs are created while it is going on.
        live: bool

        @property
        def open_ids(self) -> Container[int]:
            """The ids of its spans that have started and not ended."""


#: Seconds that changes are collected, of all conversations, for one request. LangSmith takes 5,000 a minute of one key.
_COLLECT = 0.25
#: Seconds until a span is looked for again that others name as their parent, and after which it is not coming.
_LOOK_AGAIN = 0.25
_COMES_WITHIN = 0.5
#: Bytes of one request, about.
_REQUEST_BYTES = 2_000_000
#: Seconds between two tries, at first and at most. What waits is safe, and goes when its conversation is over.
_FIRST = 1.0
_CAP = 60.0
#: That of a request with several batches says nothing of any one of them.
_OF_ONE = frozenset({Action.DUPLICATE, Action.REFUSED, Action.TOO_LARGE})


@dataclass(eq=False)
class _Call:
    """A conversation that is going on."""

    trace: OpenTrace
    folder: Folder
    progress: DeliveryState
    changed: bool = True
    #: Its next batch goes in a request of its own.
    alone: bool = False
    #: The server does not take its runs: it is delivered when it is over, as without all this.
    refused: bool = False
    #: A request with some of it is under way, or is being made.
    busy: bool = False
    #: An answer came that is not written down: with what is sent next, since a 409 would say the same.
    unsaved: bool = False
    #: Complete, and the scheduler's as soon as it is not busy.
    complete: Folder | None = None
    #: When a span was first missed, by its id (monotonic seconds).
    missed: dict[str, float] = field(default_factory=dict)

    def save(self) -> None:
        """Write down how far it is.

        Raises:
            OSError: the disk refuses.
        """
        self.folder.files.replace(PROGRESS, self.progress.encoded())
        self.unsaved = False


class _Sent(NamedTuple):
    """A batch in a request."""

    call: _Call
    batch: Batch
    #: It may have been sent before.
    before: bool


class LiveSender:
    """Creates the runs of conversations that are going on. `step` is called by its thread alone, the rest by any."""

    def __init__(
        self,
        project: str,
        post: Callable[[Message], Answer],
        clock: Clock,
        on_complete: Callable[[Folder], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`on_complete` takes each folder that is complete, locked; `chance` gives 0 to 1."""
        self._project = project
        self._post = post
        self._clock = clock
        self._on_complete = on_complete
        self._calls: dict[str, _Call] = {}
        self._lock = threading.RLock()
        self._back_off = BackOff(_FIRST, _CAP, chance)
        self._opens_at = 0.0
        self.loop = Loop("voicespan-live", self.step, batch_delay=_COLLECT)

    def changed(self, trace: OpenTrace, folder: Folder) -> None:
        """A conversation has opened, or spans of it were written."""
        call = self._calls.get(folder.name)
        path = folder.files.folder
        if call is None and path is not None:
            along = Folder.beside(path, folder.meta)
            # Another process may have begun.
            progress = DeliveryState.of(along.files.read(PROGRESS))
            call = self._calls[folder.name] = _Call(trace, along, progress)
        if call is not None and not call.refused:
            call.changed = True
            self.loop.wake()

    def completed(self, folder: Folder) -> None:
        """A folder is complete: the scheduler's, now or after the request that is under way."""
        with self._lock:
            call = self._calls.get(folder.name)
            if call is not None and call.busy:
                call.complete = folder
                return
        self.let_go(folder.name)
        self._on_complete(folder)

    def let_go(self, name: str) -> bool:
        """Have a folder that is complete left to others; False: a request with some of it is under way."""
        with self._lock:
            call = self._calls.get(name)
            if call is not None and call.busy:
                return False
            self._calls.pop(name, None)
        if call is not None and call.unsaved:
            with guard():
                call.save()
        return True

    @property
    def pending(self) -> int:
        """How many folders are complete and wait for a request that is under way."""
        return sum(call.complete is not None for call in list(self._calls.values()))

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self._calls = {}
        self._lock = threading.RLock()

    def step(self) -> float | None:
        """Send what there is; seconds until there is more without anything coming."""
        now = self._now()
        if now < self._opens_at:
            return self._opens_at - now
        while True:
            sent, body = self._collect()
            if not sent:
                break
            calls = list(dict.fromkeys(each.call for each in sent))
            try:
                answer = self._post(body.message())
                for call in calls:
                    own = [each for each in sent if each.call is call]
                    with guard():
                        self._answered(call, own, answer, len(sent) == 1)
            finally:
                # Whatever went wrong: a call that stayed busy would never be delivered.
                for call in calls:
                    with guard():
                        self._let_go(call)
            if not self._goes_on(answer):
                return max(self._opens_at - self._now(), 0.001)
        waits = any(call.missed for call in list(self._calls.values()))
        return _LOOK_AGAIN if waits else None

    def _goes_on(self, answer: Answer) -> bool:
        if answer.action in WAITING:
            self._opens_at = self._now() + self._back_off.failed(answer.retry_after)
            return False
        self._back_off.succeeded()
        return True

    def _collect(self) -> tuple[list[_Sent], RunsBody]:
        """What goes in the next request, written down as sent."""
        sent: list[_Sent] = []
        body = RunsBody()
        for call in list(self._calls.values()):
            if not call.changed or (sent and call.alone):
                continue
            if not self._take(call):
                continue
            own: list[_Sent] = []
            with guard():
                try:
                    own = self._prepared(call, body)
                except OSError:
                    # It is gone, or the disk fails: what is missing goes when it is over.
                    self._calls.pop(call.folder.name, None)
            if not own:
                self._let_go(call)
            sent += own
            if body.size >= _REQUEST_BYTES or (own and call.alone):
                break
        return sent, body

    def _take(self, call: _Call) -> bool:
        with self._lock:
            if self._calls.get(call.folder.name) is not call or call.busy:
                return False
            call.busy = True
        # Before the folder is read: what comes from now on is looked for again.
        call.changed = False
        return True

    def _let_go(self, call: _Call) -> None:
        with self._lock:
            call.busy = False
        if call.complete is not None:
            self.let_go(call.folder.name)
            self._on_complete(call.complete)

    def _prepared(self, call: _Call, body: RunsBody) -> list[_Sent]:
        progress, folder = call.progress, call.folder
        if progress.runs is None:
            self._open(call)
        if progress.runs is None:
            return []
        now = self._now()
        missed, call.missed = call.missed, {}

        def comes(span_id: str) -> bool:
            call.missed[span_id] = missed.get(span_id, now)
            is_open = int(span_id, 16) in call.trace.open_ids
            return is_open or now - call.missed[span_id] < _COMES_WITHIN

        live_runs.cut(folder, progress, progress.runs, comes)
        call.changed = call.changed or bool(call.missed)
        batches = [batch for batch in progress.batches if not batch.settled]
        own = [_Sent(call, batch, progress.sending(batch)) for batch in batches[: 1 if call.alone else None]]
        if own:
            call.save()
        for each in own:
            body.add_batch(folder, progress.runs, each.batch)
        return own

    def _open(self, call: _Call) -> None:
        """Have the root's run created."""
        root_id = call.folder.meta.root_span_id
        for envelope, span in langsmith_spans.renamed(
            langsmith_spans.split(call.folder.files.read(OPEN) or b"")
        ):
            if span.span_id.hex() == root_id:
                run = run_requests.opening_of(envelope.resource, span, self._project)
                call.progress.runs = LiveRuns(root_id, self._project, {root_id: run})
                call.progress.batches.append(Batch(FIRST_JOURNAL, 0, 0, 0, 1, opens=[root_id]))
                call.trace.live = True

    def _answered(self, call: _Call, sent: list[_Sent], answer: Answer, alone: bool) -> None:
        progress = call.progress
        for _, batch, before in sent:
            if not alone and answer.action in _OF_ONE:
                batch.sent = before or answer.may_be_stored
                call.alone = call.changed = True
                continue
            outcome = progress.answered(batch, answer, self._clock.time_ns() / 1e9, sent_before=before)
            if outcome is Outcome.SPLIT:
                progress.split(batch, requests.halves(call.folder, batch))
            call.changed = call.changed or outcome is not Outcome.SETTLED
            if progress.runs is None:
                call.refused, call.changed, call.trace.live = True, False, False
                break
        if all(batch.settled for batch in progress.batches):
            call.alone = False
        elif not call.refused:
            call.changed = True
        call.unsaved = True

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9
