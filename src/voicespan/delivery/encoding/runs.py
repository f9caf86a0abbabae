"""What LangSmith's OTLP ingest makes of a span, said as a run of its REST API.

A conversation that is shown while it runs goes by that API, and its runs are to be those that the same copies would
have become. Of several attributes for one fact the first that is *present* decides, and what no table names is left
out, as LangSmith documents under "Trace with OpenTelemetry" and as its public collector proxy converts spans.
"""

from __future__ import annotations

import base64
import json
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_RUN_TYPES = {kind: kind for kind in ("llm", "chain", "tool", "retriever", "embedding", "prompt", "parser")}
_KINDS = {kind: kind for kind in ("tool", "llm", "retriever", "embedding")}
#: An attribute, what its values say of the run's type, and what any other value says. The first that is there decides.
_TYPE_BY = (
    (semconv.SPAN_KIND, _RUN_TYPES, "chain"),
    ("gen_ai.operation.name", {"chat": "llm", "completion": "llm", "embedding": "embedding"}, "chain"),
    ("llm.request.type", {"embedding": "embedding"}, "llm"),
    ("openinference.span.kind", _KINDS, "chain"),
    ("traceloop.span.kind", _KINDS, "chain"),
)
#: These win over all of those.
_TYPE_FORCED_BY = {"gen_ai.tool.name": "tool", "llm.prompt_template.variables": "prompt"}
_NAME_BY = ("langsmith.trace.name", "traceloop.entity.name")

#: What a side of a run is read from, best first: messages that are numbered attributes, one attribute that holds them
#: all, and texts, with the name that a text has which is no JSON object.
_INPUTS_BY = (
    ("gen_ai.prompt", "llm.input_messages"),
    "gen_ai.input.messages",
    ("input.value", "traceloop.entity.input", "gen_ai.prompt", "prompt"),
    "input",
)
_OUTPUTS_BY = (
    ("gen_ai.completion", "llm.output_messages"),
    "gen_ai.output.messages",
    ("output.value", "traceloop.entity.output", "gen_ai.completion", "all_messages_events"),
    "text",
)
_ASKED = frozenset({"gen_ai.system.message", "gen_ai.user.message"})
_ANSWERED = frozenset({"gen_ai.assistant.message", "gen_ai.tool.message"})

_PROVIDER_BY = ("gen_ai.system", "gen_ai.provider.name", "llm.system")
_MODEL_BY = ("gen_ai.request.model", "gen_ai.response.model", "model", "llm.model_name")
_METADATA_PREFIXES = ("traceloop.association.properties.", semconv.METADATA)
_PARAMETERS = (
    "gen_ai.request.temperature",
    "gen_ai.request.top_p",
    "gen_ai.request.top_k",
    "gen_ai.request.max_tokens",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.presence_penalty",
    "gen_ai.request.seed",
    "gen_ai.request.stop_sequences",
    "gen_ai.request.encoding_formats",
    "gen_ai.request.model",
    # In this order: where both are there, `model` is the response's.
    "gen_ai.response.model",
)
_USAGE_BY = {
    "input_tokens": ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    "output_tokens": (
        "gen_ai.usage.completion_tokens",
        "gen_ai.usage.output_tokens",
        "llm.token_count.completion",
    ),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    "reasoning_tokens": ("gen_ai.usage.details.reasoning_tokens",),
}


class Place(NamedTuple):
    """Where a run stands in its tree."""

    #: Of the root, as OpenTelemetry has it: 16 hexadecimal digits.
    root: str
    #: None: it is the root.
    parent: str | None
    #: See `segment`; from the root down to the run itself, joined by periods.
    dotted_order: str


def run_id(span_id: str) -> str:
    """The id of the run that LangSmith makes of a span: eight zero bytes, then the span's. `span_id`: hexadecimal."""
    return str(uuid.UUID(hex=span_id.rjust(32, "0")))


def segment(span: Span) -> str:
    """What a run adds to the dotted order of what is below it: its start in UTC and its id."""
    return segment_of(span.span_id.hex(), span.start_time_unix_nano)


def segment_of(span_id: str, start: int) -> str:
    """That of the span with this id (hexadecimal) and start (wall clock, nanoseconds)."""
    return f"{_time(start):%Y%m%dT%H%M%S%fZ}{run_id(span_id)}"


def opened(span: Span, place: Place, resource: bytes, project: str) -> dict[str, Any]:
    """The run of a span that is open, as it is created."""
    run = _whole(span, place, resource, project)
    for name in ("end_time", "outputs", "error"):
        run.pop(name, None)
    return run


def ended(span: Span, place: Place, resource: bytes, project: str) -> dict[str, Any]:
    """The run of a span that has ended: as it is created, or as what was created is completed."""
    return _whole(span, place, resource, project)


def _whole(span: Span, place: Place, resource: bytes, project: str) -> dict[str, Any]:
    """`resource`: what an envelope of the journal has; only a root's is told."""
    own = _values(span.attributes)
    shared = {} if place.parent else _values(ResourceSpans.FromString(resource).resource.attributes)
    run: dict[str, Any] = {
        "id": run_id(span.span_id.hex()),
        "trace_id": run_id(place.root),
        "parent_run_id": None if place.parent is None else run_id(place.parent),
        "dotted_order": place.dotted_order,
        "session_name": project,
        "name": _text(own, _NAME_BY) or _tool_name(own) or span.name,
        "run_type": _type(own),
        "start_time": _time(span.start_time_unix_nano).isoformat(),
        "end_time": _time(span.end_time_unix_nano).isoformat(),
        "extra": {"metadata": _metadata(own, shared), "invocation_params": _parameters(own)},
        "tags": [
            tag.strip() for tag in (_text(own, ("langsmith.span.tags",)) or "").split(",") if tag.strip()
        ],
        "error": _error(span),
    }
    asked, answered = _from_events(span)
    inputs, outputs = asked or _side(own, *_INPUTS_BY), answered or _side(own, *_OUTPUTS_BY)
    usage = _usage(own)
    if outputs is not None and usage:
        outputs = {**outputs, "usage_metadata": usage}
    return run | {"inputs": inputs or {}, "outputs": outputs or {}}


def _time(ns: int) -> datetime:
    """To the microsecond, as LangSmith keeps times."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)


def _type(own: Mapping[str, Any]) -> str:
    forced = [kind for name, kind in _TYPE_FORCED_BY.items() if name in own]
    if forced:
        return forced[-1]
    for name, meanings, otherwise in _TYPE_BY:
        if name in own:
            return meanings.get(str(own[name]).lower(), otherwise)
    return "chain"


def _tool_name(own: Mapping[str, Any]) -> str | None:
    return _text(own, ("tool.name",)) if own.get("openinference.span.kind") == "TOOL" else None


def _metadata(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(shared)
    for name, sources in (("ls_provider", _PROVIDER_BY), ("ls_model_name", _MODEL_BY)):
        found = _text(own, sources)
        if found is not None:
            metadata[name] = found
    for prefix in _METADATA_PREFIXES:
        for name, value in own.items():
            if name.startswith(prefix) and value is not None:
                metadata[name[len(prefix) :]] = value
    return metadata | (_object(own.get("metadata")) or {})


def _parameters(own: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {name.rpartition(".")[2]: own[name] for name in _PARAMETERS if own.get(name) is not None}
    parameters |= _object(own.get("llm.invocation_parameters")) or {}
    for name, source in (("tools", "tools"), ("tool_name", "gen_ai.tool.name")):
        if own.get(source) is not None:
            parameters[name] = own[source]
    if own.get("tool_arguments") is not None:
        parameters["tool_arguments"] = _object(own["tool_arguments"]) or own["tool_arguments"]
    return parameters


def _side(
    own: Mapping[str, Any], numbered: tuple[str, ...], whole: str, texts: tuple[str, ...], name: str
) -> dict[str, Any] | None:
    """Inputs or outputs that attributes tell; None: none do."""
    for prefix in numbered:
        messages = _numbered(own, prefix)
        if messages:
            return {"messages": messages}
    listed = _parsed(own.get(whole))
    if isinstance(listed, list) and listed:
        return {"messages": listed}
    text = _text(own, texts)
    if text is None:
        return None
    parsed = _object(text)
    return {name: text} if parsed is None else parsed


def _numbered(own: Mapping[str, Any], prefix: str) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    while True:
        at = f"{prefix}.{len(messages)}"
        message = {
            part: value
            for part in ("role", "content")
            if isinstance(value := own.get(f"{at}.{part}", own.get(f"{at}.message.{part}")), str)
        }
        if not message:
            return messages
        messages.append(message)


def _from_events(span: Span) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Inputs and outputs that events tell, which win over attributes; ours tell none."""
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    for event in span.events:
        if event.name not in _ASKED | _ANSWERED:
            continue
        own = _values(event.attributes)
        message = _object(own.get("gen_ai.event.content")) or {
            part: own[part] for part in ("content", "role") if own.get(part) is not None
        }
        if event.name == "gen_ai.tool.message" and own.get("id") is not None:
            message.setdefault("tool_call_id", own["id"])
        (asked if event.name in _ASKED else answered).append(message)
    return ({"messages": asked} if asked else None, {"messages": answered} if answered else None)


def _usage(own: Mapping[str, Any]) -> dict[str, Any]:
    whole = _text(own, (semconv.USAGE_METADATA,))
    if whole is not None:
        return _object(whole) or {}
    counts = {
        name: next((own[source] for source in sources if isinstance(own.get(source), int)), None)
        for name, sources in _USAGE_BY.items()
    }
    return {name: count for name, count in counts.items() if count is not None}


def _error(span: Span) -> str | None:
    """Only an exception's event makes an error there: the span's own status is not read."""
    for event in span.events:
        if event.name == semconv.EXCEPTION_EVENT:
            own = _values(event.attributes)
            stack = own.get("exception.stacktrace")
            said = [own.get(semconv.EXCEPTION_MESSAGE), f"Stacktrace:\n{stack}" if stack else None]
            return "\n\n".join(text for text in said if text) or str(own.get(semconv.EXCEPTION_TYPE, "error"))
    return None


def _text(own: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((own[name] for name in names if isinstance(own.get(name), str) and own[name]), None)


def _object(text: object) -> dict[str, Any] | None:
    parsed = _parsed(text)
    return parsed if isinstance(parsed, dict) else None


def _parsed(text: object) -> Any:
    """What a JSON text says; None: it is none."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
