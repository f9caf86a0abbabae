"""Any socket that speaks Gemini Live: of the Developer API, with ephemeral tokens, and of Vertex AI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.gemini_live import frames
from voicespan.gemini_live.json_protocol import JsonProtocol
from voicespan.gemini_live.sdk_connection import lost
from voicespan.instrumentation.handshake import Provider
from voicespan.instrumentation.sockets.by_url import SocketEndpoint
from voicespan.protocol.json_values import as_object
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from voicespan.instrumentation.sockets.by_url import SocketRequest
    from voicespan.recording.recorder import Recorder
    from voicespan.recording.wire_source import WireAudioSource

#: What ephemeral tokens open ends in `Constrained`.
_METHODS = ("BidiGenerateContent", "BidiGenerateContentConstrained")


def _wire_audio(recorder: Recorder) -> WireAudioSource:
    from voicespan.gemini_live.audio import JsonWireAudio  # noqa: PLC0415  only with VOICESPAN_RECORD_SOURCE=wire

    return JsonWireAudio(recorder)


def _matches(_host: str, path: str) -> bool:
    # Nobody else has such a path, so a proxy's host is as good as Google's.
    return path.rstrip("/").endswith(_METHODS)


def _attributes(request: SocketRequest) -> dict[str, AttributeValue]:
    # The model is in the setup, which is the first frame.
    vertex = "LlmBidiService" in request.path or request.host.endswith("aiplatform.googleapis.com")
    provider = "gcp.vertex_ai" if vertex else "gcp.gemini"
    return {semconv.PROVIDER: provider, semconv.SYSTEM: provider, **request.server()}


def _resumes(frame: bytes) -> str | None:
    message = frames.wire(frames.parsed(frame))
    setup = as_object(message.get("setup")) if isinstance(message, dict) else {}
    return frames.fingerprint(as_object(setup.get("sessionResumption")).get("handle"))


ENDPOINT = SocketEndpoint(
    name="google-genai-live",
    provider=Provider(JsonProtocol, _wire_audio),
    matches=_matches,
    attributes=_attributes,
    resumes=_resumes,
    lost=lost,
    clients=("google.genai",),
)
