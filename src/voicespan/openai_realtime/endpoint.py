"""From the SDK's connection manager to a connection of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.handshake import Handshake, Provider
from voicespan.instrumentation.openai_package import managers
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.wire_source import WireAudioSource
    from voicespan.runtime.clock import Clock


def _wire_audio(recorder: Recorder) -> WireAudioSource:
    from voicespan.openai_realtime.audio import WireAudio  # noqa: PLC0415  only with VOICESPAN_RECORD_SOURCE=wire

    return WireAudio(recorder)


PROVIDER = Provider(Protocol, _wire_audio, RealtimeConnection)


def handshake(manager: Any, tracer_provider: TracerProvider | None, clock: Clock) -> Handshake:
    """The handshake that the SDK's connection manager is about to make."""
    return Handshake(
        PROVIDER,
        managers.attributes(manager),
        lambda: managers.secrets(manager),
        tracer_provider=tracer_provider,
        clock=clock,
    )
