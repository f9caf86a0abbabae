"""The functions that LiveKit runs for a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from voicespan.instrumentation.framework_spans import within_framework
from voicespan.livekit.model_calls import IN_TOOL
from voicespan.protocol.stages import ToolEnded, ToolStarted
from voicespan.runtime.guard import guarded
from voicespan.tracing.status import wire_error

if TYPE_CHECKING:
    from voicespan.livekit.session import SessionTrace


@guarded
def begin(trace: SessionTrace, call: Any) -> None:
    """A function is about to run, in a task that is made of this context next; `call`: a `FunctionCall`."""
    IN_TOOL.set(True)
    if trace.realtime.is_used:
        trace.realtime.called(call)
    elif not trace.has_wire:
        # The model is often still at it, and is told to have asked for it when it is through.
        trace.report(ToolStarted(trace.now(), "function_tool", call.call_id, call.name, call.arguments or ""))
    span = trace.conversation.span_of_stage(call.call_id)
    if span is not None:
        trace.conversation.context.enter(within_framework(span), otel_context.get_current())


@guarded
def end(trace: SessionTrace, output: Any, raised: BaseException | None) -> None:
    """It has run; `output`: a `FunctionCallOutput`."""
    if trace.has_wire or output is None:
        return
    failed = output.is_error and isinstance(raised, Exception)
    error = wire_error(raised) if failed and raised is not None else None
    if trace.realtime.is_used:
        trace.realtime.answered(output, error)
        return
    trace.report(
        ToolEnded(
            trace.now(),
            "function_tool",
            output.call_id,
            output.output,
            error,
            cancelled=raised is not None and not isinstance(raised, Exception),
        )
    )
