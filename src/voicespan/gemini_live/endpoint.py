"""From the arguments of `live.connect` to a connection of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from voicespan.content import masking
from voicespan.gemini_live import frames
from voicespan.gemini_live.protocol import Protocol
from voicespan.instrumentation.handshake import Handshake, Provider
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.wire_source import WireAudioSource
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import Connection

#: What the SDK takes beside the generation's own settings, which the wire has one level deeper.
_GENERATION = frozenset({
    "responseModalities", "temperature", "topP", "topK", "maxOutputTokens", "mediaResolution", "seed", "speechConfig",
    "thinkingConfig", "enableAffectiveDialog",
})  # fmt: skip


def _wire_audio(recorder: Recorder) -> WireAudioSource:
    from voicespan.gemini_live.audio import WireAudio  # noqa: PLC0415  only with VOICESPAN_RECORD_SOURCE=wire

    return WireAudio(recorder)


PROVIDER = Provider(Protocol, _wire_audio)


class SessionHandshake(Handshake):
    """What the SDK does between the socket's opening and the session that it returns."""

    def __init__(
        self, live: Any, arguments: Mapping[str, Any], tracer_provider: TracerProvider | None, clock: Clock
    ) -> None:
        """`live`: the SDK's `AsyncLive`; `arguments`: what its `connect` was given."""
        self._setup = setup(arguments)
        super().__init__(
            PROVIDER,
            attributes(live, arguments.get("model")),
            lambda: secrets(live),
            tracer_provider=tracer_provider,
            clock=clock,
            fingerprint=frames.fingerprint(_handle(self._setup)),
        )

    @guarded
    def set_up(self, session: Any) -> Connection | None:
        """The session is set up. None: the conversation is not traced."""
        connection = self.succeeded()
        if connection is None:
            return None
        # Both passed before there was a session to see them on.
        connection.sent({"setup": self._setup})
        # Of what the server answered older SDKs keep only the id, and still older ones nothing.
        answer = frames.parsed(getattr(session, "setup_complete", None)) or {}
        session_id = getattr(session, "session_id", None) or answer.get("sessionId")
        connection.received({"setupComplete": {"sessionId": session_id} if session_id else {}})
        return connection


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


def _handle(setup: Mapping[str, Any]) -> Any:
    resumption = setup.get("sessionResumption")
    return resumption.get("handle") if isinstance(resumption, dict) else None


def setup(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The setup message that the SDK makes of its arguments, as far as it is recorded."""
    config = frames.wire(arguments.get("config"))
    message: dict[str, Any] = {"model": arguments.get("model")}
    generation: dict[str, Any] = {}
    for key, value in (config if isinstance(config, dict) else {}).items():
        if key in _GENERATION:
            generation[key] = value
        elif key == "generationConfig" and isinstance(value, dict):
            generation = {**value, **generation}
        elif key != "httpOptions":
            message[key] = value
    if generation:
        message["generationConfig"] = generation
    return message
