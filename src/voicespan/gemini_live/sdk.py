"""Where the `google-genai` package lets every message be seen exactly once, in every version since 1.9.

    what                    where                                  why there
    opening, setup, closing the context manager of                 the SDK sends the setup and reads its answer
                            `AsyncLive.connect`                    before there is a session, and leaves the
                                                                   socket without calling the session's `close`
    receiving               `AsyncSession._receive`                `receive` and `start_stream` both end in it
    sending                 `send_client_content`,                 none calls another
                            `send_realtime_input`,
                            `send_tool_response`,
                            `send_context_update`
    sending, the old way    `AsyncSession._parse_client_message`   all that `send` (and so `start_stream`) does
                                                                   before it sends what this returns

`send` itself is left alone: it warns that it is deprecated and finds the caller's line by the depth of the
stack, so no frame of ours may stand between. The functions here call the original first where its result
matters, add no await after it, and guard every call into voicespan.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import sdk_connection
from voicespan.gemini_live.sdk_connection import TRACED
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    import types
    from collections.abc import Awaitable, Callable, Iterator

    from voicespan.tracing.connection import Connection

#: The module that holds the classes.
MODULES = ("google.genai.live",)


def patches(
    module: types.ModuleType, begin: sdk_connection.Begin
) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every (class, attribute, replacement) of the module; `begin` opens a traced connection."""
    live, session = module.AsyncLive, module.AsyncSession
    yield live, "connect", sdk_connection.connecting(live.connect, sdk_connection.traced_managers(begin))
    yield session, "_receive", _receiving(session._receive)  # noqa: SLF001  the one place that sees all
    for method, frame in _SENDING.items():
        if hasattr(session, method):
            yield session, method, _sending(getattr(session, method), frame)
    if hasattr(session, "_parse_client_message"):
        yield session, "_parse_client_message", _parsing(session._parse_client_message)  # noqa: SLF001


# Receiving: the hot path.


def _receiving(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def _receive(self: Any) -> Any:
        try:
            message = await original(self)
        except BaseException as error:
            sdk_connection.reading_failed(self, error)
            raise
        # The attribute itself: `getattr` with a default takes three times as long.
        try:
            received = self._voicespan.received
        except AttributeError:
            return message
        received(message)
        return message

    return _receive


# Sending.


def _client_content(turns: Any = None, turn_complete: Any = True, **_: Any) -> dict[str, Any]:
    return {"clientContent": {"turns": turns, "turnComplete": turn_complete}}


def _realtime_input(**given: Any) -> dict[str, Any]:
    return {"realtimeInput": given}


def _tool_response(function_responses: Any = None, **_: Any) -> dict[str, Any]:
    several = isinstance(function_responses, Sequence)
    return {"toolResponse": {"functionResponses": function_responses if several else [function_responses]}}


def _context_update(**given: Any) -> dict[str, Any]:
    return {"contextUpdate": given}


#: Every method that sends, and what its arguments are on the wire.
_SENDING: dict[str, Callable[..., dict[str, Any]]] = {
    "send_client_content": _client_content,
    "send_realtime_input": _realtime_input,
    "send_tool_response": _tool_response,
    "send_context_update": _context_update,
}


@guarded
def _sent(connection: Connection, frame: Callable[..., dict[str, Any]], given: dict[str, Any]) -> None:
    connection.sent(frame(**given))


def _sending(
    original: Callable[..., Awaitable[Any]], frame: Callable[..., dict[str, Any]]
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = await original(self, *args, **kwargs)
        connection = getattr(self, TRACED, None)
        if connection is not None:
            _sent(connection, frame, kwargs)
        return result

    return send


def _parsing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def _parse_client_message(self: Any, *args: Any, **kwargs: Any) -> Any:
        message = original(self, *args, **kwargs)
        connection = getattr(self, TRACED, None)
        if connection is not None:
            connection.sent(message)
        return message

    return _parse_client_message
