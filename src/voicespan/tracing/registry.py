"""Which conversations of this process are open, and by which handles those that are over were resumable."""

from __future__ import annotations

import atexit
import os
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Protocol

from voicespan.runtime.guard import guarded
from voicespan.runtime.worker_end import at_worker_end
from voicespan.tracing import resumption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.trace import Span

#: Of conversations that are over so many handles are remembered; a service issues one with every turn.
_MOST_HANDLES = 1_000

#: Seconds to wait for a conversation of which another thread writes something.
_PATIENCE = 1.0


class OpenConversation(Protocol):
    """A conversation as the registry knows it."""

    @property
    def thread_id(self) -> str:
        """Which conversations belong together."""
        ...

    def flush(self, patience: float | None = None) -> None:
        """Write what happened until now; wait at most `patience` seconds for another thread that writes."""

    def claim_resumption(self, fingerprint: str) -> bool:
        """Whether this conversation issued that handle; it stays open for the connection that has it now."""
        ...

    def has_session(self, session_id: str) -> bool:
        """Whether one of its connections is in that session."""
        ...

    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """End the root."""

    def discard_after_fork(self) -> None:
        """Forget the conversation without writing anything: the parent process owns it."""


_open: set[OpenConversation] = set()
#: The `traceparent` and the thread of an ended conversation, by the SHA-256 of its handles.
_ended: OrderedDict[str, tuple[str, str]] = OrderedDict()
_registered = False


def opened(conversation: OpenConversation) -> None:
    """It is ended at the process's exit, and forgotten in a forked child."""
    _open.add(conversation)
    _end_open_at_exit()


def ended(conversation: OpenConversation, handles: Iterable[str], root: Span) -> None:
    """It is over. A session that one of these handles resumes is linked to its `root`."""
    _open.discard(conversation)
    context = root.get_span_context()
    if context.is_valid:
        for fingerprint in handles:
            _ended[fingerprint] = (
                f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
                conversation.thread_id,
            )
        while len(_ended) > _MOST_HANDLES:
            _ended.popitem(last=False)


def open_conversations() -> list[OpenConversation]:
    """Every conversation of this process that is being traced."""
    return list(_open)


def flush() -> None:
    """Write what has happened in the open conversations until now.

    A flush may be asked for by what hears of one conversation's span, and two of those must not wait for each other.
    """
    for each in open_conversations():
        each.flush(_PATIENCE)


def resumed_by(fingerprint: str) -> OpenConversation | None:
    """The open conversation that issued the handle with this SHA-256, claimed for the connection that has it."""
    return next((each for each in open_conversations() if each.claim_resumption(fingerprint)), None)


def in_session(session_id: str) -> OpenConversation | None:
    """The open conversation that has a connection in this session of a service."""
    return next((each for each in open_conversations() if each.has_session(session_id)), None)


def ended_with(fingerprint: str) -> tuple[str, str] | None:
    """The `traceparent` and the thread of a conversation that issued this handle and is over."""
    return _ended.get(fingerprint)


@guarded
def end_open_conversations(status: str) -> None:
    """End every open conversation; `status` says why on its root."""
    for each in open_conversations():
        _end_as(each, status)


@guarded
def _end_as(conversation: OpenConversation, status: str) -> None:
    conversation.end(status=status)


def _end_open_at_exit() -> None:
    # Not at import: exit callbacks run last in, first out, and the tracer provider, which was there
    # before its first conversation, must still be working.
    global _registered  # noqa: PLW0603  a process exits once
    if not _registered:
        _registered = True
        atexit.register(end_open_conversations, "process ended")
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget_open)
    at_worker_end("conversations", partial(end_open_conversations, "process ended"), before=2)


@guarded
def _forget_open() -> None:
    # The parent goes on with these; a child that wrote them as well would send each span twice.
    inherited = list(_open)
    _open.clear()
    resumption.forget_all()
    for each in inherited:
        each.discard_after_fork()
