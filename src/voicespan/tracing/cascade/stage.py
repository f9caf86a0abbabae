"""The blocks of a cascade: `conversation.stt()`, `.llm()` and `.tts()`.

Each is one call of a model. As a context manager, sync or async, it takes its times and its outcome from the block; a
framework that hears of a call otherwise gives them itself, with `start` and `end`. Nothing here raises, and where
nothing is recorded a block does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from voicespan.protocol.events import Usage, WireError
from voicespan.protocol.json_values import safe_str
from voicespan.protocol.stages import StageEnded, StageFirstOutput, StageStarted
from voicespan.runtime.guard import guard, guarded
from voicespan.tracing.cascade.messages import function_calls
from voicespan.tracing.proxy_span import ProxySpan
from voicespan.tracing.status import is_error, wire_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from typing_extensions import Self

    from voicespan.protocol.events import Event
    from voicespan.protocol.stages import StageName
    from voicespan.tracing.context import ConversationContext

#: Of a text that arrives in pieces.
_LONGEST_TEXT = 250_000
#: So many pieces are kept apart: each token is one.
_MOST_PIECES = 64
#: Where a context keeps the stage that is current in it, and what that nests under.
_STAGE = otel_context.create_key("voicespan-stage")


class StageSink(Protocol):
    """Takes what happens in a cascade: a conversation."""

    context: ConversationContext
    recording: bool
    #: A model was called.
    is_cascade: bool

    def monotonic_ns(self) -> int:
        """Now, by the conversation's clock."""
        ...

    def report(self, event: Event) -> None:
        """Something happened."""

    def report_started(self, started: StageStarted) -> None:
        """A model is called."""

    def begins_answer(self, answer: str | None) -> bool:
        """Whether nothing of this answer was audible before; asked when something is."""
        ...

    def look_inside(self, span: Span) -> None:
        """Other instrumentations' spans may nest in this one."""

    def looked_inside(self, span: Span, ended: StageEnded) -> None:
        """It is over: note what they count."""

    def span_of_stage(self, key: str) -> Span | None:
        """The span of a call of a model or of a function, open or just over."""
        ...


class Stage:
    """One call of a model. Made by the methods of a conversation; may be used once."""

    # A conversation has a few for each turn.
    __slots__ = (
        "_calls", "_cancelled", "_error", "_facts", "_first", "_inside", "_key", "_model", "_over", "_pieces",
        "_seconds", "_sink", "_started", "_text", "_token", "_usage",
    )  # fmt: skip

    name: StageName

    def __init__(self, sink: StageSink, started: StageStarted) -> None:
        """Not for applications: use `conversation.stt`, `.llm` and `.tts`."""
        self._sink = sink
        self._started: StageStarted | None = started
        self._key = started.key
        self._token: Token[Context] | None = None
        self._first = False
        self._over = False
        self._inside: Span | None = None
        self._text: str | None = None
        self._pieces: list[str] | None = None
        self._calls: Sequence[Any] = ()
        self._usage: Usage | None = None
        self._seconds: float | None = None
        self._model: str | None = None
        self._error: BaseException | WireError | None = None
        self._cancelled = False
        self._facts: dict[str, Any] | None = None

    # As a block.

    def __enter__(self) -> Self:
        """The model is called now; spans that start inside nest in this call."""
        with guard():
            self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The call is over. An exception goes on, and is the call's error, unless it is a cancellation."""
        with guard():
            self.leave()
            self.end(error=error)

    async def __aenter__(self) -> Self:
        """As `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `__exit__`."""
        self.__exit__(kind, error, traceback)

    # For who hears of a call otherwise.

    def enter(self) -> None:
        """The model is called here and now: until `leave`, spans that start in this context nest in the call."""
        if self._sink.recording:
            parent = _parent_here(self._sink.context.root.trace_id)
            self.start(parent=parent)
            self._enter(parent)

    @guarded
    def look_inside(self, span: Span) -> None:
        """Spans of other instrumentations may nest in its `span`, which is current; of a language model's, what they count."""
        if self.name == "llm":
            self._inside = span
            self._sink.look_inside(span)

    def leave(self) -> None:
        """What was current before `enter` is so again; the call goes on until `end`."""
        token, self._token = self._token, None
        if token is not None:
            self._sink.context.leave(token)

    def start(self, at: int | None = None, parent: Span | None = None) -> Self:
        """The model is called; nothing becomes current.

        Args:
            at: when, in nanoseconds of `time.monotonic_ns()`; now by default.
            parent: the span that the call is part of; the conversation's root by default.
        """
        with guard():
            started, self._started = self._started, None
            if started is not None:
                started.at = self._sink.monotonic_ns() if at is None else at
                started.parent = parent
                self._sink.report_started(started)
        return self

    def end(
        self, error: BaseException | None = None, *, cancelled: bool = False, at: int | None = None
    ) -> None:
        """The call is over. Called again it does nothing.

        Args:
            error: what it failed with; a cancellation (`asyncio.CancelledError`, `GeneratorExit`) is none.
            cancelled: somebody stopped it, a barge-in for example.
            at: when, in nanoseconds of `time.monotonic_ns()`; now by default.
        """
        with guard():
            if self._over or self._started is not None:
                return
            self._over = True
            at = self._sink.monotonic_ns() if at is None else at
            failure = self._error if error is None else error
            stopped = cancelled or self._cancelled
            if isinstance(failure, BaseException) and not is_error(failure):
                failure, stopped = None, True
            text = self._text if self._pieces is None else "".join(self._pieces)
            ended = StageEnded(
                at,
                self.name,
                self._key,
                text,
                function_calls(self._calls, at),
                self._usage,
                self._seconds,
                self._model,
                wire_error(failure) if isinstance(failure, BaseException) else failure,
                cancelled=stopped,
                facts=self._facts or {},
            )
            if self._inside is not None:
                self._sink.looked_inside(self._inside, ended)
            self._sink.report(ended)

    @property
    def span(self) -> Span:
        """The span of the call, for who nests something in it; one that records nothing where there is none."""
        with guard():
            found = self._sink.span_of_stage(self._key)
            if found is not None:
                return found
        return trace.INVALID_SPAN

    # What is known of it meanwhile.

    @guarded
    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        total_tokens: int | None = None,
        input_details: dict[str, int] | None = None,
        output_details: dict[str, int] | None = None,
    ) -> None:
        """Tokens, as the service counted them. Details: `cache_read`, `reasoning`, `audio`, ..., parts of the whole."""
        if total_tokens is None and input_tokens is not None and output_tokens is not None:
            total_tokens = input_tokens + output_tokens
        self._usage = Usage(
            input_tokens, output_tokens, total_tokens, dict(input_details or {}), dict(output_details or {})
        )

    def failed(self, error: BaseException | str) -> None:
        """The call failed, though no exception leaves the block."""
        self._error = error if isinstance(error, BaseException) else WireError("error", safe_str(error))

    def interrupted(self) -> None:
        """Somebody stopped it, though no cancellation leaves the block."""
        self._cancelled = True

    @guarded
    def set_metadata(self, **facts: Any) -> None:
        """Add metadata to the call's run: names, ids and numbers."""
        self._facts = {**(self._facts or {}), **facts}

    def suggest(
        self,
        *,
        text: str | None = None,
        model: str | None = None,
        seconds: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        """What a client library's instrumentation knows of the call; what the application says comes first."""
        self._text = text if self._text is None and self._pieces is None else self._text
        self._model = self._model or model
        self._seconds = seconds if self._seconds is None else self._seconds
        self._usage = self._usage or usage

    def _answered_by(self, model: str | None) -> None:
        if model is not None:
            self._model = model

    def _report_first(self, at: int | None) -> None:
        if not self._first and not self._over and self._started is None:
            self._first = True
            with guard():
                at = self._sink.monotonic_ns() if at is None else at
                self._sink.report(StageFirstOutput(at, self.name, self._key, self._begins_answer()))

    def _begins_answer(self) -> bool:
        return False

    def _add(self, piece: str) -> None:
        if self._pieces is None:
            self._pieces = []
        if len(self._pieces) > _MOST_PIECES:
            self._pieces = ["".join(self._pieces)[:_LONGEST_TEXT]]
        self._pieces.append(piece)

    def _enter(self, parent: Span | None) -> None:
        span = self._sink.span_of_stage(self._key)
        if span is not None:
            self.look_inside(span)
            self._token = self._sink.context.enter(span, otel_context.set_value(_STAGE, (span, parent, self)))


class SpeechToText(Stage):
    """One transcription: `conversation.stt(...)`."""

    __slots__ = ()
    name: StageName = "stt"

    @property
    def text(self) -> str | None:
        """The words so far."""
        return self._text

    def output(self, text: str, *, language: str | None = None, model: str | None = None) -> None:
        """The words of the user so far; called again, the newer ones count. "": nothing was said."""
        self._report_first(None)
        self._text = text if isinstance(text, str) else safe_str(text)
        self._answered_by(model)
        if language is not None:
            self.set_metadata(language=language)

    def seconds(self, seconds: float) -> None:
        """How much audio was transcribed."""
        self._seconds = seconds


class LanguageModel(Stage):
    """One call of a language model: `conversation.llm(...)`."""

    __slots__ = ()
    name: StageName = "llm"

    def first_token(self, at: int | None = None) -> None:
        """The first token is there. `at`: nanoseconds of `time.monotonic_ns()`; now by default."""
        self._report_first(at)

    def delta(self, text: str) -> None:
        """A piece of the answer, as it streams in; the first one is the first token."""
        self._report_first(None)
        if isinstance(text, str) and text:
            self._add(text)

    def output(
        self, text: str | None = None, tool_calls: Iterable[Any] | None = None, *, model: str | None = None
    ) -> None:
        """The answer so far, and the functions that the model asks for; called again, the newer words count.

        Args:
            text: its words; None where it only calls functions.
            tool_calls: as the SDK has them: `choices[0].message.tool_calls` of chat completions, `tool_use` blocks
                of Anthropic, `function_call` items of the Responses API, also as dicts.
            model: that the service says has answered.
        """
        if text is not None:
            self._text, self._pieces = (text if isinstance(text, str) else safe_str(text)), None
        with guard():
            if tool_calls is not None:
                self._calls = tuple(tool_calls)
        self._answered_by(model)


class TextToSpeech(Stage):
    """One synthesis: `conversation.tts(...)`."""

    __slots__ = ("_answer",)
    name: StageName = "tts"

    def __init__(self, sink: StageSink, started: StageStarted) -> None:
        """Not for applications: use `conversation.tts`."""
        super().__init__(sink, started)
        self._answer = started.answer

    def _begins_answer(self) -> bool:
        return self._sink.begins_answer(self._answer)

    def input(self, text: str) -> None:
        """All of the text by now, where it streams in; called again, the newer text counts."""
        self._text = text if isinstance(text, str) else safe_str(text)

    def first_byte(self, at: int | None = None) -> None:
        """The first audio is there. `at`: nanoseconds of `time.monotonic_ns()`; now by default."""
        self._report_first(at)

    def output(self, *, seconds: float) -> None:
        """How much audio there is by now; called again, the newer figure counts."""
        self._seconds = seconds


def current_stage() -> Stage | None:
    """The call whose block is entered here and now, and whose span is current."""
    found = otel_context.get_value(_STAGE)
    if not isinstance(found, tuple) or found[0] is not trace.get_current_span():
        return None
    stage: Stage = found[2]
    return stage


def _parent_here(trace_id: int) -> Span | None:
    """The application's own span that is current here, if it is part of the conversation.

    A call inside another call's block stands beside it: the first sentence is spoken while the second is written.
    """
    stage = otel_context.get_value(_STAGE)
    current = trace.get_current_span()
    if isinstance(stage, tuple) and stage[0] is current:
        parent: Span | None = stage[1]
        return parent
    # What stands for the conversation is its root here, also while a function call is open in the background.
    within = not isinstance(current, ProxySpan) and current.get_span_context().trace_id == trace_id
    return current if within else None
