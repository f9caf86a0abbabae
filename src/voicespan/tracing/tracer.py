"""Which tracer a conversation uses: the provider that was named, else the global one."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from opentelemetry import trace

from voicespan.runtime.guard import guarded
from voicespan.runtime.version import __version__
from voicespan.tracing import semconv, span_limits
from voicespan.tracing.metrics import provider as metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer, TracerProvider

#: Set by `voicespan.configure()` or by the first `instrument(tracer_provider=...)`.
_named: TracerProvider | None = None

#: Looks at each provider that a conversation is about to use.
_watcher: Callable[[TracerProvider], None] | None = None

#: What is to be done before the first conversation that has no provider of its own, and what came of it.
_prepare: Callable[[], TracerProvider | None] | None = None
_prepared: TracerProvider | None = None
_is_preparing = False
#: What is prepared may log, and a log handler may begin a conversation: re-entrant.
_preparing = threading.RLock()


def name_provider(provider: TracerProvider | None) -> None:
    """From now on conversations without a provider of their own use this one; None: the global one."""
    global _named  # noqa: PLW0603  one per process, like OpenTelemetry's own
    _named = provider


def named_provider() -> TracerProvider | None:
    """What was named, if anything."""
    return _named


def before_first_conversation(prepare: Callable[[], TracerProvider | None]) -> None:
    """Have `prepare` called once, when the first conversation begins for which no provider was named.

    It returns the provider for this and all later ones, or None for the global one.
    """
    global _prepare, _prepared
    with _preparing:
        _prepare, _prepared = guarded(prepare), None


def watch(watcher: Callable[[TracerProvider], None] | None) -> None:
    """Have `watcher` called with the provider of each conversation, before it begins; None: nobody watches any more."""
    global _watcher  # noqa: PLW0603  one per process
    _watcher = None if watcher is None else guarded(watcher)


def tracer(provider: TracerProvider | None = None) -> Tracer:
    """The tracer of all spans of ours; asked for whenever a conversation begins."""
    metrics.look()
    provider = provider or _named or _prepared_provider()
    if _watcher is not None:
        _watcher(provider or trace.get_tracer_provider())
    ours = trace.get_tracer(semconv.SCOPE, __version__, provider)
    span_limits.relax(ours)
    return ours


def content_limit(tracer: Tracer) -> int:
    """Characters that a content may have, as the operator has said of all spans."""
    return span_limits.content_limit(tracer)


def _prepared_provider() -> TracerProvider | None:
    global _prepare, _prepared, _is_preparing  # noqa: PLW0603  as above
    if _prepare is not None:
        with _preparing:
            # Another thread's conversation may have been the first, or this is one that began in `_prepare`.
            if _prepare is not None and not _is_preparing:
                _is_preparing = True
                try:
                    _prepared = _prepare()
                finally:
                    _is_preparing = False
                _prepare = None
    return _prepared


def _after_fork() -> None:
    # The thread that held it stayed behind in the parent.
    global _preparing, _is_preparing  # noqa: PLW0603  as above
    _preparing = threading.RLock()
    _is_preparing = False


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
