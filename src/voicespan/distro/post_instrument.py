"""What `opentelemetry-instrument` calls when providers and instrumentors are set up.

It runs in every Python process of an image, most of which never hold a conversation. So it starts no
thread and sends nothing, and what takes time to import waits for the first conversation, unless the
OpenTelemetry SDK, which is the heaviest part of it, is there already.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, cast

from opentelemetry import trace

from voicespan.runtime.guard import guarded
from voicespan.runtime.settings import Settings
from voicespan.tracing import tracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import TracerProvider

_logger = logging.getLogger("voicespan")

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
    if not hasattr(provider, "add_span_processor") or _deliver_from(provider) is not None:
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
    from voicespan.distro import automatic  # noqa: PLC0415  not before there is a conversation

    current = trace.get_tracer_provider()
    if isinstance(current, trace.NoOpTracerProvider):
        # Somebody's decision that nothing is traced here.
        return None
    if hasattr(current, "add_span_processor"):
        # By now the application has set up its own, or has a key.
        problem = _deliver_from(current)
        if problem is not None:
            _logger.warning("Conversations go to this process's own span exporters only: %s", problem)
        return None
    try:
        return automatic.new_provider()
    except automatic.DeliverySettingsError as error:
        _logger.warning("Conversations are not traced: %s", error)
        return None


def _deliver_from(provider: trace.TracerProvider) -> Exception | None:
    """Add our processor to `provider`; what is wrong with the settings, if that is why it was not."""
    from voicespan.distro import automatic  # noqa: PLC0415  imports the SDK, which the provider is of

    try:
        automatic.add_to(cast("TracerProvider", provider))
    except automatic.DeliverySettingsError as error:
        return error
    return None
