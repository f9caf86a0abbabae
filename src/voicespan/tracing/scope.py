"""`conversation()`: one conversation for all connections that are opened inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.runtime.guard import guard, guarded
from voicespan.tracing.context import SCOPE
from voicespan.tracing.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from voicespan.tracing.context import ConversationContext


class ConversationScope:
    """What `conversation()` returns: a context manager, sync and async."""

    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments
        self._conversation: Conversation | None = None
        self._outer: ConversationContext | None = None

    def __enter__(self) -> Conversation:
        """Open the conversation and make it the scope of new connections."""
        opened = Conversation(scoped=True, **self._arguments)
        self._conversation = opened
        self._outer = SCOPE.get()
        SCOPE.set(opened.context)
        with guard():
            opened.attach()
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the conversation; the exception, if there is one, goes on."""
        # Set, not reset by token: an async generator may be closed in another context than it began in.
        SCOPE.set(self._outer)
        if self._conversation is not None:
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
