"""`conversation()`: one conversation for all connections that are opened inside; and which one is current or resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from voicespan.runtime.guard import guard, guarded
from voicespan.runtime.settings import Settings
from voicespan.tracing import registry
from voicespan.tracing.context import SCOPE, conversation_context
from voicespan.tracing.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from opentelemetry.context import Context

    from voicespan.tracing.context import ConversationContext


#: Where one cannot even be opened (no memory): it does nothing.
_NO_CONVERSATION = Conversation(settings=Settings(enabled=False))


class ConversationScope:
    """What `conversation()` returns: a context manager, sync and async."""

    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments
        self._conversation: Conversation | None = None
        self._outer: ConversationContext | None = None

    def __enter__(self) -> Conversation:
        """Open the conversation and make it the scope of new connections."""
        opened = _NO_CONVERSATION
        with guard():
            opened = Conversation(scoped=True, **self._arguments)
        self._conversation = opened
        self._outer = SCOPE.get()
        SCOPE.set(opened.context)
        with guard():
            opened.attach()
            opened.look_below()
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the conversation; the exception, if there is one, goes on."""
        # An async generator may be closed in another context than it began in: what stands there stays.
        if self._conversation is not None:
            if SCOPE.get() is self._conversation.context:
                SCOPE.set(self._outer)
            _end(self._conversation, error)

    async def __aenter__(self) -> Conversation:
        """As `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `__exit__`."""
        self.__exit__(kind, error, traceback)


def conversation(
    name: str = "conversation",
    *,
    thread_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] | None = None,
    record: bool | None = None,
    continues: str | None = None,
) -> ConversationScope:
    """One conversation: every connection opened inside joins its trace.

    Without it, each connection is a conversation of its own.

    Args:
        name: the root span's name. Not what the user said: a name is to filter by.
        thread_id: groups conversations in LangSmith and is written as `gen_ai.conversation.id`; a new
            UUIDv7 when left out.
        metadata: at most 40 keys for the root run.
        tags: for the root run.
        record: False vetoes the recording of this one conversation.
        continues: the `traceparent` of an earlier part (of another process, say), which is linked.

    Example:
        >>> import voicespan
        >>> with voicespan.conversation(thread_id="caller-42", tags=["hotline"]) as conversation:
        ...     conversation.set_metadata(campaign="autumn")
    """
    return ConversationScope(
        name=name, thread_id=thread_id, metadata=metadata, tags=tags, record=record, continues=continues
    )


@guarded
def _end(ending: Conversation, error: BaseException | None) -> None:
    ending.end(error)


@guarded
def current_conversation(context: Context | None = None) -> Conversation | None:
    """The conversation that spans started here and now belong to, if there is one.

    Inside `conversation()` that is its conversation even before a connection is open. None outside of
    any, after its end, and (without a scope) when the trace is not sampled.
    """
    found = conversation_context(otel_context.get_current() if context is None else context)
    if found is None and context is None:
        found = SCOPE.get()
    return _still_open(found)


def conversation_in_scope() -> Conversation | None:
    """The conversation that a connection opened here and now joins."""
    return _still_open(SCOPE.get())


def resumed_conversation(fingerprint: str) -> Conversation | None:
    """The open conversation that issued the handle with this SHA-256, claimed for the connection that has it."""
    found = registry.resumed_by(fingerprint)
    return found if isinstance(found, Conversation) else None


def conversation_in_session(session_id: str) -> Conversation | None:
    """The open conversation that has a connection in this session of a service."""
    found = registry.in_session(session_id)
    return found if isinstance(found, Conversation) else None


def _still_open(context: ConversationContext | None) -> Conversation | None:
    found = None if context is None else context.conversation
    return found if isinstance(found, Conversation) and not found.ended else None
