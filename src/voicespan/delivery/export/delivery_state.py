"""How far a folder is delivered: which batches were cut, sent, acknowledged. Pure: time comes in.

What always holds:

1. What is about to be sent is written down first. So an answer that never came is known to be possible:
   the next 409 means that the request had arrived.
2. A batch is a range of a journal, cut once. It changes only by being split in two.
3. The root is next only when every batch is settled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from voicespan.delivery.export.live_state import LiveRuns
from voicespan.delivery.export.responses import Action
from voicespan.delivery.spool.secure_file import is_plain

if TYPE_CHECKING:
    from voicespan.delivery.export.responses import Answer

#: LangSmith drops children whose root does not come in its window (12 h on self-hosted installations).
CHILDREN_KEEP = 6 * 3600.0
#: Batches that are split since the server refused them, of one conversation: to find one span among 500 takes nine.
MOST_REFUSALS = 200


@dataclass
class Batch:
    """Spans that go in one request: a range of a journal."""

    segment: str
    start: int
    end: int
    #: Where the envelope of the first span stands.
    envelope: int
    spans: int
    sent: bool = False
    #: Wall clock, seconds.
    delivered_at: float | None = None
    #: The server's words.
    refused: str | None = None
    #: The ids of spans whose runs it creates before they have ended; then its range is empty.
    opens: list[str] = field(default_factory=list)
    #: The ids of those among its spans that an opening created.
    completes: list[str] = field(default_factory=list)

    @classmethod
    def opening(cls, before: Batch, opens: list[str]) -> Batch:
        """Creates the runs of open spans, before the spans of another batch."""
        return cls(before.segment, before.start, before.start, before.envelope, len(opens), opens=opens)

    @property
    def settled(self) -> bool:
        """Whether it need not be sent (again)."""
        return self.delivered_at is not None or self.refused is not None


class Encoding(Enum):
    """How the root goes, from best to last resort."""

    RECORDING = "recording"
    SMALLER = "smaller"
    NO_RECORDING = "no_recording"
    NO_TRANSCRIPT = "no_transcript"

    @property
    def with_recording(self) -> bool:
        """Whether the recording goes along."""
        return self in (Encoding.RECORDING, Encoding.SMALLER)


class Step(Enum):
    """What is next when no batch is."""

    ROOT = "root"
    DONE = "done"


class Outcome(Enum):
    """What an answer means for the folder."""

    SETTLED = "settled"
    #: The batch is to be split in two: see `Progress.split`.
    SPLIT = "split"
    #: The same again, some time later.
    WAIT = "wait"


@dataclass
class DeliveryState:
    """What `progress.json` holds."""

    #: Up to where each journal has been cut.
    cut: dict[str, int] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    root_sent: bool = False
    root_delivered_at: float | None = None
    root_refused: str | None = None
    encoding: Encoding = Encoding.RECORDING
    #: Another exporter sent the root before us, without the recording.
    root_was_there: bool = False
    #: Why the recording did not go with the root, if the server would not have it.
    recording_status: str | None = None
    #: Why the words did not go with the root either.
    transcript_omitted: str | None = None
    #: Spans that the server did not take.
    lost: int = 0
    #: How often batches were split because the server refused them.
    refusals: int = 0
    #: The last failure, in words, and when it came (wall clock, seconds).
    reason: str | None = None
    failed_at: float | None = None
    #: The scores are delivered, or will not be; and how often that was tried.
    scored: bool = False
    score_tries: int = 0
    #: None: nothing is created before the conversation is over.
    runs: LiveRuns | None = None

    @classmethod
    def of(cls, written: bytes | None) -> DeliveryState:
        """What was written; if it is damaged, from the beginning: nothing is lost by sending twice."""
        try:
            facts: dict[str, Any] = json.loads(written or b"{}")
            batches = [Batch(**batch) for batch in facts.pop("batches", [])]
            encoding = Encoding(facts.pop("encoding", Encoding.RECORDING.value))
            live = facts.pop("runs", None)
            runs = None if live is None else LiveRuns(**live)
            progress = cls(batches=batches, encoding=encoding, runs=runs, **facts)
            sound = progress.is_sound()
        except (ValueError, TypeError, AttributeError, RecursionError):
            sound = False
        # As if all had been sent, so that a 409 is taken for what it is.
        return progress if sound else cls(root_sent=True)

    def is_sound(self) -> bool:
        """Whether everything is of its kind."""
        words = (
            self.root_refused,
            self.recording_status,
            self.transcript_omitted,
            self.reason,
            *(batch.refused for batch in self.batches),
        )
        times = (self.root_delivered_at, self.failed_at, *(batch.delivered_at for batch in self.batches))
        places = [
            (batch.segment, batch.start, batch.end, batch.envelope, batch.spans) for batch in self.batches
        ]
        return (
            all(isinstance(text, str | None) for text in words)
            and all(isinstance(time, float | int | None) for time in times)
            and isinstance(self.lost, int)
            and isinstance(self.refusals, int)
            and isinstance(self.score_tries, int)
            and isinstance(self.cut, dict)
            and all(_is_place(segment, at) for segment, at in self.cut.items())
            and all(_is_place(*place) for place in places)
            and (self.runs is None or self.runs.is_sound())
            and all(
                isinstance(span_id, str)
                for batch in self.batches
                for span_id in (*batch.opens, *batch.completes)
            )
        )

    def encoded(self) -> bytes:
        """As it is written."""
        # Not `asdict`, which copies every text: a conversation that is shown live is written down each second.
        facts = vars(self) | {
            "encoding": self.encoding.value,
            "batches": [vars(batch) for batch in self.batches],
            "runs": None if self.runs is None else vars(self.runs),
        }
        return json.dumps(facts).encode()

    def next(self, now: float, *, has_root: bool) -> Batch | Step:
        """What to send now. `now`: wall clock, seconds."""
        batch = next((batch for batch in self.batches if not batch.settled), None)
        if batch is not None:
            return batch
        if not has_root or self.root_delivered_at is not None or self.root_refused is not None:
            return Step.DONE
        if self._children_may_be_gone(now):
            for batch in self.batches:
                batch.delivered_at = None
            return self.next(now, has_root=has_root)
        return Step.ROOT

    def sending(self, what: Batch | Step) -> bool:
        """`what` is about to be sent, which is to be written down first; whether it may have been before."""
        if isinstance(what, Batch):
            before, what.sent = what.sent, True
        else:
            before, self.root_sent = self.root_sent, True
        return before

    def answered(
        self, what: Batch | Step, answer: Answer, now: float, *, sent_before: bool, recording: bool = False
    ) -> Outcome:
        """An answer came. `sent_before`: what `sending` returned; `recording`: it went with the root."""
        if not answer.may_be_stored and not sent_before:
            if isinstance(what, Batch):
                what.sent = False
            else:
                self.root_sent = False
        if isinstance(what, Batch) and self._is_not_for_runs(what, answer, sent_before):
            self._create_no_runs()
            return Outcome.SETTLED
        if answer.action in WAITING:
            self.reason, self.failed_at = str(answer), now
            return Outcome.WAIT
        self.reason = self.failed_at = None
        if isinstance(what, Batch):
            return self._batch_answered(what, answer, now, sent_before)
        self._root_answered(answer, now, sent_before, recording)
        return Outcome.SETTLED

    def _is_not_for_runs(self, batch: Batch, answer: Answer, sent_before: bool) -> bool:
        """Whether the server does not take the root's run, and never had it: the conversation goes as all others do."""
        return (
            self.runs is not None
            and self.runs.root in batch.opens
            and not sent_before
            and answer.action in (Action.REFUSED, Action.NOWHERE, Action.TOO_LARGE)
        )

    def _create_no_runs(self) -> None:
        self.runs = None
        self.batches = [batch for batch in self.batches if not batch.opens]

    def split(self, batch: Batch, halves: tuple[Batch, Batch]) -> None:
        """Put two batches in the place of one."""
        index = self.batches.index(batch)
        self.batches[index : index + 1] = halves

    def _batch_answered(self, batch: Batch, answer: Answer, now: float, sent_before: bool) -> Outcome:
        single = batch.spans <= 1
        if answer.action is Action.DELIVERED or (
            # Of a batch that was never sent, another exporter has delivered some span or other; only of a
            # single one it is clear which.
            answer.action is Action.DUPLICATE and (sent_before or single)
        ):
            batch.delivered_at = now
            self.lost += answer.rejected
            if self.runs is not None:
                # An hour of a call that is shown as it goes has thousands.
                self.batches.remove(batch)
                for span_id in batch.completes:
                    # What comes below it finds it in the journal.
                    self.runs.opened.pop(span_id, None)
        elif single and batch.opens and self.runs is not None:
            # It comes with its own batch, when it has ended; what is below it goes below the root.
            self.runs.opened.pop(batch.opens[0], None)
            self.batches.remove(batch)
        elif single or (answer.action is Action.REFUSED and self.refusals >= MOST_REFUSALS):
            batch.refused = answer.words or str(answer)
            self.lost += batch.spans
        else:
            # One span that the server does not like must not take the others along.
            self.refusals += answer.action is Action.REFUSED
            return Outcome.SPLIT
        return Outcome.SETTLED

    def _root_answered(self, answer: Answer, now: float, sent_before: bool, recording: bool) -> None:
        # A success that left out its one span is none.
        refused = answer.action is Action.REFUSED or (answer.action is Action.DELIVERED and answer.rejected)
        if refused and self.encoding is not Encoding.NO_TRANSCRIPT:
            # Without its root the whole conversation would stay invisible: perhaps it was the recording, or the words.
            self._go_on_with_less("refused", recording=recording)
        elif refused:
            self.root_refused = answer.words or str(answer)
        elif answer.action is Action.DELIVERED:
            self.root_delivered_at = now
        elif answer.action is Action.DUPLICATE:
            self.root_delivered_at = now
            self.root_was_there = not sent_before
        elif self.encoding is Encoding.NO_TRANSCRIPT:
            self.root_refused = answer.words or str(answer)
        elif recording and self.encoding is Encoding.RECORDING:
            self.encoding = Encoding.SMALLER
        else:
            self._go_on_with_less("too_large", recording=recording)

    def no_smaller(self) -> None:
        """There is no smaller encoding of the recording."""
        self._go_without_recording("too_large")

    def unreadable(self) -> None:
        """The recording cannot be read."""
        self._go_without_recording("unreadable")

    def _go_on_with_less(self, why: str, *, recording: bool) -> None:
        if recording:
            self._go_without_recording(why)
        else:
            self.encoding = Encoding.NO_TRANSCRIPT
            self.transcript_omitted = why

    def _go_without_recording(self, status: str) -> None:
        self.encoding = Encoding.NO_RECORDING
        self.recording_status = status

    def _children_may_be_gone(self, now: float) -> bool:
        # A clock that was set back must not keep them from being sent again.
        return any(
            batch.delivered_at is not None and not 0 <= now - batch.delivered_at <= CHILDREN_KEEP
            for batch in self.batches
        )


#: Answers after which the same is sent again, some time later.
WAITING = frozenset({Action.KEY, Action.NOWHERE, Action.LATER})


def _is_place(segment: object, *numbers: object) -> bool:
    """Whether it is a journal and offsets in it, or counts."""
    return is_plain(segment) and all(type(number) is int and number >= 0 for number in numbers)
