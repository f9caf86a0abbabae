"""Writes child spans of the root, each within its bounds: bytes, attributes, and how many there may be."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from voicespan.content.truncation import encode
from voicespan.protocol.events import TURN_COMPLETE, LocalId, WireError
from voicespan.protocol.json_values import parsed
from voicespan.runtime import settings
from voicespan.runtime.measurements import SHARED
from voicespan.tracing import semconv
from voicespan.tracing.messages import named
from voicespan.tracing.span_limits import content_limit
from voicespan.tracing.spans.usage import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.protocol.events import Event
    from voicespan.tracing.sessions import Sessions

#: The SDK drops the oldest attributes past its limit (128), and those are the ones that name the span.
_MOST_ATTRIBUTES = 60
#: What contents leave to the other attributes, beyond those that are already there.
_SPARE_BYTES = 2_000
_SMALLEST_SHARE = 200
#: Of a span with so few characters, each of which has at most 4 bytes, nothing needs to be cut: nearly every one.
_SHORT = 6_000


class SpanWriter:
    """Writes the spans of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self,
        tracer: Tracer,
        context: Context,
        content: Content,
        config: settings.Settings,
        *,
        sessions: Sessions,
        wall: Callable[[int], int],
        provider: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        """`context`: the root is current in it. `sessions` say what stands on every span.

        `provider` gives the model's facts: they stand on generations and on the metrics of all spans.

        `wall` maps monotonic nanoseconds, which every time here is, to the wall clock.
        """
        self._tracer = tracer
        self._context = context
        self._content = content
        self._raw_events = config.raw_events
        self.counts = Counters()
        self.sessions = sessions
        self._common = sessions.common
        self._draft_names = config.draft_names
        self._wall = wall
        self.provider: Mapping[str, AttributeValue] = {} if provider is None else provider
        self._value_limit = content_limit(tracer)
        self._written = 0
        #: The frame whose events are written, for VOICESPAN_RAW_EVENTS.
        self.frame: Any = None

    def raw(self, frame: Any) -> Any:
        """The frame as it is now, where VOICESPAN_RAW_EVENTS asks for it."""
        return _parsed(frame) if self._raw_events else None

    def write(
        self,
        name: str,
        event: Event,
        *,
        started_at: int | None = None,
        kind: str = "chain",
        prompt: Any = None,
        completion: Any = None,
        facts: Mapping[str, Any] | None = None,
        error: WireError | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        essential: bool = True,
        raw: bool = True,
    ) -> None:
        """A span that is over: from `started_at`, or from the event itself, to the event.

        `prompt`, `completion` and `error` are as they may be stored. `facts` become metadata, those that are None
        are left out.
        `essential`: it is kept when the budget of spans is nearly used up. `raw`: it may carry its frame.
        """
        began = event.at if started_at is None else min(started_at, event.at)
        span = self.begin(
            name,
            event.event_type,
            began,
            kind=kind,
            prompt=prompt,
            completion=completion,
            facts=facts,
            attributes=attributes,
            essential=essential,
            raw=raw,
        )
        if span is None:
            return
        if error is not None:
            mark_error(span, error, self._wall(event.at))
        end(span, self._wall(event.at), self.provider)

    def begin(
        self,
        name: str,
        event_type: str,
        at: int,
        *,
        kind: str,
        prompt: Any = None,
        completion: Any = None,
        facts: Mapping[str, Any] | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        essential: bool = True,
        raw: bool = True,
        parent: Span | None = None,
    ) -> Span | None:
        """A span that ends later, under `parent` or the root; None: the budget is used up."""
        if self._written >= (settings.SPAN_LIMIT if essential else settings.SPAN_BUDGET):
            self.counts.dropped_spans += 1
            return None
        self._written += 1
        whole: dict[str, AttributeValue] = {
            **self._common,
            semconv.SPAN_KIND: kind,
            semconv.EVENT_TYPE: event_type,
        }
        if attributes:
            whole.update(attributes)
        if facts:
            known = {
                key: fact for key, fact in facts.items() if fact is not None and type(fact) is not LocalId
            }
            room = max(_MOST_ATTRIBUTES - len(whole) - 3, 0)
            for key, value in islice(self._content.names(known, self._value_limit).items(), room):
                whole[semconv.METADATA + key] = value
        if self._draft_names and name == TURN_COMPLETE:
            whole[semconv.OPERATION] = semconv.REALTIME_INFERENCE
            name = f"{semconv.REALTIME_INFERENCE} {whole.get(semconv.REQUEST_MODEL, '')}".rstrip()
        self._add_content(whole, prompt, completion, self.frame if raw and self._raw_events else None)
        return self._tracer.start_span(
            name,
            context=self._context if parent is None else trace.set_span_in_context(parent, self._context),
            kind=SpanKind.CLIENT if kind == "llm" else SpanKind.INTERNAL,
            attributes=whole,
            start_time=self._wall(at),
        )

    def end(
        self,
        span: Span,
        at: int,
        *,
        error: WireError | None = None,
        prompt: Any = None,
        completion: Any = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """End a span that was begun, with what has come of it, and what was not known at its beginning."""
        share = min(settings.CHILD_SPAN_BYTES // 2 - 2 * _SPARE_BYTES, self._value_limit)
        for name, content in named(prompt, completion, getattr(span, "attributes", None) or {}):
            span.set_attribute(name, encode(content, share))
        for key, value in self._content.names(facts or {}, self._value_limit).items():
            span.set_attribute(semconv.METADATA + key, value)
        if error is not None:
            mark_error(span, error, self._wall(at))
        # Frames of several threads can overtake each other.
        end(span, max(self._wall(at), getattr(span, "start_time", None) or 0), self.provider)

    def _add_content(
        self, whole: dict[str, AttributeValue], prompt: Any, completion: Any, frame: Any
    ) -> None:
        """Share what is left of the span's bytes among its contents."""
        present: dict[str, Any] = dict(named(prompt, completion, whole))
        if frame is not None:
            present[semconv.RAW_EVENT] = self._content.frame(frame, role="assistant")
        if not present:
            return
        texts = {key: encode(value, self._value_limit) for key, value in present.items()}
        # What is no text is taken for one here: a few characters.
        if sum(map(len, map(str, (*whole.values(), *texts.values())))) > _SHORT:
            share = self._share_of(whole, len(present))
            texts = {key: encode(value, share) for key, value in present.items()}
        whole.update(texts)

    def _share_of(self, whole: Mapping[str, AttributeValue], contents: int) -> int:
        used = sum(len(key) + len(str(value).encode()) for key, value in whole.items())
        # A function call still gets its result: half of the room is kept for it.
        shares = max(contents, 2 if whole[semconv.SPAN_KIND] == "tool" else 1)
        share = max((settings.CHILD_SPAN_BYTES - used - _SPARE_BYTES) // shares, _SMALLEST_SHARE)
        return min(share, self._value_limit)


def end(span: Span, at: int, provider: Mapping[str, AttributeValue], *, is_root: bool = False) -> None:
    """End a span (wall clock, nanoseconds), and have it measured."""
    span.end(at)
    SHARED.span_ended(span, provider, is_root=is_root)


def mark_error(span: Span, error: WireError, at: int) -> None:
    """ERROR and an `exception` event, always both: LangSmith's ingest reads the event, everybody else the status.

    `at`: wall clock, nanoseconds.
    """
    span.set_attribute(semconv.ERROR_TYPE, error.type)
    span.add_event(
        semconv.EXCEPTION_EVENT,
        {semconv.EXCEPTION_TYPE: error.type, semconv.EXCEPTION_MESSAGE: error.message},
        at,
    )
    span.set_status(Status(StatusCode.ERROR, error.message))


def _parsed(frame: Any) -> Any:
    if isinstance(frame, (bytes, str)):
        value = parsed(frame)
        return {"unreadable": f"{len(frame)} bytes"} if value is None else value
    if hasattr(frame, "model_dump"):
        return frame.model_dump(by_alias=True, exclude_none=True, warnings=False)
    return frame
