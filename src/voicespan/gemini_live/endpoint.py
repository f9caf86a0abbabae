"""From the arguments of `live.connect` to a connection of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from voicespan.content import masking
from voicespan.gemini_live import frames
from voicespan.gemini_live.protocol import Protocol
from voicespan.protocol.events import ErrorReported, WireError
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv
from voicespan.tracing.context import conversation_in_scope
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.registry import ended_with, resumed_by

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import Connection

#: What the SDK takes beside the generation's own settings, which the wire has one level deeper.
_GENERATION = frozenset({
    "responseModalities", "temperature", "topP", "topK", "maxOutputTokens", "mediaResolution", "seed", "speechConfig",
    "thinkingConfig", "enableAffectiveDialog",
})  # fmt: skip


class Handshake:
    """A handshake that is under way."""

    def __init__(
        self, live: Any, arguments: Mapping[str, Any], tracer_provider: TracerProvider | None, clock: Clock
    ) -> None:
        """`live`: the SDK's `AsyncLive`; `arguments`: what its `connect` was given."""
        self._live = live
        self._attributes = attributes(live, arguments.get("model"))
        self._setup = setup(arguments)
        fingerprint = frames.fingerprint(_handle(self._setup))
        scoped = conversation_in_scope()
        resumed = resumed_by(fingerprint) if scoped is None and fingerprint is not None else None
        self._resumes = resumed is not None
        earlier = None if fingerprint is None else ended_with(fingerprint)
        self._conversation = (
            scoped or resumed or Conversation(tracer_provider=tracer_provider, clock=clock, continues=earlier)
        )

    @guarded
    def succeeded(self, session: Any) -> Connection | None:
        """The session is set up. None: the conversation is not traced."""
        if not self._conversation.recording or self._conversation.ended:
            return None
        protocol = Protocol(self._conversation.settings.events)
        self._conversation.keep_secrets(secrets(self._live))
        connection = self._conversation.connect(protocol, self._attributes, resumes=self._resumes)
        # Both passed before there was a session to see them on.
        connection.sent({"setup": self._setup})
        # Of what the server answered older SDKs keep only the id, and still older ones nothing.
        told = frames.parsed(getattr(session, "setup_complete", None)) or {}
        session_id = getattr(session, "session_id", None) or told.get("sessionId")
        connection.received({"setupComplete": {"sessionId": session_id} if session_id else {}})
        return connection

    @guarded
    def failed(self, error: BaseException) -> None:
        """The handshake raised `error`."""
        self._conversation.keep_secrets(secrets(self._live))
        self._conversation.connect_failed(error, self._attributes, resumes=self._resumes)


Begin: TypeAlias = Callable[[Any, Mapping[str, Any]], "Handshake | None"]


def attributes(live: Any, model: Any) -> dict[str, AttributeValue]:
    """Provider, model and server, as far as they are known before the server says a word."""
    client = getattr(live, "_api_client", None)
    vertex = bool(getattr(client, "vertexai", False))
    provider = "gcp.vertex_ai" if vertex else "gcp.gemini"
    attributes: dict[str, AttributeValue] = {semconv.PROVIDER: provider, semconv.SYSTEM: provider}
    options = getattr(client, "_http_options", None)
    address = urlsplit(str(getattr(options, "base_url", None) or ""))
    if address.hostname:
        attributes[semconv.SERVER_ADDRESS] = address.hostname
        if address.port is not None:
            attributes[semconv.SERVER_PORT] = address.port
    name = frames.model_name(model)
    if name is not None:
        attributes[semconv.REQUEST_MODEL] = name
    return attributes


def secrets(live: Any) -> list[str]:
    """What the client signs its requests with, of whatever shape: an error can quote it."""
    client = getattr(live, "_api_client", None)
    token = getattr(getattr(client, "_credentials", None), "token", None)
    keys = (getattr(client, "api_key", None), token)
    headers = getattr(getattr(client, "_http_options", None), "headers", None)
    return [*(key for key in keys if isinstance(key, str)), *masking.signing(headers)]


def _handle(told: Mapping[str, Any]) -> Any:
    resumption = told.get("sessionResumption")
    return resumption.get("handle") if isinstance(resumption, dict) else None


def setup(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The setup message that the SDK makes of its arguments, as far as it is told here."""
    config = frames.wire(arguments.get("config"))
    told: dict[str, Any] = {"model": arguments.get("model")}
    generation: dict[str, Any] = {}
    for key, value in (config if isinstance(config, dict) else {}).items():
        if key in _GENERATION:
            generation[key] = value
        elif key == "generationConfig" and isinstance(value, dict):
            generation = {**value, **generation}
        elif key != "httpOptions":
            told[key] = value
    if generation:
        told["generationConfig"] = generation
    return told


def lost(connection: Connection, error: BaseException, code: int, reason: str | None) -> None:
    """The socket was closed; an abnormal close is an error of the conversation."""
    connection.lost(error, code, reason)
    if connection.closed_abnormally:
        told = WireError("connection_closed", f"{code} {reason or ''}".strip())
        connection.ingest(lambda at: [ErrorReported(at, "connection_closed", told, {"code": code})])
