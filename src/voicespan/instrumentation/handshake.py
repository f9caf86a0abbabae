"""From a socket that opens to a connection of a conversation: the same for every provider and every way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.runtime.guard import guarded
from voicespan.tracing.connection import Connection
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.registry import ended_with
from voicespan.tracing.scope import conversation_in_scope, conversation_in_session, resumed_conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.interface import WireProtocol
    from voicespan.recording.recorder import Recorder
    from voicespan.recording.wire_source import WireAudioSource
    from voicespan.runtime.clock import Clock
    from voicespan.runtime.settings import Level


@dataclass(frozen=True)
class Provider:
    """What makes up a provider; its `endpoint` module holds one."""

    #: Makes the protocol of one connection; it is given up to which level events are wanted.
    protocol: Callable[[Level], WireProtocol]
    #: Makes what records one connection's frames, with VOICESPAN_RECORD_SOURCE=wire.
    wire_audio: Callable[[Recorder], WireAudioSource]
    connection: type[Connection] = Connection
    #: Whether its frames may be recorded: not where another connection carries the same sound.
    records: bool = True


class Handshake:
    """One handshake: `succeeded` or `failed` is called once it is over."""

    def __init__(
        self,
        provider: Provider,
        attributes: Mapping[str, AttributeValue],
        secrets: Callable[[], Iterable[str]],
        *,
        tracer_provider: TracerProvider | None,
        clock: Clock,
        fingerprint: str | None = None,
        session_id: str | None = None,
    ) -> None:
        """Find the conversation that the connection belongs to, or begin one.

        Args:
            provider: whose connection it is.
            attributes: provider, model and server, as far as they are known before the server answers.
            secrets: returns what the client signs its requests with, which must not get into the trace.
                Called when the handshake is over: some keys are made during it.
            tracer_provider: for a new conversation.
            clock: for a new conversation.
            fingerprint: SHA-256 of the handle that resumes an earlier session.
            session_id: of the session that it joins beside another connection.
        """
        self._provider = provider
        self._attributes = attributes
        self._secrets = secrets
        scoped = conversation_in_scope()
        resumed = resumed_conversation(fingerprint) if scoped is None and fingerprint is not None else None
        self._resumes = resumed is not None
        earlier = None if fingerprint is None else ended_with(fingerprint)
        joined = conversation_in_session(session_id) if scoped is None and session_id is not None else None
        continues, thread_id = earlier or (None, None)
        self.conversation = (
            scoped
            or resumed
            or joined
            or Conversation(
                tracer_provider=tracer_provider, clock=clock, continues=continues, thread_id=thread_id
            )
        )

    @guarded
    def succeeded(self) -> Connection | None:
        """The connection is open. None: the conversation is not traced."""
        conversation = self.conversation
        if not conversation.recording or conversation.ended:
            return None
        conversation.keep_secrets(self._secrets())
        return conversation.connect(
            self._provider.protocol(conversation.settings.events),
            self._attributes,
            kind=self._provider.connection,
            wire_audio=self._provider.wire_audio if self._provider.records else None,
            resumes=self._resumes,
        )

    @guarded
    def failed(self, error: BaseException) -> None:
        """The handshake raised `error`."""
        self.conversation.keep_secrets(self._secrets())
        self.conversation.connect_failed(error, self._attributes, resumes=self._resumes)
