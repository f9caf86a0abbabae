"""Function calls, from the request to the answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.content.truncation import cut_text
from voicespan.protocol import events
from voicespan.protocol.events import LocalId, WireError
from voicespan.runtime.bounded import MOST, put
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.events import FunctionCalled
    from voicespan.tracing.spans.current import CurrentSpan
    from voicespan.tracing.spans.span_writer import SpanWriter

#: Of arguments in messages, which stand in several spans; the call's own has them whole.
_LONGEST_ARGUMENTS = 64_000
_NEVER_ANSWERED = WireError("never_answered", "the conversation ended before this call was answered")
_REPEATED = WireError("repeated", "another call came under the same id")
_CANCELLED = WireError("cancelled", "the model no longer wanted the answer")


@dataclass(slots=True)
class _Call:
    #: None: the budget of spans was used up.
    span: Span | None
    name: str
    arguments: str
    began_at: int
    #: A hash of what was answered.
    output: int | None
    #: As it stands in the messages.
    message: dict[str, Any]


class FunctionCalls:
    """The function calls of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(self, writer: SpanWriter, current: CurrentSpan) -> None:
        """`current` is kept up to date on which calls are open."""
        self._writer = writer
        self._current = current
        self._open: dict[str, _Call] = {}
        self._past: dict[str, _Call] = {}

    def begin(self, event: FunctionCalled, arguments: str, parent: Span | None = None) -> dict[str, Any]:
        """The model asked for a call, as part of `parent` or the root. Returns the call as the OpenAI chat API writes it, which LangSmith renders."""
        message = call_message(event, arguments)
        attributes: dict[str, AttributeValue] = {
            semconv.OPERATION: "execute_tool",
            semconv.TOOL_NAME: event.name,
            semconv.TOOL_TYPE: "function",
        }
        if not isinstance(event.call_id, LocalId):
            attributes[semconv.TOOL_CALL_ID] = event.call_id
        span = self._writer.begin(
            f"{events.FUNCTION_CALL}: {event.name}",
            event.event_type,
            event.at,
            kind="tool",
            prompt=_json_or_text(arguments),
            facts={
                "call_id": event.call_id,
                "item_id": event.item_id,
                "response_id": event.response_id,
                **event.facts,
            },
            attributes=attributes,
            parent=parent,
        )
        self._end(event.call_id, event.at, error=_REPEATED)
        self._open[event.call_id] = _Call(span, event.name, event.arguments, event.at, None, message)
        if len(self._open) > MOST:
            self._end(next(iter(self._open)), event.at, error=_NEVER_ANSWERED)
        if not event.by_service:
            self._current.opened(_current_key(event.call_id), span, event.within)
        return message

    def is_repeated(self, event: FunctionCalled) -> bool:
        """Whether this very call is known: two connections can be of one session."""
        call = self._find(event.call_id)
        return call is not None and call.name == event.name and call.arguments == event.arguments

    def is_answered(self, call_id: str, output: str) -> bool:
        """Whether it has had this very answer."""
        call = self._past.get(call_id)
        return call is not None and call_id not in self._open and call.output == hash(output)

    def answer_sent(self, call_id: str) -> None:
        """The application is done with it; the service has not taken the answer yet."""
        self._current.closed(_current_key(call_id))

    def answer_refused(self, call_id: str) -> None:
        """The service did not take the answer: the application has to give another one."""
        call = self._open.get(call_id)
        if call is not None:
            self._current.opened(_current_key(call_id), call.span)

    def answer(
        self,
        call_id: str,
        at: int,
        output: str,
        error: WireError | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """The answer is there, or the last piece of it. `error`, `facts`: of what the service ran itself."""
        call = self._open.get(call_id)
        if call is not None:
            call.output = hash(output)
            if error is None:
                self._writer.counts.figures.add_tool(at - call.began_at)
        self._end(call_id, at, error=error, completion=_json_or_text(output), facts=facts)

    def answer_unseen(self, call_id: str, at: int) -> None:
        """The application gave the answer past everything that sees the frames."""
        call = self._open.get(call_id)
        if call is not None and call.span is not None:
            call.span.set_attribute(f"{semconv.METADATA}answer", "unseen")
        self._end(call_id, at)

    def cancel(self, call_id: str, at: int) -> None:
        """The service took the request back."""
        self._end(call_id, at, error=_CANCELLED)

    def finish(self, at: int) -> None:
        """The conversation is over."""
        for call_id in list(self._open):
            self._end(call_id, at, error=_NEVER_ANSWERED)

    def answered_by(self, call_id: str, name: str | None) -> str:
        """The id of the call that an answer with these belongs to.

        Where a service gives no ids, a call of an earlier connection is known by its name alone.
        """
        if not isinstance(call_id, LocalId) or call_id in self._open:
            return call_id
        return next((each for each, call in self._open.items() if call.name == name), call_id)

    def name_of(self, call_id: str) -> str | None:
        """The function's name, as far as the call is remembered."""
        call = self._find(call_id)
        return None if call is None else call.name

    def span(self, call_id: object) -> Span | None:
        """The span of a call, open or past; the application may ask for anything."""
        call = self._find(call_id)
        return None if call is None else call.span

    def messages(self, call_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Those that are remembered, as `begin` returned them."""
        return [call.message for call_id in call_ids if (call := self._find(call_id)) is not None]

    @property
    def is_waiting(self) -> bool:
        """Whether a call waits for its answer."""
        return bool(self._open)

    def open(self) -> dict[str, tuple[str, Span]]:
        """Name and span of every call that waits for its answer, by call id."""
        return {
            call_id: (call.name, call.span) for call_id, call in self._open.items() if call.span is not None
        }

    def _find(self, call_id: object) -> _Call | None:
        if not isinstance(call_id, str):
            return None
        return self._open.get(call_id) or self._past.get(call_id)

    def _end(
        self,
        call_id: str,
        at: int,
        *,
        error: WireError | None = None,
        completion: Any = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        call = self._open.pop(call_id, None)
        if call is None:
            return
        put(self._past, call_id, call)
        if call.span is not None:
            self._writer.end(call.span, at, error=error, completion=completion, facts=facts)
        self._current.closed(_current_key(call_id))


def call_message(event: FunctionCalled, arguments: str) -> dict[str, Any]:
    """The call as the OpenAI chat API writes it, which LangSmith renders. `arguments`: as they may be stored."""
    message: dict[str, Any] = {
        "type": "function",
        "function": {"name": event.name, "arguments": cut_text(arguments, _LONGEST_ARGUMENTS)},
    }
    return message if isinstance(event.call_id, LocalId) else {"id": event.call_id, **message}


def _current_key(call_id: str) -> str:
    # An operation may have the same id.
    return f"call {call_id}"


def _json_or_text(text: str) -> Any:
    """What a function got or gave: its JSON object if it is one, else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"text": text} if text else {}
    return value if isinstance(value, dict) else {"value": value}
