"""Whose a span is, and what it is for the trace of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.protocol import events
from voicespan.tracing import semconv
from voicespan.tracing.messages import own_name
from voicespan.tracing.server_spans import is_message

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

#: The calls of the models of a cascade.
_STAGES = ("stt", "llm", "tts")
_ESSENTIAL_NAMES = frozenset(
    {
        events.INPUT_TRANSCRIPTION,
        events.OUTPUT_TRANSCRIPTION,
        events.TURN_COMPLETE,
        events.INTERRUPTED,
        events.ERROR,
        *_STAGES,
        "session.created",
        "session.started",
        "session.updated",
        "session.closed",
        "delegated_response",
        "decision",
        "setup_complete",
        "go_away",
        "session_resumption_update",
    }
)
_OUR_SCOPES = f"{semconv.SCOPE}."
CALL_PREFIX = f"{events.FUNCTION_CALL}: "
_ESSENTIAL_PREFIXES = (CALL_PREFIX, f"{events.FUNCTION_RESPONSE}: ", "delegation: ")
#: Whose client libraries, switched on, make a span of each frame: Azure Voice Live's.
_TRACE_THEIR_FRAMES = frozenset({"az.ai.voicelive"})
#: The instrumentation scope of the `langsmith` package in its OpenTelemetry mode.
_LANGSMITH_SCOPE = "langsmith"


def is_ours(span: ReadableSpan) -> bool:
    """Whether voicespan wrote the span."""
    scope = span.instrumentation_scope
    return scope is not None and (scope.name == semconv.SCOPE or scope.name.startswith(_OUR_SCOPES))


def is_child(span: ReadableSpan) -> bool:
    """Whether the span is one of those that voicespan writes below its roots."""
    return is_ours(span) and span.attributes is not None and semconv.EVENT_TYPE in span.attributes


def stays_open(span: ReadableSpan) -> bool:
    """Whether one of those lasts: a function call, or the call of a model. All others end where they start."""
    return span.name in _STAGES or span.name.startswith(CALL_PREFIX)


def is_root(span: ReadableSpan) -> bool:
    """Whether the span is the root of a conversation."""
    return is_ours(span) and (span.attributes or {}).get(semconv.MODALITY) == "audio"


def is_essential(span: ReadableSpan) -> bool:
    """Whether the span is kept when a conversation has more than LangSmith takes."""
    return is_ours(span) and (
        own_name(span.name) in _ESSENTIAL_NAMES or span.name.startswith(_ESSENTIAL_PREFIXES)
    )


def is_langsmiths(span: ReadableSpan) -> bool:
    """Whether the `langsmith` package wrote the span: it starts and ends its spans later, in a thread."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name == _LANGSMITH_SCOPE


def repeats_ours(span: ReadableSpan) -> bool:
    """Whether a client library's own tracing wrote the span, for a frame that has a span of ours as well."""
    # The cheaper question first: a missing attribute raises an exception inside the SDK.
    return not is_ours(span) and (span.attributes or {}).get(semconv.SYSTEM) in _TRACE_THEIR_FRAMES


def is_server_message(span: ReadableSpan) -> bool:
    """Whether a server's instrumentation wrote the span, of a message that crossed its socket."""
    return is_message(span.instrumentation_scope, span.attributes)
