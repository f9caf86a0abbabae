"""The root span of a conversation: how it starts, what it says beside its times, how it ends."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from voicespan.content.truncation import cut_text, encode, metadata, size_of
from voicespan.protocol.events import SessionDescribed
from voicespan.protocol.json_values import safe_str
from voicespan.runtime import guard
from voicespan.runtime.clock import WallClock
from voicespan.runtime.settings import NO_LIMIT, ROOT_TRANSCRIPT_BYTES
from voicespan.runtime.version import __version__
from voicespan.tracing import semconv
from voicespan.tracing import tracer as tracing_tracer
from voicespan.tracing.context import CURRENT
from voicespan.tracing.sessions import SESSION_EVENTS, Sessions
from voicespan.tracing.spans import span_writer

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.protocol.events import Event, WireError
    from voicespan.runtime.clock import Clock
    from voicespan.runtime.settings import Settings
    from voicespan.tracing.context import ConversationContext
    from voicespan.tracing.messages import Written

_MOST_METADATA = 40
_MOST_TAGS = 40
#: And of so many it is asked which those are: some may be the same, or empty.
_MOST_TAGS_GIVEN = 1_000
_LONGEST_TAG = 200
#: Of names and ids that the application gives.
_LONGEST_NAME = 1_000
#: Longer ones than this the propagator complains of; a real one has 55 characters.
_LONGEST_TRACEPARENT = 256
#: Metadata keys that LangSmith would take for the thread before `thread_id`.
_THREAD_RIVALS = ("session_id", "conversation_id")

_warned_rivals: set[str] = set()


class RootSpan:
    """Of one conversation. Not thread-safe: the lifecycle's lock is held, but where it says that it is not.

    What asks the users' `redact` does so in a step of its own (`redacted_...`), without that lock.
    """

    def __init__(
        self, content: Content, clock: Clock, tracer_provider: TracerProvider | None, settings: Settings
    ) -> None:
        """Where it is not to be traced at all, no tracer is asked for."""
        self.tracer = tracing_tracer.tracer(tracer_provider) if settings.enabled else None
        self.content = content
        self.span: Span = trace.INVALID_SPAN
        self.started_at = clock.monotonic_ns()
        #: From monotonic nanoseconds to the wall clock. No span begins before the root, and none ends after it.
        self.wall = WallClock(clock, self.started_at)
        #: What is known of the model, for the llm spans.
        self.provider: dict[str, AttributeValue] = {}
        self._value_limit = NO_LIMIT if self.tracer is None else tracing_tracer.content_limit(self.tracer)
        self._first: dict[str, AttributeValue] = {}
        self._metadata: dict[str, AttributeValue] = {}
        self._tags: tuple[str, ...] = ()
        self.sessions = Sessions(content, self.wall, keeps_request=settings.request)

    # Its start.

    def start(
        self,
        name: str,
        conversation_context: ConversationContext,
        *,
        thread_id: str,
        parent: str,
        continues: str | None,
    ) -> Context | None:
        """Start the span. Returns the context that its children are written in; None: it is not recorded.

        `parent`: as VOICESPAN_PARENT. `continues`: the `traceparent` of an earlier part.
        """
        # Where it is switched off, processors must not see a span that nobody will end.
        if self.tracer is None:
            return None
        opened_in = otel_context.get_current()
        context, links = (opened_in, []) if parent != "root" else _as_root(opened_in)
        if continues is not None:
            links += _link_to(continues)
        context = otel_context.set_value(CURRENT, conversation_context, context)
        self._first = {
            semconv.THREAD_ID: thread_id,
            semconv.CONVERSATION_ID: thread_id,
            semconv.OPERATION: semconv.INVOKE_AGENT,
            semconv.SPAN_KIND: "chain",
            semconv.MODALITY: "audio",
            semconv.INTEGRATION: "voicespan",
            semconv.INTEGRATION_VERSION: __version__,
        }
        self.sessions.common.update({semconv.THREAD_ID: thread_id, semconv.CONVERSATION_ID: thread_id})
        self.span = self.tracer.start_span(
            name, context=context, attributes=self._first, links=links, start_time=self.wall(self.started_at)
        )
        if not self.span.is_recording():
            return None
        conversation_context.open(self.span, opened_in)
        return trace.set_span_in_context(self.span, context)

    def writer(self, context: Context, settings: Settings) -> span_writer.SpanWriter:
        """Writes its children, in `context`. It has been started."""
        assert self.tracer is not None  # noqa: S101
        return span_writer.SpanWriter(
            self.tracer,
            context,
            self.content,
            settings,
            sessions=self.sessions,
            wall=self.wall,
            provider=self.provider,
        )

    # What it says.

    def describe(self, attributes: Mapping[str, AttributeValue]) -> None:
        """What is known of the model and the server by now."""
        self.provider.update(
            {
                key: value
                for key, value in attributes.items()
                if key not in (semconv.SERVER_ADDRESS, semconv.SERVER_PORT)
            }
        )
        self.span.set_attributes(attributes)
        self._first.update(attributes)

    def locate_recording(self, place: str) -> None:
        """Say where the recording will be."""
        located = {semconv.RECORDING_PATH: cut_text(place, _LONGEST_NAME)}
        self.span.set_attributes(located)
        self._first.update(located)

    def redacted_metadata(self, facts: Mapping[Any, Any]) -> Mapping[str, AttributeValue]:
        """The application's metadata as it may be stored. The lock is not held."""
        # One more than are kept, so that it is said that some are not.
        given = dict.items(facts) if isinstance(facts, dict) else facts.items()
        some = {safe_str(key): fact for key, fact in islice(given, _MOST_METADATA + 1)}
        return self.content.facts(some, self._value_limit)

    def set_metadata(self, facts: Mapping[str, AttributeValue]) -> None:
        """Keep metadata, up to the most that are kept."""
        for key, fact in facts.items():
            if key in _THREAD_RIVALS:
                _warn_of_rival(key)
            if key not in self._metadata and len(self._metadata) >= _MOST_METADATA:
                guard.warn("voicespan keeps %d metadata keys a conversation", _MOST_METADATA)
                break
            self._metadata[key] = fact

    def redacted_tags(self, tags: Iterable[object]) -> list[str]:
        """The application's tags as they may be stored. The lock is not held."""
        kept: dict[str, None] = {}
        for tag in islice(tags, _MOST_TAGS_GIVEN):
            text = self.content.text(safe_str(tag), role="system", place="metadata") or ""
            # LangSmith takes one comma-separated string.
            kept[cut_text(text.replace(",", " "), _LONGEST_TAG)] = None
            if len(kept) > _MOST_TAGS:
                break
        return [tag for tag in kept if tag]

    def add_tags(self, tags: Iterable[str]) -> None:
        """Keep tags, while there is room."""
        for tag in tags:
            if tag not in self._tags and len(self._tags) < _MOST_TAGS:
                self._tags += (tag,)

    def record_session(self, event: Event, lock: threading.RLock) -> bool:
        """What happened to a session, if that is what `event` says. `lock`: the lifecycle's, not held yet."""
        if not isinstance(event, SESSION_EVENTS):
            return False
        stored = self.sessions.redacted(event, self._value_limit)
        with lock:
            if isinstance(event, SessionDescribed) and event.model is not None:
                self.describe({semconv.REQUEST_MODEL: event.model})
            self.sessions.record(event, stored, self.span, self._first)
        return True

    def attributes(self, facts: Mapping[str, Any]) -> dict[str, AttributeValue]:
        """All of it but the messages, as attributes, with further `facts` as metadata."""
        all_facts = {
            **self.sessions.facts(),
            **facts,
        }
        known = {**metadata(all_facts, self._value_limit), **self._metadata}
        attributes = {semconv.METADATA + key: fact for key, fact in known.items()}
        attributes.update(self.sessions.attributes())
        if self._tags:
            attributes[semconv.SPAN_TAGS] = ",".join(self._tags)
        return attributes

    def checkpoint(self, facts: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
        """With what it started with: all that it would say if it ended now, but for the messages."""
        return {**self._first, **facts}

    def messages(self, messages: list[Written]) -> dict[str, AttributeValue]:
        """Inputs: up to the user's first words; outputs: the rest. Together in spoken order, each text once.

        Of a long conversation this takes milliseconds: the lock is not held.
        """
        first = next((index for index, message in enumerate(messages) if message.role == "user"), -1) + 1
        attributes: dict[str, AttributeValue] = {}
        if messages[:first]:
            attributes[semconv.INPUT_MESSAGES] = self._joined([each.json for each in messages[:first]])
        if messages[first:]:
            # Each is an object: the reason is one member more.
            came = [f'{each.json[:-1]},"finish_reason":"{each.finish_reason}"}}' for each in messages[first:]]
            attributes[semconv.OUTPUT_MESSAGES] = self._joined(came)
        return attributes

    def _joined(self, messages: list[str]) -> str:
        limit = min(ROOT_TRANSCRIPT_BYTES, self._value_limit)
        text = f"[{','.join(messages)}]"
        return text if size_of(text) <= limit else encode(json.loads(text), limit)

    # Its end.

    def fail(self, failure: WireError | None, at: int) -> None:
        """The conversation failed. The lock is not held: the message is redacted."""
        if failure is not None:
            span_writer.mark_error(self.span, self.content.error(failure) or failure, self.wall(at))

    def end(self) -> None:
        """End the span, at the latest time that any span of the conversation has. No lock but the queue's is held."""
        span_writer.end(self.span, self.wall.last, self.provider, is_root=True)


def given_name(name: object) -> str | None:
    """What the application calls something, whatever it gave; None: nothing."""
    return None if name is None else cut_text(safe_str(name), _LONGEST_NAME) or None


def _as_root(opened_in: Context) -> tuple[Context, list[Link]]:
    """A real root, linked to what is current: LangSmith silently drops a tree whose root's parent it never sees.

    The baggage, which lives in the same context, is kept.
    """
    before = trace.get_current_span(opened_in).get_span_context()
    links = [trace.Link(before, {"voicespan.link": "opened_in"})] if before.is_valid else []
    return trace.set_span_in_context(trace.INVALID_SPAN, opened_in), links


def _link_to(traceparent: object) -> list[Link]:
    context = TraceContextTextMapPropagator().extract(
        {"traceparent": safe_str(traceparent)[:_LONGEST_TRACEPARENT]}
    )
    earlier = trace.get_current_span(context).get_span_context()
    if not earlier.is_valid:
        guard.warn("continues= is not a traceparent; the conversation is not linked")
        return []
    return [trace.Link(earlier, {"voicespan.link": "continues"})]


def _warn_of_rival(key: str) -> None:
    if key not in _warned_rivals:
        _warned_rivals.add(key)
        guard.warn(
            "LangSmith groups by the metadata %r before thread_id; this conversation may be grouped by it",
            key,
        )
