"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.instrumentor import TracingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: Loaded when Pipecat is imported, which in most processes never happens.
_PATCHES = "voicespan.pipecat.sdk"


class PipecatInstrumentor(TracingInstrumentor):
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
    _sdk: Any = None

    def _patches(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        if self._sdk is None:
            self._sdk = importlib.import_module(_PATCHES).Patches(self)
        patches: Iterator[tuple[Any, str, Any]] = self._sdk.of(module)
        return patches

    def _end_open(self) -> None:
        if self._sdk is not None:
            self._sdk.end_open()
