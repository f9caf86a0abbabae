"""What every framework's instrumentor does alike: its patches are loaded with the framework, and end what is open."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from voicespan.instrumentation.instrumentor import TracingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


class FrameworkPatches(Protocol):
    """What the `sdk` of a framework's room calls `Patches`; made with the instrumentor."""

    def of(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        """Every (class, attribute, replacement) in one module."""
        ...

    def end_open(self) -> None:
        """End the sessions that are being traced."""


class FrameworkInstrumentor(TracingInstrumentor):
    """Traces the sessions of a framework."""

    #: The module of `Patches`: loaded when the framework is imported, which in most processes never happens.
    sdk: ClassVar[str]
    _loaded: FrameworkPatches | None = None

    def _patches(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        if self._loaded is None:
            self._loaded = importlib.import_module(self.sdk).Patches(self)
        return self._loaded.of(module)

    def _end_open(self) -> None:
        if self._loaded is not None:
            self._loaded.end_open()
