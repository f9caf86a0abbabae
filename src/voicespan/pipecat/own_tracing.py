"""Pipecat's own tracing, where the application has enabled it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.framework_spans import FrameworkTracer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.trace import Tracer


class TraceModule:
    """`opentelemetry.trace` as the modules of Pipecat see it: its tracers leave out what a conversation shows itself."""

    def __init__(self, module: ModuleType, ours: Callable[[], Tracer | None]) -> None:
        """`ours`: see `FrameworkTracer`."""
        self._module = module
        self._ours = ours

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def get_tracer(self, *args: Any, **more: Any) -> FrameworkTracer:
        """A tracer that knows of conversations."""
        return FrameworkTracer(self._module.get_tracer(*args, **more), self._ours)
