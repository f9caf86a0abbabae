"""Any socket that speaks OpenAI Live, whoever opened it: OpenAI's, Azure Foundry's, and gateways'."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicespan.instrumentation.openai_package.managers import provider_at
from voicespan.instrumentation.sockets.by_url import SocketEndpoint
from voicespan.openai_live.endpoint import PROVIDER
from voicespan.protocol.json_values import event_object
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from voicespan.instrumentation.sockets.by_url import SocketRequest

_HOSTS = (".openai.com", ".azure.com", ".azure.us", ".azure.cn")
_PATH = re.compile(r"/live/sessions(?:/[^/]+/(?:attach|fork))?/?$")


def _is_live(path: str) -> bool:
    return _PATH.search(path) is not None


def _matches(host: str, path: str) -> bool:
    return host.endswith(_HOSTS) and _is_live(path)


def _attributes(request: SocketRequest) -> dict[str, AttributeValue]:
    # The model is in `session.start`, and never in the URL.
    provider = provider_at(request.host)
    return {semconv.PROVIDER: provider, semconv.SYSTEM: provider, **request.server()}


def _is_first_frame(frame: bytes) -> bool:
    event = event_object(frame)
    return event is not None and event.get("type") == "session.started"


ENDPOINT = SocketEndpoint(
    name="openai-live",
    provider=PROVIDER,
    matches=_matches,
    attributes=_attributes,
    may_match=_is_live,
    is_first_frame=_is_first_frame,
    clients=("openai",),
)
