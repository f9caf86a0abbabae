"""Calls of LiveKit's speech-to-text, language and text-to-speech models, as they are seen from their base classes.

Every stream of a plugin has a task that measures it (`_metrics_monitor_task`), and is given all that the stream gives
its reader. What is looked at here is what that task is given. An adapter, which calls other plugins in turn, measures
nothing: so the calls that are seen are the real ones.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.framework_spans import parent_here
from voicespan.livekit.chat import messages_of
from voicespan.livekit.names import model_of, provider_of, voice_of
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from voicespan.livekit.session import SessionTrace
    from voicespan.tracing.cascade.stage import SpeechToText, Stage

#: Whether what runs here is a tool: a model that it calls speaks to the tool, and not to the user.
IN_TOOL: ContextVar[bool] = ContextVar("voicespan_livekit_tool", default=False)
#: Whether what runs here only tries out if a model works again, with words that were said before: nobody hears that.
IN_PROBE: ContextVar[bool] = ContextVar("voicespan_livekit_probe", default=False)


class LLMCall:
    """One `LLMStream`."""

    def __init__(self, trace: SessionTrace, stream: Any, arguments: dict[str, Any]) -> None:
        """It is about to be made, with these arguments."""
        self.trace, self._stream = trace, stream
        model = arguments.get("llm")
        self._spoken = not IN_TOOL.get()
        conversation = trace.conversation
        self.stage = conversation.llm(
            model=model_of(model),
            provider=provider_of(model),
            messages=messages_of(arguments.get("chat_ctx"), first=not trace.has_model),
            spoken=self._spoken,
        ).start(parent=parent_here(conversation.context.root.trace_id))
        if self._spoken:
            trace.model_is_given_all()
        self._calls: list[Any] = []

    def see(self, chunk: Any) -> None:
        """The model has given a piece."""
        delta, usage = chunk.delta, chunk.usage
        if delta is not None:
            if delta.content:
                self.stage.delta(delta.content)
                if self._spoken:
                    self.trace.words["assistant"] = True
            if delta.tool_calls:
                self.stage.first_token()
                self._calls.extend(delta.tool_calls)
        if usage is not None:
            self.stage.usage(
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                total_tokens=usage.total_tokens,
                input_details=_known(cache_read=getattr(usage, "prompt_cached_tokens", 0)),
                output_details=_known(reasoning=getattr(usage, "reasoning_tokens", 0)),
            )

    def over(self) -> None:
        """There is no more."""
        if self._calls:
            self.stage.output(tool_calls=self._calls)
        _end(self.stage, self._stream._task)  # noqa: SLF001  its base class has it so


class ChunkedCall:
    """One `ChunkedStream`: a text that is known is spoken."""

    def __init__(self, trace: SessionTrace, stream: Any, arguments: dict[str, Any]) -> None:
        """It is about to be made, with these arguments."""
        self.trace, self._stream = trace, stream
        self._seconds = 0.0
        model = arguments.get("tts")
        conversation = trace.conversation
        self.stage = conversation.tts(
            arguments.get("input_text"),
            model=model_of(model),
            voice=voice_of(model),
            provider=provider_of(model),
        ).start(parent=parent_here(conversation.context.root.trace_id))

    def see(self, audio: Any) -> None:
        """The model has given a piece of audio."""
        self.trace.words["assistant"] = True
        if not self._seconds:
            self.stage.first_byte()
        self._seconds += audio.frame.samples_per_channel / audio.frame.sample_rate

    def over(self) -> None:
        """There is no more."""
        self.stage.output(seconds=self._seconds)
        _end(self.stage, self._task)

    @property
    def _task(self) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._stream._synthesize_task  # noqa: SLF001  its base class has it so
        return task


class SynthesisCall(ChunkedCall):
    """One `SynthesizeStream`: a text is spoken while it is written."""

    def __init__(self, trace: SessionTrace, stream: Any) -> None:
        """Its first words have been pushed."""
        super().__init__(trace, stream, {"tts": stream._tts})  # noqa: SLF001  its base class has it so

    def over(self) -> None:
        """There is no more."""
        text = getattr(self._stream, "_pushed_text", None)
        if isinstance(text, str):
            self.stage.input(text)
        super().over()

    @property
    def _task(self) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._stream._task  # noqa: SLF001  its base class has it so
        return task


class Utterances:
    """One `RecognizeStream`: each final transcript is a call."""

    def __init__(self, trace: SessionTrace, stream: Any) -> None:
        """It listens from now on."""
        self._trace, self._stream = trace, stream
        self._stage: SpeechToText | None = None

    def see(self, event: Any) -> None:
        """The model has heard something."""
        kind = getattr(event.type, "value", event.type)
        if kind == "start_of_speech":
            self._open()
            return
        heard = event.alternatives[0] if event.alternatives else None
        if heard is None or not heard.text or kind not in _TRANSCRIPTS:
            return
        stage = self._open()
        stage.output(heard.text, language=str(heard.language) if heard.language else None)
        if kind == "final_transcript":
            self._trace.words["user"] = True
            self._stage = None
            stage.end()

    def _open(self) -> SpeechToText:
        if self._stage is None:
            self._stage = stt_stage(self._trace, self._stream._stt).start()  # noqa: SLF001  its base class has it so
        return self._stage

    def over(self) -> None:
        """It hears nothing more."""
        task = self._stream._task  # noqa: SLF001  its base class has it so
        failed = isinstance(_outcome(task), Exception)
        if failed and self._stage is None:
            # Its connection failed, whether or not anybody spoke.
            self._stage = stt_stage(self._trace, self._stream._stt, spoken=False).start()  # noqa: SLF001  as above
        if self._stage is not None:
            _end(self._stage, task)


_TRANSCRIPTS = ("interim_transcript", "preflight_transcript", "final_transcript")


def stt_stage(trace: SessionTrace, model: Any, *, spoken: bool = True) -> SpeechToText:
    """A call of this STT, which has not begun."""
    return trace.conversation.stt(model=model_of(model), provider=provider_of(model), spoken=spoken)


def seconds_of(buffer: Any) -> float:
    """How much audio is in a frame, or in several."""
    frames = buffer if isinstance(buffer, list) else [buffer]
    return float(sum(frame.samples_per_channel / frame.sample_rate for frame in frames))


def heard(trace: SessionTrace, stage: SpeechToText, event: Any) -> None:
    """A transcription has ended with `event`."""
    best = event.alternatives[0] if event.alternatives else None
    text = "" if best is None else best.text
    stage.output(text, language=str(best.language) if best is not None and best.language else None)
    if text:
        trace.words["user"] = True


async def watched(events: AsyncIterator[Any], call: Any) -> AsyncIterator[Any]:
    """The events of a stream, each of which `call` sees first."""
    see = guarded(call.see)
    async for event in events:
        see(event)
        yield event


def _end(stage: Stage, task: asyncio.Task[Any]) -> None:
    error = _outcome(task)
    if isinstance(error, Exception):
        stage.end(error)
    else:
        stage.end(cancelled=error is not None)


def _outcome(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task ended with; a `BaseException` that is no `Exception` where it was cancelled or still runs."""
    if not task.done() or task.cancelled():
        return GeneratorExit()
    return task.exception()


def _known(**details: Any) -> dict[str, int]:
    return {name: count for name, count in details.items() if isinstance(count, int) and count > 0}
