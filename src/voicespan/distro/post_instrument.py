"""What `opentelemetry-instrument` calls when providers and instrumentors are set up.

It runs in every Python process of an image, most of which never hold a conversation. So it starts no thread and sends
nothing. What takes time to import waits until the application imports a client library that can hold one.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from wrapt import register_post_import_hook

from voicespan.runtime.guard import guarded
from voicespan.runtime.loading import LOADING
from voicespan.runtime.settings import Settings
from voicespan.tracing import tracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import TracerProvider

#: The entry points of what traces conversations, by which OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names them.
INSTRUMENTORS = frozenset({
    "openai-realtime", "google-genai-live", "openai-live",
    "voicespan-websockets", "voicespan-aiohttp", "voicespan-websocket-client",
    "voicespan-livekit", "voicespan-pipecat", "voicespan-openai-agents",
})  # fmt: skip

#: Whoever imports one of them may hold a conversation. (The modules that hold it are often imported in the first call.)
#: So may whoever imports the client of a WebSocket library. (`aiohttp` is not among them: most who import it want HTTP, and
#: its first socket of a provider's waits for them.)
_LIBRARIES = (
    "openai", "google.genai", "livekit.agents", "pipecat",
    "websockets.asyncio.client", "websockets.sync.client", "websocket._core",
)  # fmt: skip
#: What brings along all that a first conversation needs, the OpenTelemetry SDK and `requests` above all.
_NEEDED = (
    "voicespan.distro.automatic",
    "voicespan.delivery.parts",
    "voicespan.tracing.conversation",
    # The client imports its socket library in its first call.
    "voicespan.instrumentation.sockets.websockets",
)


@guarded
def set_up() -> None:
    """Have conversations delivered: the hook of the group `opentelemetry_post_instrument`.

    A provider of the SDK that is global by now gets a `LangSmithSpanProcessor`, beside what it has. Where
    there is none yet (no distribution is installed, or its configuration leaves traces out), or no key
    (a script may read its `.env` file first), the first conversation looks again.
    """
    if not is_wanted(os.environ):
        return
    provider = trace.get_tracer_provider()
    if (
        not hasattr(provider, "add_span_processor")
        or _automatic().add_or_explain(provider, at_last=False) is not None
    ):
        tracer.before_first_conversation(_prepare)
    LOADING.need(*_NEEDED)
    for library in _LIBRARIES:
        register_post_import_hook(_preload, library)


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether anything of ours is switched on."""
    # Read as the loader of the instrumentors reads it.
    disabled = {name.strip() for name in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    return (
        Settings.from_environment(environ).enabled and "*" not in disabled and not disabled >= INSTRUMENTORS
    )


def _prepare() -> TracerProvider | None:
    """Before the first conversation: the provider it uses, if that is not the global one."""
    provider: TracerProvider | None = _automatic().before_first_conversation()
    return provider


@guarded
def _preload(_library: object) -> None:
    """Import what the first conversation needs while the application imports its client, and not in the call."""
    LOADING.load()
    importlib.import_module("voicespan.instrumentation.sockets.by_url").load_endpoints()


def _automatic() -> Any:
    """What imports the SDK: loaded when there is a provider of the SDK, or a conversation."""
    return importlib.import_module("voicespan.distro.automatic")
