"""The block of a function call: `conversation.tool_call(id)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from voicespan.protocol.json_values import json_text
from voicespan.protocol.stages import ToolEnded, ToolStarted
from voicespan.runtime.guard import guard
from voicespan.tracing.status import is_error, wire_error

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from typing_extensions import Self

    from voicespan.tracing.cascade.stage import StageSink


class ToolBlock:
    """A context manager, sync and async. Nothing here raises."""

    __slots__ = ("_call_id", "_output", "_sink", "_token")

    def __init__(self, sink: StageSink, call_id: str) -> None:
        """Not for applications: use `conversation.tool_call`."""
        self._sink = sink
        self._call_id = call_id
        self._output: str | None = None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        """The function runs now."""
        with guard():
            if self._sink.recording and isinstance(self._call_id, str):
                if self._sink.is_cascade:
                    self._sink.report(ToolStarted(self._sink.monotonic_ns(), "tool_call", self._call_id))
                span = self._sink.span_of_stage(self._call_id)
                if span is not None:
                    self._token = self._sink.context.enter(span, otel_context.get_current())
        return self

    def output(self, result: Any) -> None:
        """What the function gave back; else it is taken from what the model is given next."""
        with guard():
            self._output = result if isinstance(result, str) else json_text(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """It has run. An exception goes on."""
        with guard():
            token, self._token = self._token, None
            if token is None:
                return
            self._sink.context.leave(token)
            if not self._sink.is_cascade:
                return
            failed = error is not None and is_error(error)
            self._sink.report(
                ToolEnded(
                    self._sink.monotonic_ns(),
                    "tool_call",
                    self._call_id,
                    self._output,
                    wire_error(error) if error is not None and failed else None,
                    cancelled=error is not None and not failed,
                )
            )

    async def __aenter__(self) -> Self:
        """As `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `__exit__`."""
        self.__exit__(kind, error, traceback)
