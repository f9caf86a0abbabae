"""What is patched of the base classes of LiveKit's models; see `model_calls`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.framework_spans import within_framework
from voicespan.livekit.model_calls import (
    IN_PROBE,
    ChunkedCall,
    LLMCall,
    SynthesisCall,
    Utterances,
    heard,
    seconds_of,
    stt_stage,
    watched,
)
from voicespan.livekit.session import SessionTrace
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


def of(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """Every (class, attribute, replacement) of the models in `livekit.agents`."""
    for stream, kind in ((module.llm.LLMStream, LLMCall), (module.tts.ChunkedStream, ChunkedCall)):
        yield stream, "__init__", _made(stream, kind)
        yield stream, "_metrics_monitor_task", _measured(stream, _made_before)
    for stream, begin in (
        (module.tts.SynthesizeStream, SynthesisCall),
        (module.stt.RecognizeStream, Utterances),
    ):
        yield stream, "_metrics_monitor_task", _measured(stream, functools.partial(_begin_call, begin))
    yield module.stt.STT, "recognize", _recognized(module.stt.STT.recognize)
    for adapters, names in (
        (module.llm, ("FallbackLLMStream",)),
        (module.stt, ("FallbackAdapter", "FallbackRecognizeStream")),
        (module.tts, ("FallbackChunkedStream", "FallbackSynthesizeStream")),
    ):
        for name in names:
            adapter = getattr(adapters.fallback_adapter, name)
            yield adapter, "_try_recovery", _probed(adapter._try_recovery)  # noqa: SLF001  as above


def _made_before(stream: Any) -> Any:
    return stream.__dict__.pop(_CALL, None)


#: Where a stream keeps its call between its making and its first event.
_CALL = "_voicespan_call"


def _begin_call(kind: Any, stream: Any, *arguments: Any) -> Any:
    """The call that `stream` makes, if it is part of a session that is traced."""
    call = None
    with guard():
        trace = None if IN_PROBE.get() or _is_adapter(stream) else SessionTrace.here()
        if trace is not None:
            call = kind(trace, stream, *arguments)
    return call


def _is_adapter(stream: Any) -> bool:
    """Whether LiveKit itself calls others with it: the oldest measure that of a language model's fallback, too."""
    module = type(stream).__module__
    return module.startswith("livekit.agents.") and module.endswith("_adapter")


def _made(stream_class: Any, kind: Any) -> Callable[..., Any]:
    original, measures = stream_class.__init__, stream_class._metrics_monitor_task  # noqa: SLF001  see `model_calls`

    @functools.wraps(original)
    def __init__(stream: Any, *args: Any, **more: Any) -> None:  # noqa: N807
        call = None
        # What overrides it is an adapter.
        if getattr(type(stream)._metrics_monitor_task, "__wrapped__", None) is measures:  # noqa: SLF001
            call = _begin_call(kind, stream, {**dict(zip(_POSITIONAL, args, strict=False)), **more})
        if call is None:
            original(stream, *args, **more)
            return
        setattr(stream, _CALL, call)
        # Its tasks, and what other instrumentations see in them, are part of the call.
        span = call.stage.span
        call.stage.look_inside(span)
        with call.trace.conversation.context.attached(within_framework(span)):
            original(stream, *args, **more)

    return __init__


#: Both of the streams that are made with a model take it first, and positionally only by a few plugins.
_POSITIONAL = ("llm",)


def _measured(stream_class: Any, begin: Callable[[Any], Any]) -> Callable[..., Any]:
    original = stream_class._metrics_monitor_task  # noqa: SLF001  see `model_calls`

    @functools.wraps(original)
    async def _metrics_monitor_task(stream: Any, events: Any) -> Any:
        call = begin(stream)
        if call is None:
            return await original(stream, events)
        try:
            return await original(stream, watched(events, call))
        finally:
            with guard():
                call.over()

    return _metrics_monitor_task


def _recognized(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def recognize(stt: Any, buffer: Any, *args: Any, **more: Any) -> Any:
        trace = None if IN_PROBE.get() else SessionTrace.here()
        # Adapters call others in turn, and are part of LiveKit itself.
        if trace is None or type(stt).__module__.startswith("livekit.agents.stt."):
            return await original(stt, buffer, *args, **more)
        stage = stt_stage(trace, stt)
        stage.seconds(seconds_of(buffer))
        async with stage:
            event = await original(stt, buffer, *args, **more)
            with guard():
                heard(trace, stage, event)
        return event

    return recognize


def _probed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def _try_recovery(*args: Any, **more: Any) -> Any:
        # It makes a task, which takes the context along.
        before = IN_PROBE.set(True)
        try:
            return original(*args, **more)
        finally:
            IN_PROBE.reset(before)

    return _try_recovery
