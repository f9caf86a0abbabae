"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.instrumentor import TracingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: Loaded when LiveKit is imported, which in most processes never happens.
_PATCHES = "voicespan.livekit.sdk"


class LiveKitInstrumentor(TracingInstrumentor):
    """Traces LiveKit Agents 1.1 and later: each `AgentSession` of the process is one conversation.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). Sessions that have
    started already stay untraced; those that are open at `uninstrument()` end with the status `untraced`.

    Example:
        >>> from voicespan.livekit import LiveKitInstrumentor
        >>> LiveKitInstrumentor().instrument()
        >>> LiveKitInstrumentor().uninstrument()
    """

    modules: ClassVar[tuple[str, ...]] = ("livekit.agents",)
    _sdk: Any = None

    def _patches(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        if self._sdk is None:
            self._sdk = importlib.import_module(_PATCHES).Patches(self)
        patches: Iterator[tuple[Any, str, Any]] = self._sdk.of(module)
        return patches

    def _end_open(self) -> None:
        if self._sdk is not None:
            self._sdk.end_open()
