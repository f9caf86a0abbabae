"""What is patched of Pipecat: the pipeline, the pushing of frames, and the calls of services."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from voicespan.instrumentation.framework_session import session_here
from voicespan.pipecat.calls import SpokenCall, end_stage, new_stt
from voicespan.pipecat.own_tracing import TraceModule
from voicespan.pipecat.services import hears_segments, kind_of
from voicespan.pipecat.session import PipelineTrace
from voicespan.protocol.json_values import json_text
from voicespan.protocol.stages import ToolEnded, ToolStarted
from voicespan.runtime.guard import guard, guarded
from voicespan.tracing.status import is_error, wire_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

    from voicespan.instrumentation.instrumentor import TracingInstrumentor


class Patches:
    """Of one process."""

    def __init__(self, instrumentor: TracingInstrumentor) -> None:
        """`instrumentor`: whose provider and clock are used."""
        self._instrumentor = instrumentor
        self._open: weakref.WeakSet[PipelineTrace] = weakref.WeakSet()
        #: Of each processor that has pushed something: some transports push from threads of their own.
        self._traces: weakref.WeakKeyDictionary[Any, PipelineTrace] = weakref.WeakKeyDictionary()
        self._wanted: dict[type, bool] = {}

    def of(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        """Every (class, attribute, replacement) in one module."""
        patches: Iterator[tuple[Any, str, Any]] = getattr(self, f"_of_{module.__name__.rpartition('.')[2]}")(
            module
        )
        return patches

    def end_open(self) -> None:
        """End the pipelines that are being traced."""
        for trace in list(self._open):
            trace.end(status="untraced")

    def _of_task(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        # The newer ones call it a worker, of which a task is one.
        owner = next(each for each in module.PipelineTask.__mro__ if "run" in each.__dict__)
        yield owner, "run", self._run(owner.run)

    _of_worker = _of_task

    def _of_frame_processor(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        processor = module.FrameProcessor
        yield processor, "push_frame", self._pushed(processor.push_frame)
        yield processor, "start_llm_usage_metrics", self._used(processor.start_llm_usage_metrics)

    def _of_ai_service(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        yield module.AIService, "process_generator", self._generated(module.AIService.process_generator)

    def _of_tts_service(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        original = getattr(module.TTSService, "tts_process_generator", None)
        if original is not None:
            yield module.TTSService, "tts_process_generator", self._synthesized(original)

    def _of_llm_service(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        service = module.LLMService
        yield service, "_run_function_call", self._tool_run(service._run_function_call)  # noqa: SLF001  the one place

    def _of_base_input(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        owner = module.BaseInputTransport
        yield owner, "push_audio_frame", self._heard(owner.push_audio_frame)

    def _of_service_decorators(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        if hasattr(module, "trace"):
            yield module, "trace", TraceModule(module.trace, self._instrumentor.tracer)

    _of_turn_trace_observer = _of_service_decorators

    # The pipeline.

    def _trace_of(self, processor: Any) -> PipelineTrace | None:
        trace = self._traces.get(processor)
        if trace is None:
            found = session_here()
            if not isinstance(found, PipelineTrace):
                return None
            trace = self._traces[processor] = found
        return trace if trace.is_open else None

    @guarded
    def _begin(self, task: Any) -> PipelineTrace | None:
        if not self._instrumentor.is_tracing() or task.has_finished():
            return None
        conversation_id = getattr(task, "_conversation_id", None)
        trace = PipelineTrace(
            conversation_id if isinstance(conversation_id, str) else None,
            tracer_provider=self._instrumentor.tracer_provider,
            clock=self._instrumentor.clock,
        )
        self._open.add(trace)
        return trace

    def _run(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def run(task: Any, *args: Any, **more: Any) -> Any:
            trace = self._begin(task)
            if trace is None:
                return await original(task, *args, **more)
            error: BaseException | None = None
            try:
                with trace.conversation.use():
                    return await original(task, *args, **more)
            except BaseException as raised:
                error = raised
                raise
            finally:
                trace.end(error)

        return run

    def _pushed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        wanted = self._wanted

        @functools.wraps(original)
        async def push_frame(processor: Any, frame: Any, *args: Any, **more: Any) -> Any:
            kind = type(frame)
            if wanted.get(kind, True):
                with guard():
                    self._see(processor, frame, kind)
            return await original(processor, frame, *args, **more)

        return push_frame

    def _see(self, processor: Any, frame: Any, kind: type) -> None:
        if kind not in self._wanted:
            self._wanted[kind] = PipelineTrace.handles(kind)
            if not self._wanted[kind]:
                return
        trace = self._trace_of(processor)
        if trace is not None:
            trace.see(processor, frame)

    def _heard(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def push_audio_frame(transport: Any, frame: Any) -> Any:
            with guard():
                trace = self._trace_of(transport)
                if trace is not None:
                    trace.sound.user(frame)
            return await original(transport, frame)

        return push_audio_frame

    # The services.

    def _used(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def start_llm_usage_metrics(service: Any, tokens: Any) -> Any:
            with guard():
                trace = self._trace_of(service)
                if trace is not None:
                    trace.usage(service, tokens)
            return await original(service, tokens)

        return start_llm_usage_metrics

    def _generated(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def process_generator(service: Any, generator: Any) -> Any:
            kind = kind_of(service)
            trace = None
            if kind == "tts" or (kind == "stt" and hears_segments(service)):
                with guard():
                    trace = self._trace_of(service)
            if trace is None:
                return await original(service, generator)
            if kind == "tts":
                return await _speak(trace, None, generator, original, service)
            return await _transcribe(trace, service, generator, original)

        return process_generator

    def _synthesized(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def tts_process_generator(service: Any, context_id: Any, generator: Any) -> Any:
            trace = None
            with guard():
                trace = self._trace_of(service)
            if trace is None:
                return await original(service, context_id, generator)
            return await _speak(trace, context_id, generator, original, service, context_id)

        return tts_process_generator

    def _tool_run(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def _run_function_call(service: Any, item: Any) -> Any:
            trace = None
            with guard():
                trace = self._trace_of(service)
            if trace is None:
                return await original(service, item)
            call_id = item.tool_call_id
            error: BaseException | None = None
            _tool_begins(trace, item)
            try:
                return await original(service, item)
            except BaseException as raised:
                error = raised
                raise
            finally:
                _tool_ends(trace, call_id, error)

        return _run_function_call


@guarded
def _tool_begins(trace: PipelineTrace, item: Any) -> None:
    """A function runs, in a task of its own, from now on."""
    if not trace.has_wire:
        # The model is often still at it, and is told to have asked for it when it is through.
        trace.report(
            ToolStarted(
                trace.now(),
                "function_call",
                item.tool_call_id,
                item.function_name,
                json_text(dict(item.arguments)),
            )
        )
    span = trace.conversation.span_of_stage(item.tool_call_id)
    if span is not None:
        trace.conversation.context.enter(span, otel_context.get_current())


@guarded
def _tool_ends(trace: PipelineTrace, call_id: str, error: BaseException | None) -> None:
    if trace.has_wire:
        return
    failed = error is not None and is_error(error)
    trace.report(
        ToolEnded(
            trace.now(),
            "function_call",
            call_id,
            trace.results.pop(call_id, None),
            wire_error(error) if failed and error is not None else trace.tool_failures.pop(call_id, None),
            cancelled=error is not None and not failed,
        )
    )


async def _speak(
    trace: PipelineTrace, context_id: str | None, generator: Any, original: Callable[..., Any], *args: Any
) -> Any:
    """The service, the first of `args`, is given a text."""
    call: SpokenCall | None = None
    with guard():
        call = _call_of(trace, args[0], context_id, _text_of(generator))
    if call is None:
        return await original(*args, generator)
    try:
        with trace.conversation.context.attached(call.stage.span):
            return await original(*args, _with_audio(generator, call))
    except BaseException as error:
        call.end(error)
        raise
    finally:
        with guard():
            call.returned()


def _call_of(trace: PipelineTrace, service: Any, context_id: str | None, text: str | None) -> SpokenCall:
    """That which goes on with this text, or another one."""
    before = trace.services.spoken.get((service, context_id))
    if before is not None:
        if before.goes_on(text):
            return before
        before.stopped()
    return SpokenCall(trace, trace.services, service, text, context_id)


async def _transcribe(
    trace: PipelineTrace, service: Any, generator: Any, original: Callable[..., Any]
) -> Any:
    """One utterance is transcribed."""
    stage = new_stt(trace, service)
    with guard():
        seconds = _seconds_of(generator, service.sample_rate)
        if seconds is not None:
            stage.seconds(seconds)
    trace.services.segments.add(service)
    try:
        async with stage:
            result = await original(service, _with_words(generator, stage))
            with guard():
                error = trace.services.failures.pop(service, None)
                if error is not None:
                    end_stage(stage, error)
        return result
    finally:
        trace.services.segments.discard(service)


async def _with_words(generator: Any, stage: Any) -> AsyncIterator[Any]:
    stage.output("")
    async for frame in generator:
        if type(frame).__name__ == "TranscriptionFrame":
            language = getattr(frame, "language", None)
            stage.output(
                frame.text, language=None if language is None else str(getattr(language, "value", language))
            )
        yield frame


async def _with_audio(generator: Any, call: SpokenCall) -> AsyncIterator[Any]:
    async for frame in generator:
        if type(frame).__name__ == "TTSAudioRawFrame":
            with guard():
                call.audio_here(frame)
        yield frame


def _argument(generator: Any, name: str) -> Any:
    """The first argument, called so, of an asynchronous generator that has not run yet: `run_tts`, or `run_stt`."""
    frame = getattr(generator, "ag_frame", None)
    if frame is None:
        return None
    local = frame.f_locals
    args = local.get("args")
    # A decorator may stand round it.
    return local.get(name, args[0] if isinstance(args, tuple) and args else None)


def _text_of(generator: Any) -> str | None:
    text = _argument(generator, "text")
    return text if isinstance(text, str) else None


def _seconds_of(generator: Any, rate: Any) -> float | None:
    audio = _argument(generator, "audio")
    if not isinstance(audio, bytes) or not isinstance(rate, int) or rate <= 0:
        return None
    return max(len(audio) - (_WAV_HEADER if audio.startswith(b"RIFF") else 0), 0) / 2 / rate


#: Bytes before the samples of an utterance, which Pipecat gives as a WAV file.
_WAV_HEADER = 44
