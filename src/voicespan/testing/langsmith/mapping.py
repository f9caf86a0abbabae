"""How LangSmith's ingest turns a span into a run: which attribute decides what, and which wins.

Two rules go through all of it. Of several attributes for one fact the first *present* one decides, even
if its value means nothing. And what no table here names is dropped, as the ingest does not keep it.

The order follows what LangSmith documents under "Trace with OpenTelemetry" and, where that is silent,
its public collector proxy, which converts spans in the same way.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from voicespan.testing.langsmith.messages import (
    from_events,
    from_events_attribute,
    indexed_messages,
    json_object,
    object_or_text,
)
from voicespan.testing.langsmith.otlp import attributes as event_attributes
from voicespan.testing.langsmith.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicespan.testing.langsmith.otlp import ReceivedSpan

    Attributes = Mapping[str, Any]

_RUN_TYPES = ("llm", "chain", "tool", "retriever", "embedding", "prompt", "parser")
_SPAN_KINDS = {"tool": "tool", "llm": "llm", "retriever": "retriever", "embedding": "embedding"}

# attribute, what its values (lower case) mean, what any other value means
_RUN_TYPE_FROM: tuple[tuple[str, dict[str, str], str], ...] = (
    ("langsmith.span.kind", {kind: kind for kind in _RUN_TYPES}, "chain"),
    ("gen_ai.operation.name", {"chat": "llm", "completion": "llm", "embedding": "embedding"}, "chain"),
    ("llm.request.type", {"embedding": "embedding"}, "llm"),
    ("openinference.span.kind", _SPAN_KINDS, "chain"),
    ("traceloop.span.kind", _SPAN_KINDS, "chain"),
)
# These come after, and so win even over langsmith.span.kind.
_RUN_TYPE_FORCED = {"gen_ai.tool.name": "tool", "llm.prompt_template.variables": "prompt"}

# Only after the messages of span events and of indexed attributes.
_INPUTS_FROM = ("input.value", "traceloop.entity.input", "gen_ai.prompt", "prompt")
_OUTPUTS_FROM = ("output.value", "traceloop.entity.output", "gen_ai.completion", "all_messages_events")

_PROVIDER_FROM = ("gen_ai.system", "gen_ai.provider.name", "llm.system")
_MODEL_FROM = ("gen_ai.request.model", "gen_ai.response.model", "model", "llm.model_name")

_INVOCATION_PARAMS = (
    *(
        f"gen_ai.request.{name}"
        for name in (
            "temperature",
            "top_p",
            "top_k",
            "max_tokens",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "stop_sequences",
            "encoding_formats",
        )
    ),
    # In this order: where both are there, `model` is the response's.
    "gen_ai.request.model",
    "gen_ai.response.model",
)

_USAGE_FROM = {
    "input_tokens": ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    "output_tokens": (
        "gen_ai.usage.completion_tokens",
        "gen_ai.usage.output_tokens",
        "llm.token_count.completion",
    ),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    "reasoning_tokens": ("gen_ai.usage.details.reasoning_tokens",),
}

_METADATA_PREFIXES = ("traceloop.association.properties.", "langsmith.metadata.")


def run_id(span_id: bytes) -> str:
    """The id of the run that LangSmith makes of a span: eight zero bytes, then the span id."""
    return str(uuid.UUID(bytes=span_id.rjust(16, b"\0")[-16:]))


def to_run(received: ReceivedSpan, project: str) -> Run:
    """The run for a span that came in a request for `project`, without its place in a tree.

    `trace_id` and `dotted_order` are empty unless the span states them.
    """
    span, own = received.span, received.attributes
    parent = _text(own, "langsmith.span.parent_id") or (
        run_id(span.parent_span_id) if span.parent_span_id else None
    )
    if own.get("langsmith.is_root") is True:
        parent = None
    run = Run(
        id=_text(own, "langsmith.span.id") or run_id(span.span_id),
        trace_id=_text(own, "langsmith.trace.id") or "",
        parent_run_id=parent,
        dotted_order=_text(own, "langsmith.span.dotted_order") or "",
        name=_name(own, span.name),
        run_type=_run_type(own),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        project=_text(own, "langsmith.trace.session_name") or project,
        project_id=_text(own, "langsmith.trace.session_id"),
        reference_example_id=_text(own, "langsmith.reference_example_id"),
        tags=[tag.strip() for tag in (_text(own, "langsmith.span.tags") or "").split(",") if tag.strip()],
        invocation_params=_invocation_params(own),
        metadata=_metadata(own, {} if parent else received.resource),
        otel_trace_id=span.trace_id.hex(),
        otel_span_id=span.span_id.hex(),
    )
    events = [(event.name, event_attributes(event.attributes)) for event in span.events]
    inputs, outputs = _content(run, own, events)
    run.inputs, run.outputs = inputs or {}, outputs or {}
    # The ingest keeps usage inside the outputs: without outputs it is lost.
    run.usage = {} if outputs is None else _usage(own)
    _set_error(run, events)
    return run


def _text(own: Attributes, key: str) -> str | None:
    value = own.get(key)
    return value if isinstance(value, str) and value else None


def _first_text(own: Attributes, keys: Iterable[str]) -> str | None:
    return next((text for key in keys if (text := _text(own, key)) is not None), None)


def _run_type(own: Attributes) -> str:
    run_type = "chain"
    for key, meanings, otherwise in _RUN_TYPE_FROM:
        if key in own:
            run_type = meanings.get(str(own[key]).lower(), otherwise)
            break
    for key, forced in _RUN_TYPE_FORCED.items():
        if key in own:
            run_type = forced
    return run_type


def _name(own: Attributes, span_name: str) -> str:
    keys = ["langsmith.trace.name", "traceloop.entity.name"]
    if own.get("openinference.span.kind") == "TOOL":
        keys.append("tool.name")
    return _first_text(own, keys) or span_name


def _metadata(own: Attributes, resource: Attributes) -> dict[str, Any]:
    metadata = dict(resource)
    if provider := _first_text(own, _PROVIDER_FROM):
        metadata["ls_provider"] = provider
    if model := _first_text(own, _MODEL_FROM):
        metadata["ls_model_name"] = model
    for prefix in _METADATA_PREFIXES:
        metadata.update(
            (key[len(prefix) :], value)
            for key, value in own.items()
            if key.startswith(prefix) and value is not None
        )
    metadata.update(json_object(_text(own, "metadata")) or {})
    return metadata


def _invocation_params(own: Attributes) -> dict[str, Any]:
    params = {key.rpartition(".")[2]: own[key] for key in _INVOCATION_PARAMS if own.get(key) is not None}
    params.update(json_object(_text(own, "llm.invocation_parameters")) or {})
    if (tools := own.get("tools")) is not None:
        params["tools"] = tools if isinstance(tools, list) else _json_list(tools)
    if (tool := own.get("gen_ai.tool.name")) is not None:
        params["tool_name"] = tool
    if (arguments := own.get("tool_arguments")) is not None:
        params["tool_arguments"] = json_object(_text(own, "tool_arguments")) or arguments
    return params


def _json_list(text: Any) -> list[Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, TypeError):
        return [text]
    return parsed if isinstance(parsed, list) else [text]


def _content(
    run: Run, own: Attributes, events: list[tuple[str, dict[str, Any]]]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    inputs, outputs = from_events(events)
    if run.run_type == "retriever":
        inputs, outputs = _retrieved(own, inputs, outputs)
    if inputs is None:
        inputs = indexed_messages(own, "gen_ai.prompt", "llm.input_messages", "gen_ai.input.messages")
    if outputs is None:
        outputs = indexed_messages(own, "gen_ai.completion", "llm.output_messages", "gen_ai.output.messages")
    if inputs is None and (text := _first_text(own, _INPUTS_FROM)):
        inputs = object_or_text(text, "input")
    if outputs is None and (text := _first_text(own, _OUTPUTS_FROM)):
        outputs = object_or_text(text, "text")
    if inputs is None or outputs is None:
        asked, chosen = from_events_attribute(own.get("events"))
        inputs = asked if inputs is None else inputs
        outputs = chosen if outputs is None else outputs
    return inputs, outputs


def _retrieved(
    own: Attributes, inputs: dict[str, Any] | None, outputs: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if query := _text(own, "input.value"):
        inputs = {"query": query}
    documents: list[dict[str, Any]] = []
    while content := _text(own, f"retrieval.documents.{len(documents)}.document.content"):
        described = json_object(_text(own, f"retrieval.documents.{len(documents)}.document.metadata"))
        documents.append({"page_content": content, "metadata": described or {}, "type": "Document"})
    return inputs, {"documents": documents} if documents else outputs


def _usage(own: Attributes) -> dict[str, Any]:
    if (whole := _text(own, "langsmith.usage_metadata")) is not None:
        return json_object(whole) or {}
    usage = {}
    for name, keys in _USAGE_FROM.items():
        counted = next((own[key] for key in keys if isinstance(own.get(key), int)), None)
        if counted is not None:
            usage[name] = counted
    return usage


def _set_error(run: Run, events: list[tuple[str, dict[str, Any]]]) -> None:
    """Only an `exception` event makes an error: the span's own status is not read."""
    raised = next((event for name, event in events if name == "exception"), None)
    if raised is None:
        return
    run.status = "error"
    message, stacktrace = (_text(raised, f"exception.{part}") for part in ("message", "stacktrace"))
    parts = [message] if message else []
    if stacktrace:
        parts.append("Stacktrace:\n" + stacktrace)
    run.error = "\n\n".join(parts) or None
