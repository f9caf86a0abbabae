"""From the SDK's connection manager to a connection of a conversation: one that talks, watches, or forks."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.handshake import Handshake, Provider
from voicespan.instrumentation.openai_package import managers
from voicespan.openai_live.protocol import Protocol
from voicespan.protocol.events import Event, SessionDescribed
from voicespan.runtime.guard import guarded
from voicespan.tracing.scope import conversation_in_scope, conversation_in_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.wire_source import WireAudioSource
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import Connection


def _wire_audio(recorder: Recorder) -> WireAudioSource:
    from voicespan.openai_live.audio import WireAudio  # noqa: PLC0415  only with VOICESPAN_RECORD_SOURCE=wire

    return WireAudio(recorder)


PROVIDER = Provider(Protocol, _wire_audio)


class LiveHandshake(Handshake):
    """Of a connection that may join a session, or begin one that is a fork of another."""

    #: Of the session that it joins.
    session_id: str | None = None
    #: What is known of the session before the service says a word.
    described: SessionDescribed | None = None

    @guarded
    def succeeded(self) -> Connection | None:
        """See `Handshake`."""
        connection = super().succeeded()
        if connection is not None:
            # Noted at once: the next connection may ask for it.
            connection.session_id = self.session_id
            connection.ingest(self._describe)
        return connection

    def _describe(self, at: int) -> list[Event]:
        if self.described is None:
            return []
        self.described.at = at
        return [self.described]


def _has_joined(session_id: str) -> bool:
    """Whether the conversation that a connection opened here and now belongs to is in this session already."""
    found, scoped = conversation_in_session(session_id), conversation_in_scope()
    return found is not None and scoped in (None, found)


def handshake(manager: Any, tracer_provider: TracerProvider | None, clock: Clock) -> LiveHandshake:
    """The handshake that the SDK's connection manager is about to make."""
    return live_handshake(
        managers.session_of(manager),
        "Fork" in type(manager).__name__,
        managers.attributes(manager),
        lambda: managers.secrets(manager),
        tracer_provider=tracer_provider,
        clock=clock,
    )


def live_handshake(
    session_id: str | None,
    forks: bool,
    attributes: Mapping[str, AttributeValue],
    secrets: Callable[[], Iterable[str]],
    *,
    tracer_provider: TracerProvider | None,
    clock: Clock,
) -> LiveHandshake:
    """The handshake of a connection, whoever makes it.

    Args:
        session_id: of the session that it joins, or `forks`; None: it begins one.
        forks: whether it goes on from a stored session.
        attributes: see `Handshake`, as for the others.
        secrets: see `Handshake`.
        tracer_provider: see `Handshake`.
        clock: see `Handshake`.
    """
    joins = None if forks else session_id
    # Beside the connection that talks, in the same process, only what that one does not see is new.
    watches = joins is not None and _has_joined(joins)
    provider = PROVIDER
    if joins is not None:
        provider = Provider(
            functools.partial(Protocol, session_id=joins, watches=watches),
            _wire_audio,
            records=not watches,
        )
    found = LiveHandshake(
        provider, attributes, secrets, tracer_provider=tracer_provider, clock=clock, session_id=joins
    )
    found.session_id = joins
    if forks and session_id is not None:
        found.described = SessionDescribed(0, "fork", None, None, {"forked_from_session_id": session_id})
    elif joins is not None and not watches:
        found.described = SessionDescribed(0, "attach", joins, None, {"observer": True})
    return found
