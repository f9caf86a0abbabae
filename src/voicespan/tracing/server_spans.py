"""Spans that a web server's instrumentation makes of each message of a socket: they stay with the request.

A handler that holds a conversation receives and sends fifty messages a second, and an instrumentation of the server
makes a span of each. They run where the conversation is current, so they would nest in it, and use up in minutes what
LangSmith takes of a trace. OpenTelemetry has no place that decides the parent of a span by its instrumentation scope,
so the SDK's `Tracer.start_span` is wrapped once, with the first conversation of a process.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from voicespan.runtime.guard import guard
from voicespan.tracing.context import conversation_context, get_current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context

#: The instrumentation scopes of servers, as some write them with `-`. One of these is recognised by its name alone.
SERVERS = frozenset(
    f"opentelemetry.instrumentation.{name}"
    for name in (
        *("asgi", "fastapi", "starlette", "django", "tornado", "websockets"),
        *("aiohttp_server", "aiohttp-server"),
    )
)
#: A request has some of these; what crosses its socket later has none when it starts.
_REQUEST = ("http.", "url.")
#: Which message of ASGI it is; set when it has come.
_ASGI_TYPE = "asgi.event.type"
#: Where the SDK keeps a tracer's or a span's scope.
_SDK = "opentelemetry.sdk.trace"


def is_servers(scope: Any) -> bool:
    """Whether an instrumentation scope is a server's."""
    name = getattr(scope, "name", None)
    return type(name) is str and name in SERVERS


def is_message(scope: Any, attributes: Mapping[str, Any] | None) -> bool:
    """Whether a span that has ended, of this scope and with these attributes, is a message of a server's socket."""
    if not is_servers(scope):
        return False
    asgi_type = (attributes or {}).get(_ASGI_TYPE)
    return _is_no_request(attributes) if asgi_type is None else str(asgi_type).startswith("websocket.")


def stay_with_their_request() -> None:
    """From now on they do, in this process. The SDK is left alone where it is not what makes the spans."""
    global _wrapped  # noqa: PLW0603  one SDK in a process
    tracer = getattr(sys.modules.get(_SDK), "Tracer", None)
    if tracer is not None and not _wrapped:
        # Once: another library may wrap what stands there afterwards.
        _wrapped = True
        with guard():
            tracer.start_span = _with_request(tracer.start_span)


_wrapped = False


def _with_request(start_span: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start_span)
    def start(
        self: Any, name: str, context: Context | None = None, *arguments: Any, **keywords: Any
    ) -> trace.Span:
        # Every span of the process comes by here: what is none of a server's is asked two questions that cannot fail.
        if is_servers(getattr(self, "_instrumentation_scope", None)):
            with guard():
                attributes = keywords.get("attributes") or (arguments[1] if len(arguments) > 1 else None)
                if _is_no_request(attributes):
                    context = _outside(context)
        span: trace.Span = start_span(self, name, context, *arguments, **keywords)
        return span

    return start


def _is_no_request(attributes: Mapping[str, Any] | None) -> bool:
    return not any(key.startswith(_REQUEST) for key in attributes or ())


def _outside(context: Context | None) -> Context | None:
    """`context`, with what was current before the conversation instead of what is current in it."""
    current = get_current() if context is None else context
    found = conversation_context(current)
    if found is None:
        return context
    parent = trace.get_current_span(current)
    about = parent.get_span_context()
    # A request may itself be inside: a tool that calls the process's own server. What belongs to it stays with it.
    if (
        about.is_remote
        or about.trace_id != found.root.trace_id
        or is_servers(getattr(parent, "instrumentation_scope", None))
    ):
        return context
    return trace.set_span_in_context(trace.NonRecordingSpan(found.outside), current)
