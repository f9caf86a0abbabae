"""What is patched of LiveKit Agents: its sessions, their sound, the functions that they run, and their own tracer."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.framework_spans import FrameworkTracer
from voicespan.livekit import model_patches, tools
from voicespan.livekit.cloud import cloud_tracer
from voicespan.livekit.model_calls import IN_TOOL
from voicespan.livekit.session import SessionTrace
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
        self._outputs: weakref.WeakKeyDictionary[Any, SessionTrace] = weakref.WeakKeyDictionary()

    def of(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        """Every (class, attribute, replacement) in `livekit.agents`."""
        session = module.voice.agent_session.AgentSession
        for name, wrapper in (
            ("start", self._started),
            ("_aclose_impl", self._closed),
            ("emit", self._emitted),
            ("say", self._spoken),
            ("generate_reply", self._spoken),
        ):
            yield session, name, wrapper(getattr(session, name))
        activity = module.voice.agent_activity.AgentActivity
        yield activity, "push_audio", self._heard(activity.push_audio)
        for name, wrapper in (
            ("_on_generation_created", self._generated),
            ("_on_input_audio_transcription_completed", self._transcribed),
            ("_on_metrics_collected", self._measured),
        ):
            yield activity, name, wrapper(getattr(activity, name))
        output = module.voice.io.AudioOutput
        yield output, "capture_frame", self._played(output.capture_frame)
        yield output, "on_playback_finished", self._playback_finished(output.on_playback_finished)
        if hasattr(output, "pause"):
            # The oldest cannot.
            yield output, "pause", self._paused(output.pause)
            yield output, "resume", self._resumed(output.resume)
        if hasattr(output, "on_playback_progressed"):
            yield output, "on_playback_progressed", self._progressed(output.on_playback_progressed)
        yield from model_patches.of(module)
        yield from self._of_tools(module)
        yield from self._of_tracer(module)

    def end_open(self) -> None:
        """End the sessions that are being traced."""
        for trace in list(self._sessions.values()):
            trace.end(status="untraced")

    # The session.

    def trace_of(self, session: Any) -> SessionTrace | None:
        """What is traced of a session that is open."""
        trace = self._sessions.get(session)
        return trace if trace is not None and trace.is_open else None

    @guarded
    def _begin(self, session: Any) -> SessionTrace | None:
        instrumentor = self._instrumentor
        if not instrumentor.is_tracing() or self.trace_of(session) is not None:
            return None
        trace = SessionTrace(session, tracer_provider=instrumentor.tracer_provider, clock=instrumentor.clock)
        self._sessions[session] = trace
        trace.enter()
        return trace

    def _started(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def start(session: Any, *args: Any, **more: Any) -> Any:
            trace = self._begin(session)
            try:
                return await original(session, *args, **more)
            except BaseException as error:
                if trace is not None:
                    trace.end(error)
                raise

        return start

    def _closed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def _aclose_impl(session: Any, *args: Any, **more: Any) -> Any:
            trace = self.trace_of(session)
            if trace is None:
                return await original(session, *args, **more)
            trace.audio.is_closing = True
            try:
                with trace.conversation.use():
                    return await original(session, *args, **more)
            finally:
                trace.end(trace.error)

        return _aclose_impl

    def _emitted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def emit(session: Any, event: str, *args: Any) -> Any:
            trace = self.trace_of(session)
            if trace is not None and args:
                trace.hear(event, args[0])
            return original(session, event, *args)

        return emit

    def _spoken(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def speak(session: Any, *args: Any, **more: Any) -> Any:
            trace = self.trace_of(session)
            if trace is None:
                return original(session, *args, **more)
            before = IN_TOOL.set(False)
            try:
                with trace.conversation.use():
                    return original(session, *args, **more)
            finally:
                IN_TOOL.reset(before)

        return speak

    # Its sound.

    def _heard(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def push_audio(activity: Any, frame: Any) -> Any:
            with guard():
                trace = self.trace_of(activity._session)  # noqa: SLF001  the one way from an activity to its session
                if trace is not None:
                    trace.audio.user(frame)
            return original(activity, frame)

        return push_audio

    # Realtime models.

    def _generated(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _on_generation_created(activity: Any, event: Any) -> Any:
            with guard():
                trace = self.trace_of(activity._session)  # noqa: SLF001  as above
                if trace is not None:
                    trace.answers(event, activity.llm)
            return original(activity, event)

        return _on_generation_created

    def _transcribed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _on_input_audio_transcription_completed(activity: Any, event: Any) -> Any:
            with guard():
                trace = self.trace_of(activity._session)  # noqa: SLF001  as above
                if trace is not None:
                    trace.transcribed(event)
            return original(activity, event)

        return _on_input_audio_transcription_completed

    def _measured(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _on_metrics_collected(activity: Any, metrics: Any, *args: Any) -> Any:
            with guard():
                trace = self.trace_of(activity._session)  # noqa: SLF001  as above
                if trace is not None:
                    trace.realtime.measured(metrics)
            return original(activity, metrics, *args)

        return _on_metrics_collected

    def _played(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def capture_frame(output: Any, frame: Any) -> Any:
            with guard():
                trace = self._trace_of_output(output)
                if trace is not None:
                    trace.audio.agent(frame)
            return await original(output, frame)

        return capture_frame

    def _playback_finished(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def on_playback_finished(output: Any, **facts: Any) -> Any:
            with guard():
                trace = self._trace_of_output(output)
                if trace is not None:
                    trace.audio.finished(facts["playback_position"], interrupted=facts["interrupted"])
            return original(output, **facts)

        return on_playback_finished

    def _paused(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def pause(output: Any) -> Any:
            with guard():
                trace = self._trace_of_output(output)
                # Some say that they can, and play on.
                if trace is not None and type(_last_of(output)).pause is not pause:
                    trace.audio.paused()
            return original(output)

        return pause

    def _resumed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def resume(output: Any) -> Any:
            with guard():
                trace = self._trace_of_output(output)
                if trace is not None:
                    trace.audio.resumed(_goes_on_from(output))
            return original(output)

        return resume

    def _progressed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def on_playback_progressed(output: Any, **facts: Any) -> Any:
            with guard():
                trace = self._trace_of_output(output)
                if trace is not None:
                    trace.audio.progressed(facts["offset"] + facts["duration"])
            return original(output, **facts)

        return on_playback_progressed

    def _trace_of_output(self, output: Any) -> SessionTrace | None:
        """The session whose output this is; not of those that it hands its frames on to."""
        trace = self._outputs.get(output)
        if trace is None:
            trace = SessionTrace.here()
            session = None if trace is None else trace.session
            if trace is None or session is None or session.output.audio is not output:
                return None
            self._outputs[output] = trace
        return trace if trace.is_open else None

    # Its functions.

    def _of_tools(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        context = module.voice.events.RunContext
        yield context, "__init__", self._tool_begins(context.__init__)
        output = getattr(module.voice.generation, "ToolExecutionOutput", None)
        if output is not None:
            yield output, "__init__", _tool_ends(output.__init__)

    def _tool_begins(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def __init__(context: Any, *args: Any, **more: Any) -> None:  # noqa: N807
            original(context, *args, **more)
            with guard():
                trace = self.trace_of(context.session)
                if trace is not None:
                    tools.begin(trace, context.function_call)

        return __init__

    # Its own spans.

    def _of_tracer(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        traces = getattr(getattr(module, "telemetry", None), "traces", None)
        if traces is None:
            # The oldest have no spans of their own.
            return
        tracer = traces.tracer
        yield tracer, "_tracer", self._covered(tracer._tracer)  # noqa: SLF001  what all of its spans are made with
        yield type(tracer), "set_provider", self._provider_set(type(tracer).set_provider)

    def _covered(self, tracer: Any) -> FrameworkTracer:
        return FrameworkTracer(tracer, self._instrumentor.tracer, cloud_tracer)

    def _provider_set(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def set_provider(tracer: Any, *args: Any, **more: Any) -> Any:
            result = original(tracer, *args, **more)
            with guard():
                tracer._tracer = self._covered(tracer._tracer)  # noqa: SLF001  as above
            return result

        return set_provider


def _goes_on_from(output: Any) -> float | None:
    """How much of the segment a room's output has taken from its buffer: it drops what of that was not played."""
    taken = getattr(_last_of(output), "_source_pushed_duration", None)
    return float(taken) if isinstance(taken, int | float) else None


def _last_of(output: Any) -> Any:
    """What plays what is given to `output`."""
    while (behind := output.next_in_chain) is not None:
        output = behind
    return output


def _tool_ends(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def __init__(output: Any, *args: Any, **more: Any) -> None:  # noqa: N807
        original(output, *args, **more)
        with guard():
            trace = SessionTrace.here()
            if trace is not None:
                tools.end(trace, output.fnc_call_out, getattr(output, "raw_exception", None))

    return __init__
