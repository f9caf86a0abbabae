"""The way in by the `openai` package; see `voicespan.instrumentation.openai_package.patches`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.openai_package import patches as openai_patches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: The modules that hold the classes: GA, and the beta API, which the package still ships.
MODULES = ("openai.resources.realtime.realtime", "openai.resources.beta.realtime.realtime")


def patches(module: ModuleType, begin: openai_patches.Begin) -> Iterator[tuple[type, str, Any]]:
    """Every (class, attribute, replacement) of one module; `begin` begins a traced connection."""
    return openai_patches.patches(module, "Realtime", begin)
