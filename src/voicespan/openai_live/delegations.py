"""Tasks that the model hands over: to the application, to the Responses backend, to Decisions.

A delegation to the application is this service's function call: it is open from the server's word to the first
commentary that answers it. One to Responses lasts until a response of it is over and no call of it waits. Of what a
task is about no event says a word: it is what was said before, as far as nobody asked about it already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.openai_live import values
from voicespan.openai_live.responses import BackendResponse, Responses
from voicespan.protocol.events import Event, LocalId, OperationEnded, OperationStarted, WireError
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_live.runs import Runs

_CREATED = "session.delegation.created"
_KINDS = frozenset({"client", "responses", "decisions"})
_UNANSWERED = WireError("never_answered", "the session ended before this was answered")
_UNFINISHED = WireError("never_ended", "the session ended before this was over")
#: Of the words that can make a decision, so many are found again.
_MOST_FRAGMENTS = 256


@dataclass(slots=True)
class Delegation:
    """One that is open."""

    id: str
    target: str
    started_at: int
    offset_ms: int | None


class Delegations:
    """Those of one session."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._open: dict[str, Delegation] = {}
        #: Those that are over, and when each fragment of words came: a decision can refer to one.
        self._past: dict[str, None] = {}
        self._fragments: dict[str, int] = {}
        self.responses = Responses(self._response_over)

    def created(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The model hands over a task."""
        delegation = values.as_object(event.get("delegation"))
        delegation_id = values.name(delegation.get("id"))
        target = values.name(delegation.get("target")) or "client"
        offset_ms = values.milliseconds(event.get("offset_ms"))
        if delegation_id is None:
            return
        known = self._open.get(delegation_id)
        if known is not None:
            # Its first response's events can come before it.
            known.offset_ms = offset_ms
        elif delegation_id not in self._past:
            yield from self._begin(delegation_id, target, offset_ms, at, _CREATED)

    def nested(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """An event of a response's own stream, in the session's."""
        delegation_id = values.name(event.get("delegation_id"))
        if delegation_id is not None and delegation_id not in self._open and delegation_id not in self._past:
            yield from self._begin(delegation_id, "responses", None, at, "response.event")
        yield from self.responses.nested(delegation_id, values.as_object(event.get("event")), at)

    def fragment(self, event_id: str | None, at: int) -> None:
        """Words came; they may be the reason of a decision."""
        if event_id is not None:
            put(self._fragments, event_id, at, _MOST_FRAGMENTS)

    def decided(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """Decisions answered: for a delegation, for words that triggered it, or since it was asked."""
        delegation_id = values.name(event.get("delegation_id"))
        source = values.name(event.get("source_event_id"))
        delegation = self._open.get(delegation_id or "")
        started_at = self._fragments.get(source or "", at if delegation is None else delegation.started_at)
        decision = values.as_object(values.as_object(event.get("event")).get("decision"))
        answers = decision.get("answers")
        key = LocalId.new("decision")
        yield OperationStarted(
            started_at,
            "decision.event",
            key,
            "decision",
            "llm",
            within=delegation_id,
            facts={
                "delegation_id": delegation_id,
                "trigger_id": values.name(event.get("trigger_id")),
                "source_event_type": values.name(event.get("source_event_type")),
                "decision_id": values.name(decision.get("id")),
                "input": "built by the service",
            },
        )
        yield OperationEnded(
            at,
            "decision.event",
            key,
            completion={"answers": answers},
            model=values.name(decision.get("model")),
            usage=values.usage(decision.get("usage")),
        )
        if delegation is not None:
            yield from self._end(delegation, at, "decision.event", completion={"answers": answers})

    def answered(self, delegation_id: str, content: str, at: int) -> Iterator[Event]:
        """The application answered at `at`, and the service took the answer."""
        delegation, event_type = self._open.get(delegation_id), "session.commentary.append"
        completion = {"messages": [{"role": "assistant", "content": content}]}
        if delegation is None and delegation_id not in self._past:
            # It began before this connection joined.
            yield OperationEnded(at, event_type, delegation_id, completion=completion)
        elif delegation is not None and delegation.target == "client":
            yield from self._end(delegation, at, event_type, completion=completion)

    def close(self, at: int) -> Iterator[Event]:
        """The session is over."""
        yield from self.responses.taken()
        for delegation in list(self._open.values()):
            error = _UNANSWERED if delegation.target == "client" else _UNFINISHED
            yield from self._end(delegation, at, "session.closed", error=error)

    def _begin(
        self, delegation_id: str, target: str, offset_ms: int | None, at: int, event_type: str
    ) -> Iterator[Event]:
        if len(self._open) >= _MOST_FRAGMENTS:
            return
        known = target if target in _KINDS else "other"
        put(self._open, delegation_id, Delegation(delegation_id, known, at, offset_ms))
        yield OperationStarted(
            at,
            event_type,
            delegation_id,
            f"delegation: {target}",
            "tool" if known == "client" else "chain",
            prompt=self._about(offset_ms),
            is_current=True,
            facts={"delegation_id": delegation_id, "offset_ms": offset_ms, "input": "inferred"},
            is_agents=known == "client",
        )

    def _about(self, offset_ms: int | None) -> dict[str, Any] | None:
        messages = self._runs.said_until(offset_ms)
        return {"messages": messages} if messages else None

    def _end(
        self,
        delegation: Delegation,
        at: int,
        event_type: str,
        *,
        completion: Any = None,
        error: WireError | None = None,
    ) -> Iterator[Event]:
        del self._open[delegation.id]
        put(self._past, delegation.id, None)
        # Words that came late may have been its task.
        about = self._about(delegation.offset_ms)
        self._runs.asked(delegation.offset_ms)
        yield OperationEnded(
            at,
            event_type,
            delegation.id,
            prompt=about,
            completion=completion,
            error=error,
            facts={"offset_ms": delegation.offset_ms},
        )

    def _response_over(self, response: BackendResponse, error: WireError | None, at: int) -> Iterator[Event]:
        delegation = self._open.get(response.delegation_id or "")
        if delegation is None or self.responses.has_open_calls(delegation.id):
            return
        if response.calls and error is None:
            # All of them were answered before it was over: the next response is to come.
            return
        completion = {"messages": [{"role": "assistant", "content": response.text}]}
        yield from self._end(delegation, at, "response.event", completion=completion, error=error)
