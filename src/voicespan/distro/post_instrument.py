"""What `opentelemetry-instrument` calls when providers and instrumentors are set up.

It runs in every Python process of an image, most of which never hold a conversation. So it starts no
thread and sends nothing, and what takes time to import waits for the first conversation, unless the
OpenTelemetry SDK, which is the heaviest part of it, is there already.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from voicespan.runtime.guard import guarded
from voicespan.runtime.settings import Settings
from voicespan.tracing import tracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import TracerProvider

#: The entry points of what traces conversations, by which OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names them.
INSTRUMENTORS = frozenset({"openai-realtime", "google-genai-live"})


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
    if not hasattr(provider, "add_span_processor") or _automatic().add_or_explain(provider) is not None:
        tracer.before_first_conversation(_prepare)


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


def _automatic() -> Any:
    """What imports the SDK: loaded when there is a provider of the SDK, or a conversation."""
    return importlib.import_module("voicespan.distro.automatic")
