"""Any socket that speaks OpenAI Realtime: OpenAI's, Azure's (both paths, and Voice Live), xAI's, and gateways'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.instrumentation.openai_package.managers import provider_at
from voicespan.instrumentation.sockets.by_url import SocketEndpoint
from voicespan.openai_realtime.endpoint import PROVIDER
from voicespan.openai_realtime.protocol import Protocol
from voicespan.protocol.json_values import event_object
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from voicespan.instrumentation.sockets.by_url import SocketRequest

_HOSTS = (".openai.com", ".azure.com", ".azure.us", ".azure.cn", ".x.ai")
#: Other services answer so as well.
_ANYBODYS = frozenset({"error"})


def _is_realtime(path: str) -> bool:
    return path.rstrip("/").endswith("/realtime")


def _matches(host: str, path: str) -> bool:
    return host.endswith(_HOSTS) and _is_realtime(path)


def _attributes(request: SocketRequest) -> dict[str, AttributeValue]:
    provider = provider_at(request.host)
    attributes = {semconv.PROVIDER: provider, semconv.SYSTEM: provider, **request.server()}
    # Azure's older path names the deployment, which the client chose the model by.
    model = request.query.get("deployment") or request.query.get("model")
    if model:
        attributes[semconv.REQUEST_MODEL] = model
    return attributes


def _is_first_frame(frame: bytes) -> bool:
    event = event_object(frame)
    kind = None if event is None else event.get("type")
    return isinstance(kind, str) and kind in Protocol.SERVER and kind not in _ANYBODYS


ENDPOINT = SocketEndpoint(
    name="openai-realtime",
    provider=PROVIDER,
    matches=_matches,
    attributes=_attributes,
    may_match=_is_realtime,
    is_first_frame=_is_first_frame,
    clients=("openai",),
)
