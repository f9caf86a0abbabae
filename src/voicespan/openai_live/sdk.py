"""The ways in by the `openai` package; see `voicespan.instrumentation.openai_package.patches`.

`client.live.connect` talks, `client.live.sideband.connect` watches and steers a session, `client.live.forks.connect`
goes on from a stored one. The package has Live since 3.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.openai_package import patches as openai_patches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: What each module's connections are called.
_NAMES = {
    "openai.resources.live.live": "Live",
    "openai.resources.live.sideband": "Sideband",
    "openai.resources.live.forks": "Forks",
}
#: The modules that hold the classes.
MODULES = tuple(_NAMES)


def patches(module: ModuleType, begin: openai_patches.Begin) -> Iterator[tuple[type, str, Any]]:
    """Every (class, attribute, replacement) of one module; `begin` begins a traced connection."""
    return openai_patches.patches(module, _NAMES[module.__name__], begin)
