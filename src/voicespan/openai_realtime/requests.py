"""What the application asked the server for and has no answer to yet: it has not happened until the server says so.

The server answers in order. An error names the event that it refuses only where the application gave that event an id,
which the Python client does not do by itself; else it is known by its code, by the parameter that it names, or by
its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values
from voicespan.protocol.events import Level, LocalId, ProviderEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.protocol.events import Event, WireError

CREATE = "conversation.item.create"
TRUNCATE = "conversation.item.truncate"
DELETE = "conversation.item.delete"
COMMIT = "input_audio_buffer.commit"
UPDATE = "session.update"
RESPOND = "response.create"
CANCEL = "response.cancel"

#: So many wait: far more than an application sends between two responses.
_MOST = 256
#: What can be done without a word: a cancel of an answer that is over just then, for example.
_SILENT = frozenset({UPDATE, DELETE, CANCEL})
#: What an error's code begins with, and what it refuses.
_BY_CODE = (
    ("input_audio_buffer_commit", COMMIT),
    ("response_cancel", CANCEL),
    ("conversation_already_has_active_response", RESPOND),
    ("item_truncate", TRUNCATE),
    ("item_delete", DELETE),
    ("item_create", CREATE),
)
#: The parameter that it names, and what that is a parameter of.
_BY_PARAMETER = (
    ("item.", CREATE),
    ("session.", UPDATE),
    ("response.", RESPOND),
    ("audio_end_ms", TRUNCATE),
    ("content_index", TRUNCATE),
)
#: Words of its message.
_BY_WORDS = (
    ("truncated", TRUNCATE),
    ("already shorter than", TRUNCATE),
    ("error committing", COMMIT),
    ("tool call id", CREATE),
)


@dataclass(slots=True)
class Request:
    """One thing that the application asked for."""

    at: int
    kind: str
    event: dict[str, Any]
    event_id: str | None
    #: Of what is created, or the item that it is about.
    item_id: str
    item: dict[str, Any]

    @property
    def item_type(self) -> str:
        """What is created."""
        return values.name(self.item.get("type")) or "message"


class Requests:
    """Those of one connection, in the order in which they were sent."""

    def __init__(self, level: Level) -> None:
        """`level`: up to which frames under their own name are wanted."""
        self._level = level
        self._waiting: tuple[Request, ...] = ()
        #: Those that were answered since these were taken, as events under their own names.
        self.answered: tuple[Event, ...] = ()

    def add(self, kind: str, event: dict[str, Any], at: int) -> None:
        """The application sent one."""
        item = values.as_object(event.get("item"))
        item_id = values.name(item.get("id")) or values.name(event.get("item_id")) or LocalId.new("sent")
        request = Request(at, kind, event, values.name(event.get("event_id")), item_id, item)
        if len(self._waiting) >= _MOST:
            self._settle(self._waiting[0])
        self._waiting += (request,)

    def waiting(self, kind: str) -> list[Request]:
        """Those of one kind, the oldest first."""
        return [each for each in self._waiting if each.kind == kind]

    def accept(self, kind: str, fits: Callable[[Request], bool] = lambda _: True) -> Request | None:
        """The server did the oldest that is of this kind and `fits`."""
        found = next((each for each in self._waiting if each.kind == kind and fits(each)), None)
        if found is not None:
            # The server answers in order: what it could have refused before this, it did.
            for each in self._waiting[: self._waiting.index(found)]:
                if each.kind in _SILENT:
                    self._settle(each)
            self._settle(found)
        return found

    def accept_item(self, item: dict[str, Any]) -> Request | None:
        """The server shows an item; the application may have sent it."""
        if not self._waiting:
            return None
        item_id, kind = item.get("id"), values.name(item.get("type")) or "message"
        text, role, call_id = values.item_text(item), item.get("role"), item.get("call_id")
        return self.accept(
            CREATE,
            lambda sent: (
                sent.item_type == kind
                and (
                    sent.item_id == item_id
                    or (
                        sent.item.get("role") == role
                        and sent.item.get("call_id") == call_id
                        and values.item_text(sent.item) == text
                    )
                )
            ),
        )

    def refuse(self, error: dict[str, Any], wire_error: WireError) -> Request | None:
        """The server did not do what this error is about, if it is about a request."""
        event_id, kind = values.name(error.get("event_id")), _refused_kind(error)
        for each in self._waiting:
            if each.event_id == event_id if event_id is not None else kind in (each.kind, None):
                self._settle(each, wire_error)
                return each
        return None

    def accept_all(self) -> None:
        """What is neither done nor refused when the connection ends went out all the same."""
        for each in self._waiting:
            self._settle(each)

    def take_answered(self) -> tuple[Event, ...]:
        """Take `answered`."""
        answered, self.answered = self.answered, ()
        return answered

    def _settle(self, request: Request, error: WireError | None = None) -> None:
        self._waiting = tuple(each for each in self._waiting if each is not request)
        # What answers a function has a span that is named after it.
        if error is not None and (request.item_type != "function_call_output" or self._level is Level.ALL):
            refused = {"refused": True}
            self.answered += (
                ProviderEvent(request.at, request.kind, Level.STANDARD, request.event, True, error, refused),
            )
        elif self._level is Level.ALL:
            self.answered += (
                ProviderEvent(request.at, request.kind, Level.ALL, request.event, from_client=True),
            )


def _refused_kind(error: dict[str, Any]) -> str | None:
    """What kind of request an error without an event id refuses; None: any, the oldest; "": none."""
    code, parameter = values.name(error.get("code")) or "", values.name(error.get("param")) or ""
    words = (values.text(error.get("message"), 4_000) or "").lower()
    for start, kind in _BY_CODE:
        if code.startswith(start):
            return kind
    for start, kind in _BY_PARAMETER:
        if parameter.startswith(start):
            return kind
    for some, kind in _BY_WORDS:
        if some in words:
            return kind
    invalid = error.get("type") == "invalid_request_error" and not parameter
    return None if invalid else ""
