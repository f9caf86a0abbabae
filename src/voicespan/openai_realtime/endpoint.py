"""From the SDK's connection manager to a connection of a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from voicespan.content import masking
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv
from voicespan.tracing.context import conversation_in_scope
from voicespan.tracing.conversation import Conversation

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import Connection

#: Hosts whose provider has a name of its own in the GenAI conventions.
_PROVIDERS = ((".azure.com", "azure.ai.openai"), (".azure.us", "azure.ai.openai"), ("api.x.ai", "x_ai"))


class Handshake:
    """A handshake that is under way."""

    def __init__(self, manager: Any, tracer_provider: TracerProvider | None, clock: Clock) -> None:
        self._manager = manager
        self._attributes = attributes(manager)
        self._conversation = conversation_in_scope() or Conversation(
            tracer_provider=tracer_provider, clock=clock
        )

    @guarded
    def succeeded(self) -> Connection | None:
        """The socket is open. None: the conversation is not traced."""
        if not self._conversation.recording or self._conversation.ended:
            return None
        self._conversation.keep_secrets(secrets(self._manager))
        protocol = Protocol(self._conversation.settings.events)
        return self._conversation.connect(protocol, self._attributes, kind=RealtimeConnection)

    @guarded
    def failed(self, error: BaseException) -> None:
        """The handshake raised `error`."""
        self._conversation.keep_secrets(secrets(self._manager))
        self._conversation.connect_failed(error, self._attributes)


Begin: TypeAlias = Callable[[Any], "Handshake | None"]


def attributes(manager: Any) -> dict[str, AttributeValue]:
    """Provider, model and server, as far as the manager tells before the server does."""
    client = _private(manager, "client")
    address = urlsplit(
        str(getattr(client, "websocket_base_url", None) or getattr(client, "base_url", "") or "")
    )
    azure = any(kind.__name__ in ("AzureOpenAI", "AsyncAzureOpenAI") for kind in type(client).__mro__)
    host = address.hostname or ""
    provider = next((name for suffix, name in _PROVIDERS if host.endswith(suffix)), "openai")
    if azure:
        provider = "azure.ai.openai"
    attributes: dict[str, AttributeValue] = {semconv.PROVIDER: provider, semconv.SYSTEM: provider}
    if host:
        attributes[semconv.SERVER_ADDRESS] = host
        if address.port is not None:
            attributes[semconv.SERVER_PORT] = address.port
    # On Azure the client's own deployment wins over the model (which is a deployment's name as well).
    model = getattr(client, "_azure_deployment", None) or _private(manager, "model")
    if isinstance(model, str) and model:
        attributes[semconv.REQUEST_MODEL] = model
    return attributes


def secrets(manager: Any) -> list[str]:
    """What the client signs its requests with, of whatever shape: an error can quote it."""
    client = _private(manager, "client")
    keys = (getattr(client, name, None) for name in ("api_key", "_azure_ad_token"))
    return [
        *(key for key in keys if isinstance(key, str)),
        *masking.signing(getattr(client, "_custom_headers", None)),
        *masking.signing(_private(manager, "extra_headers")),
        *masking.signing(_private(manager, "extra_query")),
    ]


def connection_of(manager: Any) -> Any:
    """The connection that a manager has open."""
    return _private(manager, "connection")


def queue_of(manager: Any) -> Any:
    """Where the SDK keeps what a manager is to send."""
    return _private(manager, "send_queue")


def _private(manager: Any, name: str) -> Any:
    """A private attribute of the manager, under which class's name it may be mangled."""
    for kind in type(manager).__mro__:
        value = getattr(manager, f"_{kind.__name__.lstrip('_')}__{name}", None)
        if value is not None:
            return value
    return None
