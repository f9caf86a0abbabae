"""Responses of another model that work on a task, as their own stream of events comes nested in the session's.

Their snapshots are empty in a session: what they wrote and asked for is taken from the single events. A function
call names no response, so it belongs to the newest one of its delegation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from voicespan.openai_live import values
from voicespan.protocol.events import (
    ErrorReported,
    Event,
    FunctionAnswered,
    FunctionAnswerSent,
    FunctionCalled,
    FunctionCancelled,
    LocalId,
    OperationEnded,
    OperationStarted,
    WireError,
)
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Of what one response writes.
_LONGEST_TEXT = 1_000_000
_MOST_ITEMS = 256
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
#: Items that are no work of their own.
_QUIET = frozenset({"message", "reasoning"})


@dataclass(slots=True)
class BackendResponse:
    """One of them."""

    id: str
    started_at: int
    delegation_id: str | None
    texts: dict[str, str] = field(default_factory=dict)
    #: Characters of them.
    length: int = 0
    call_ids: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    #: When each hosted tool began, by item id.
    items: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What it wrote, as far as it came."""
        return "\n".join(text for text in self.texts.values() if text)


@dataclass(slots=True)
class _OpenCall:
    response: BackendResponse
    name: str
    #: None until its output was sent.
    output: str | None = None


@dataclass(slots=True)
class _Answer:
    """An output that was sent. The service acknowledges none, and refuses some."""

    call_id: str
    output: str
    event_id: str | None
    at: int


Finished: TypeAlias = "Callable[[BackendResponse, WireError | None, int], Iterator[Event]]"


class Responses:
    """Those of one session."""

    def __init__(self, finished: Finished) -> None:
        """`finished`: returns what it means that a response is over."""
        self._finished = finished
        #: The newest of each delegation; of None: those that the application began itself.
        self._newest: dict[str | None, BackendResponse] = {}
        self._open_calls: dict[str, _OpenCall] = {}
        self._sent: dict[str, _Answer] = {}
        #: What functions gave back since the last response began.
        self._given: list[dict[str, Any]] = []

    def has_open_calls(self, delegation_id: str | None) -> bool:
        """Whether a call of this delegation waits for its output."""
        return any(
            call.response.delegation_id == delegation_id and call.output is None
            for call in self._open_calls.values()
        )

    def nested(self, delegation_id: str | None, event: dict[str, Any], at: int) -> Iterator[Event]:
        """An event of a response's own stream."""
        kind = values.name(event.get("type")) or ""
        reader = self._READERS.get(kind)
        if reader is not None:
            yield from reader(self, delegation_id, event, kind, at)

    def answered(self, item: dict[str, Any], event_id: str | None, at: int) -> Iterator[Event]:
        """The application gives an item: the output of a call, or something else, which is the caller's affair."""
        call_id = values.name(item.get("call_id")) or ""
        call = self._open_calls.get(call_id)
        # An output for a call that nobody made is refused by the service.
        if values.name(item.get("type")) not in _OUTPUTS or call is None or call.output is not None:
            return
        call.output = values.output(item.get("output"))
        put(self._sent, call_id, _Answer(call_id, call.output, event_id, at))
        yield FunctionAnswerSent(at, "response.item.create", call_id)

    def expects(self, event_id: str) -> bool:
        """Whether this command's output can still be refused."""
        return any(answer.event_id == event_id for answer in self._sent.values())

    def refused(self, event_id: str | None, error: WireError) -> Iterator[Event]:
        """The service refused the command with this id: the call waits for another output."""
        for answer in [each for each in self._sent.values() if event_id and each.event_id == event_id]:
            del self._sent[answer.call_id]
            call = self._open_calls.get(answer.call_id)
            if call is not None:
                call.output = None
                yield self._answer(answer, call.name, refused=error)

    def taken(self) -> Iterator[Event]:
        """A response begins, or the session is over: the service answers in order, so what it did not refuse it took."""
        sent, self._sent = self._sent, {}
        for answer in sent.values():
            call = self._open_calls.pop(answer.call_id, None)
            if call is not None:
                message = {"role": "tool", "tool_call_id": answer.call_id, "name": call.name}
                self._given.append({**message, "content": answer.output})
                del self._given[:-_MOST_ITEMS]
                yield self._answer(answer, call.name)

    @staticmethod
    def _answer(answer: _Answer, name: str, refused: WireError | None = None) -> Event:
        return FunctionAnswered(
            answer.at,
            "response.item.create",
            answer.call_id,
            answer.output,
            name,
            LocalId.new("result"),
            refused=refused,
        )

    # One method for each nested event.

    def _created(
        self, delegation_id: str | None, event: dict[str, Any], kind: str, at: int
    ) -> Iterator[Event]:
        response_id = values.name(values.as_object(event.get("response")).get("id"))
        yield from self._begin(delegation_id, response_id, kind, at)

    def _begin(
        self, delegation_id: str | None, response_id: str | None, kind: str, at: int
    ) -> Iterator[Event]:
        yield from self.taken()
        response = BackendResponse(response_id or LocalId.new("response"), at, delegation_id)
        put(self._newest, delegation_id, response)
        given, self._given = self._given, []
        yield OperationStarted(
            at,
            f"response.event {kind}",
            response.id,
            "delegated_response",
            "llm",
            prompt={"messages": given} if given else None,
            within=delegation_id,
            facts={
                "response_id": response.id,
                "delegation_id": delegation_id,
                # The service builds it of the session and of what it keeps; only what functions gave is seen here.
                "input": "built by the service",
            },
        )

    def _current(self, delegation_id: str | None, kind: str, at: int) -> Iterator[Event]:
        """See to it that there is a response: who joins late has missed its beginning."""
        if delegation_id not in self._newest:
            yield from self._begin(delegation_id, None, kind, at)

    def _item_added(
        self, delegation_id: str | None, event: dict[str, Any], _kind: str, at: int
    ) -> Iterator[Event]:
        item_id = values.name(values.as_object(event.get("item")).get("id"))
        response = self._newest.get(delegation_id)
        if response is not None and item_id is not None:
            put(response.items, item_id, at)
        yield from ()

    def _item_done(
        self, delegation_id: str | None, event: dict[str, Any], kind: str, at: int
    ) -> Iterator[Event]:
        yield from self._current(delegation_id, kind, at)
        response, item = self._newest[delegation_id], values.as_object(event.get("item"))
        item_type = values.name(item.get("type")) or "item"
        if item_type in _CALLS:
            yield from self._call(response, item, values.text(item.get(_CALLS[item_type])) or "", kind, at)
        elif item_type == "message":
            item_id = values.name(item.get("id")) or ""
            self._write(response, item_id, values.words(item.get("content")), whole=True)
        elif item_type not in _QUIET:
            yield from _hosted(response, item, item_type, at)

    def _call(
        self, response: BackendResponse, item: dict[str, Any], arguments: str, kind: str, at: int
    ) -> Iterator[Event]:
        call_id = values.name(item.get("call_id")) or LocalId.new("call")
        if call_id in self._open_calls:
            return
        name = values.name(item.get("name")) or "unknown"
        put(self._open_calls, call_id, _OpenCall(response, name))
        if len(response.call_ids) < _MOST_ITEMS:
            response.call_ids.append(call_id)
            function = {"name": name, "arguments": arguments}
            response.calls.append({"id": call_id, "type": "function", "function": function})
        yield FunctionCalled(
            at,
            f"response.event {kind}",
            call_id,
            name,
            arguments,
            None,
            response.id,
            {"item_id": values.name(item.get("id")), "delegation_id": response.delegation_id},
            response.delegation_id,
        )

    def _text_delta(
        self, delegation_id: str | None, event: dict[str, Any], _kind: str, _at: int
    ) -> Iterator[Event]:
        response = self._newest.get(delegation_id)
        if response is not None:
            self._write(
                response, values.name(event.get("item_id")) or "", values.text(event.get("delta")) or ""
            )
        yield from ()

    def _text_done(
        self, delegation_id: str | None, event: dict[str, Any], kind: str, at: int
    ) -> Iterator[Event]:
        yield from self._current(delegation_id, kind, at)
        words = values.text(event.get("text")) or values.text(event.get("refusal")) or ""
        self._write(self._newest[delegation_id], values.name(event.get("item_id")) or "", words, whole=True)

    @staticmethod
    def _write(response: BackendResponse, item_id: str, words: str, *, whole: bool = False) -> None:
        known = response.texts.get(item_id, "")
        if len(response.texts) >= _MOST_ITEMS and item_id not in response.texts:
            return
        text = words if whole and words else known + words
        response.length += len(text) - len(known)
        if response.length <= _LONGEST_TEXT:
            response.texts[item_id] = text

    def _over(self, delegation_id: str | None, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        yield from self._current(delegation_id, kind, at)
        response = self._newest.pop(delegation_id)
        final = values.as_object(event.get("response"))
        status = values.name(final.get("status")) or kind.rpartition(".")[2]
        error = values.wire_error(final.get("error")) if status == "failed" else None
        reason = values.name(values.as_object(final.get("incomplete_details")).get("reason"))
        message: dict[str, Any] = {"role": "assistant", "content": response.text}
        if response.calls:
            message["tool_calls"] = response.calls
        yield OperationEnded(
            at,
            f"response.event {kind}",
            response.id,
            completion={"messages": [message]},
            model=values.name(final.get("model")) or None,
            usage=values.usage(final.get("usage")),
            error=error,
            facts={"status": status, "reason": reason},
        )
        if error is not None:
            # A failed response drops its calls.
            for call_id in [each for each in response.call_ids if each in self._open_calls]:
                del self._open_calls[call_id]
                yield FunctionCancelled(at, kind, call_id)
        yield from self._finished(response, error, at)

    def _error(self, delegation_id: str | None, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        error = values.wire_error(event.get("error") if "error" in event else event)
        yield ErrorReported(at, f"response.event {kind}", error, {"delegation_id": delegation_id})

    _READERS: ClassVar[dict[str, Any]] = {
        "response.created": _created,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.output_text.delta": _text_delta,
        "response.output_text.done": _text_done,
        "response.refusal.done": _text_done,
        "response.completed": _over,
        "response.incomplete": _over,
        "response.failed": _over,
        "response.cancelled": _over,
        "error": _error,
    }


def _hosted(response: BackendResponse, item: dict[str, Any], item_type: str, at: int) -> Iterator[Event]:
    """A tool that the service runs itself is complete when its item is."""
    key = LocalId.new(item_type)
    tool = values.name(item.get("name"))
    error = values.wire_error(item.get("error")) if item.get("error") else None
    started_at = response.items.get(values.name(item.get("id")) or "", at)
    event_type = "response.event response.output_item.done"
    given = {"arguments": item["arguments"]} if item.get("arguments") else None
    yield OperationStarted(
        started_at,
        event_type,
        key,
        item_type if tool is None else f"{item_type}: {tool}",
        "tool",
        prompt=given,
        within=response.delegation_id,
        facts={"item_id": values.name(item.get("id")), "response_id": response.id},
        tool=tool or item_type,
    )
    yield OperationEnded(at, event_type, key, completion=item, error=error)
