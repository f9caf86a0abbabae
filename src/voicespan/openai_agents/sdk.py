"""What is patched of the Agents SDK: its realtime sessions, the functions that they run, and what it is told was played."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.framework_session import session_here
from voicespan.openai_agents.session import SessionTrace
from voicespan.runtime.guard import guard, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from voicespan.instrumentation.instrumentor import TracingInstrumentor


class Patches:
    """Of one process."""

    def __init__(self, instrumentor: TracingInstrumentor) -> None:
        """`instrumentor`: whose provider and clock are used."""
        self._instrumentor = instrumentor
        self._sessions: weakref.WeakKeyDictionary[Any, SessionTrace] = weakref.WeakKeyDictionary()
        self._trackers: weakref.WeakKeyDictionary[Any, SessionTrace] = weakref.WeakKeyDictionary()

    def of(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        """Every (class, attribute, replacement) in one module."""
        if module.__name__ == "agents.realtime.session":
            session = module.RealtimeSession
            for name, wrapper in (
                ("__aenter__", self._entered),
                ("__aexit__", self._left),
                ("close", self._closed),
                ("send_audio", self._heard),
                ("_put_event", self._emitted),
                ("_handle_tool_call", self._tool_run),
            ):
                yield session, name, wrapper(getattr(session, name))
        elif module.__name__ == "agents.tool_guardrails":
            for guardrail in (module.ToolInputGuardrail, module.ToolOutputGuardrail):
                yield guardrail, "run", self._tool_guarded(guardrail.run)
        tracker = getattr(module, "RealtimePlaybackTracker", None)
        # The oldest have none.
        if tracker is not None and tracker.__module__ == module.__name__:
            # `on_play_bytes` calls it.
            yield tracker, "on_play_ms", self._played(tracker.on_play_ms)
            yield tracker, "on_interrupted", self._interrupted(tracker.on_interrupted)

    def end_open(self) -> None:
        """End the sessions that are being traced."""
        for trace in list(self._sessions.values()):
            trace.end(status="untraced")

    # The session.

    def _trace_of(self, session: Any) -> SessionTrace | None:
        trace = self._sessions.get(session)
        return trace if trace is not None and trace.is_open else None

    @guarded
    def _begin(self, session: Any) -> SessionTrace | None:
        instrumentor = self._instrumentor
        if not instrumentor.is_tracing() or self._trace_of(session) is not None:
            return None
        trace = SessionTrace(session, tracer_provider=instrumentor.tracer_provider, clock=instrumentor.clock)
        self._sessions[session] = trace
        if trace.tracker is not None:
            self._trackers[trace.tracker] = trace
        trace.enter()
        return trace

    def _entered(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def __aenter__(session: Any) -> Any:  # noqa: N807  stands in for it
            trace = self._begin(session)
            try:
                return await original(session)
            except BaseException as error:
                if trace is not None:
                    trace.end(error)
                raise

        return __aenter__

    def _left(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def __aexit__(session: Any, *exc: Any, **named: Any) -> Any:  # noqa: N807  stands in for it
            error = exc[1] if len(exc) > 1 else named.get("_exc_val")
            trace = self._trace_of(session)
            if trace is not None:
                trace.error = error
            return await original(session, *exc, **named)

        return __aexit__

    def _closed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def close(session: Any) -> Any:
            try:
                return await original(session)
            finally:
                trace = self._trace_of(session)
                if trace is not None:
                    trace.end(trace.error)

        return close

    def _emitted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def _put_event(session: Any, event: Any) -> Any:
            trace = self._trace_of(session)
            if trace is not None:
                trace.hear(event)
            return await original(session, event)

        return _put_event

    # Its functions.

    def _tool_run(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def _handle_tool_call(session: Any, event: Any, *args: Any, **named: Any) -> Any:
            trace = self._trace_of(session)
            if trace is None:
                return await original(session, event, *args, **named)
            # So that what it does nests in its own call, however many run at a time.
            with trace.conversation.tool_call(event.call_id):
                return await original(session, event, *args, **named)

        return _handle_tool_call

    def _tool_guarded(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def run(guardrail: Any, asked: Any) -> Any:
            trace = session_here()
            if not isinstance(trace, SessionTrace):
                return await original(guardrail, asked)
            began_at = trace.now()
            output = await original(guardrail, asked)
            trace.guarded_tool(guardrail, asked, output, began_at)
            return output

        return run

    # Its sound.

    def _heard(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def send_audio(session: Any, audio: bytes, *args: Any, **named: Any) -> Any:
            trace = self._trace_of(session)
            # Without a tracker nobody says what of the agent was heard, and one side alone is no recording.
            if trace is not None and trace.tracker is not None:
                trace.audio.user(audio)
            return await original(session, audio, *args, **named)

        return send_audio

    def _trace_of_tracker(self, tracker: Any) -> SessionTrace | None:
        trace = self._trackers.get(tracker)
        return trace if trace is not None and trace.is_open else None

    def _played(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def on_play_ms(tracker: Any, item_id: str, item_content_index: int, ms: float) -> Any:
            with guard():
                trace = self._trace_of_tracker(tracker)
                if trace is not None:
                    trace.audio.agent(item_id, ms, getattr(tracker, "_format", None))
            return original(tracker, item_id, item_content_index, ms)

        return on_play_ms

    def _interrupted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def on_interrupted(tracker: Any) -> Any:
            with guard():
                trace = self._trace_of_tracker(tracker)
                if trace is not None:
                    trace.audio.interrupted()
            return original(tracker)

        return on_interrupted
