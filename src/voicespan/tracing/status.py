"""Where a conversation stands, and how it went: completed, cancelled, or failed, and by what."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from voicespan.content.truncation import cut_text
from voicespan.protocol.events import WireError
from voicespan.protocol.json_values import safe_str

if TYPE_CHECKING:
    from voicespan.protocol.events import SessionDescribed

#: What ends a block without being an error of the conversation.
_NO_ERROR = (GeneratorExit, KeyboardInterrupt, SystemExit)
#: asyncio's, and trio's.
_CANCELLATIONS = frozenset({"CancelledError", "Cancelled"})
_LONGEST_MESSAGE = 2_000
#: Groups in groups that are looked into.
_DEEPEST = 10


class ConversationStatus:
    """As far as it is known."""

    def __init__(self) -> None:
        self._cancelled = False
        self._override: str | None = None
        self._error: WireError | None = None
        self._recoverable_error: WireError | None = None
        #: It only transcribes or translates.
        self.is_listening_only = False
        self._loss: BaseException | None = None

    @property
    def failure(self) -> WireError | None:
        """What makes the root an error, if it stays at that."""
        return self._error or self._recoverable_error

    def in_words(self, *, unanswered: bool) -> str:
        """In a word or two. `unanswered`: no turn of the user was answered."""
        if self._override is not None:
            return self._override
        if self.failure is not None:
            return "error"
        if self._cancelled:
            return "cancelled"
        return "unanswered" if unanswered and not self.is_listening_only else "completed"

    def session_described(self, event: SessionDescribed) -> None:
        """Some sessions only transcribe or translate: nobody expects an answer there."""
        kind = event.facts.get("session_type")
        if event.event_type.startswith("transcription_session."):
            kind = "transcription"
        if kind is not None:
            self.is_listening_only = kind != "realtime"

    def override(self, status: str | None) -> None:
        """Whoever ended it says how; None: nobody does."""
        self._override = status

    def exited_with(self, error: BaseException | None, *, over: bool) -> None:
        """`error` left the block of a connection or of the conversation. `over`: its sockets had closed."""
        # Cancelled after the socket had closed, or the session was over: nothing was cut short.
        if error is None or (over and is_cancellation(error)):
            return
        # A close that the application did not catch: that is how `for frame in socket` by hand ends. What its code means
        # is known already, and the same exception leaves one block after the other.
        if _names(error) == {"ConnectionClosedOK"} or is_the_close(error, self._loss):
            return
        if is_error(error):
            self._error = self._error or wire_error(error)
        else:
            self._cancelled = True

    def handshake_failed(self, error: BaseException) -> None:
        """A connection could not be opened; another may be."""
        if is_error(error):
            self._recoverable_error = wire_error(error)
        else:
            self._cancelled = True

    def connection_lost(self, close_code: int | None) -> None:
        """A connection was closed abnormally; another may follow."""
        self._recoverable_error = WireError(
            "connection_closed", f"the connection closed abnormally (code {close_code})"
        )

    def lost_by(self, loss: BaseException | None) -> None:
        """Note the exception by which the application learned of the close; None: none can leave a block any more."""
        self._loss = loss

    def recovered(self) -> None:
        """A connection is open again: what had failed before did not end the conversation."""
        self._recoverable_error = None


def is_the_close(error: BaseException | None, loss: BaseException | None) -> bool:
    """Whether what leaves a block, `error`, is only the exception by which the application learned of the close."""
    if error is None or loss is None:
        return False
    grouped = getattr(error, "exceptions", None)
    if isinstance(grouped, tuple) and grouped:
        return all(is_the_close(each, loss) for each in grouped)
    return error is loss


def is_cancellation(error: BaseException | None) -> bool:
    """Whether somebody cancelled the task: a framework does so at the end of every call."""
    return error is not None and _names(error) <= _CANCELLATIONS


def is_error(error: BaseException) -> bool:
    """Whether what left a block means that something failed, and not that somebody stopped it."""
    # Known by their names: importing asyncio costs what a sync application need not pay.
    return not isinstance(error, _NO_ERROR) and not is_cancellation(error)


def _names(error: BaseException, depth: int = 0) -> set[str]:
    """The names of its classes: of a group (a task group raises one) those of what is in it."""
    grouped = getattr(error, "exceptions", None)
    if not isinstance(grouped, tuple) or not grouped or depth > _DEEPEST:
        return {type(error).__name__}
    return set().union(*(_names(each, depth + 1) for each in grouped))


def wire_error(error: BaseException) -> WireError:
    """An exception as it is stored."""
    # The message of a foreign exception may quote anything: headers, keys, a person's words.
    return WireError(type(error).__qualname__, cut_text(safe_str(error), _LONGEST_MESSAGE))


class State(Enum):
    """Where a conversation stands."""

    #: It takes in what happens. It may have no connection yet.
    OPEN = "open"
    #: Its last connection was lost, and another may resume the session.
    WAITING = "waiting"
    #: Its last spans are being written.
    ENDING = "ending"
    ENDED = "ended"


OPEN, WAITING, ENDING, ENDED = State.OPEN, State.WAITING, State.ENDING, State.ENDED

#: What moves a conversation from one state to the next. What is not in here changes nothing.
_NEXT: dict[tuple[State, str], State] = {
    (OPEN, "connected"): OPEN,
    (WAITING, "connected"): OPEN,
    (OPEN, "last connection lost"): WAITING,
    (WAITING, "last connection lost"): WAITING,
    (OPEN, "end"): ENDING,
    (WAITING, "end"): ENDING,
    (ENDING, "all written"): ENDED,
    **dict.fromkeys([(state, "forked") for state in State], ENDED),
}


def after(state: State, what: str) -> State | None:
    """The state after `what` happened; None: it changes nothing."""
    return _NEXT.get((state, what))
