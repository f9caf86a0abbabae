"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from typing import ClassVar

from voicespan.instrumentation.framework_instrumentor import FrameworkInstrumentor


class PipecatInstrumentor(FrameworkInstrumentor):
    """Traces Pipecat 0.0.86 and later: each pipeline (`PipelineTask`, `PipelineWorker`) that runs is one conversation.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). Pipelines that run
    already stay untraced; those that run at `uninstrument()` end with the status `untraced`.

    Example:
        >>> from voicespan.pipecat import PipecatInstrumentor
        >>> PipecatInstrumentor().instrument()
        >>> PipecatInstrumentor().uninstrument()
    """

    # Each brings along what its own patches need; none brings along another service.
    modules: ClassVar[tuple[str, ...]] = (
        "pipecat.processors.frame_processor",
        "pipecat.pipeline.task",
        "pipecat.pipeline.worker",
        "pipecat.services.ai_service",
        "pipecat.services.tts_service",
        "pipecat.services.llm_service",
        "pipecat.transports.base_input",
        "pipecat.utils.tracing.service_decorators",
        "pipecat.utils.tracing.turn_trace_observer",
    )
    sdk: ClassVar[str] = "voicespan.pipecat.sdk"
