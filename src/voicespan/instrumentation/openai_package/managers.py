"""What the `openai` package's connection managers know: the client, its server, its secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from voicespan.content import masking
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

#: Hosts whose provider has a name of its own in the GenAI conventions.
_PROVIDERS = ((".azure.com", "azure.ai.openai"), (".azure.us", "azure.ai.openai"), ("api.x.ai", "x_ai"))


def attributes(manager: Any) -> dict[str, AttributeValue]:
    """Provider, model and server, as far as the manager knows them before the server answers."""
    client = _private(manager, "client")
    address = urlsplit(
        str(getattr(client, "websocket_base_url", None) or getattr(client, "base_url", "") or "")
    )
    azure = any(kind.__name__ in ("AzureOpenAI", "AsyncAzureOpenAI") for kind in type(client).__mro__)
    host = address.hostname or ""
    provider = "azure.ai.openai" if azure else provider_at(host)
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


def provider_at(host: str) -> str:
    """The provider's name in the GenAI conventions."""
    return next((name for suffix, name in _PROVIDERS if host.endswith(suffix)), "openai")


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


def session_of(manager: Any) -> str | None:
    """The session that a manager's connection joins or forks."""
    session_id = _private(manager, "session_id")
    return session_id if isinstance(session_id, str) and session_id else None


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
