"""Any socket that speaks OpenAI Live, whoever opened it: OpenAI's, Azure Foundry's, and gateways'."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicespan.instrumentation.openai_package.managers import provider_at
from voicespan.instrumentation.sockets.by_url import SocketEndpoint
from voicespan.openai_live.endpoint import PROVIDER, live_handshake
from voicespan.openai_live.protocol import KINDS
from voicespan.protocol.json_values import event_object
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.instrumentation.sockets.by_url import SocketRequest
    from voicespan.openai_live.endpoint import LiveHandshake
    from voicespan.runtime.clock import Clock

_HOSTS = (".openai.com", ".azure.com", ".azure.us", ".azure.cn")
_PATH = re.compile(r"/live/sessions(?:/(?P<session>[^/]+)/(?P<way>attach|fork))?/?$")


def _is_live(path: str) -> bool:
    return _PATH.search(path) is not None


def _matches(host: str, path: str) -> bool:
    return host.endswith(_HOSTS) and _is_live(path)


def _attributes(request: SocketRequest) -> dict[str, AttributeValue]:
    # The model is in `session.start`, and never in the URL.
    provider = provider_at(request.host)
    return {semconv.PROVIDER: provider, semconv.SYSTEM: provider, **request.server()}


def _is_first_frame(frame: bytes) -> bool:
    # A sideband that joins late receives no `session.started`.
    event = event_object(frame)
    kind = None if event is None else event.get("type")
    return isinstance(kind, str) and kind in KINDS


def _handshake(
    request: SocketRequest,
    secrets: Callable[[], Iterable[str]],
    tracer_provider: TracerProvider | None,
    clock: Clock,
) -> LiveHandshake:
    found = _PATH.search(request.path)
    session_id, way = (None, None) if found is None else found.group("session", "way")
    return live_handshake(
        session_id,
        way == "fork",
        _attributes(request),
        secrets,
        tracer_provider=tracer_provider,
        clock=clock,
    )


ENDPOINT = SocketEndpoint(
    name="openai-live",
    provider=PROVIDER,
    matches=_matches,
    attributes=_attributes,
    may_match=_is_live,
    is_first_frame=_is_first_frame,
    handshake=_handshake,
    clients=("openai",),
)
