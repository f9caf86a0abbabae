"""Conversations as they happen, a line for each thing, on standard error (VOICESPAN_CONSOLE=1)."""

from __future__ import annotations

import os
import sys
import textwrap
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from voicespan.runtime.background import Loop
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv
from voicespan.tracing.figures_in_words import in_words
from voicespan.tracing.messages import contents, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

_VARIABLE = "VOICESPAN_CONSOLE"
_YES = frozenset({"1", "true", "yes", "on"})
_WIDTH = 80
#: Lines that wait for a standard error that takes none, and conversations that are followed at once.
_MOST_LINES = 1_000
_MOST_CONVERSATIONS = 1_000
_LONGEST = 2_000
#: What a figure of an answer is called.
_PARTS = ("endpointing_ms", "stt_ms", "model_ms", "llm_ms", "tool_ms", "tts_ms", "unnamed_ms", "playout_ms")
_CALL = "function_call: "
#: The spans that can say how long the user had waited.
_ANSWERS = ("turn_complete", "output_transcription", "tts")
#: Whose words a span holds; in a cascade the calls of its parts do.
_SPEAKERS = {"input_transcription": "user", "stt": "user", "output_transcription": "agent", "tts": "agent"}


def is_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether VOICESPAN_CONSOLE asks for it."""
    return environ.get(_VARIABLE, "").strip().lower() in _YES


class ConsoleSpanProcessor(SpanProcessor):
    """Writes what happens in conversations, in a thread of its own: who waits for a terminal is not the call."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        """`write` takes whole lines; by default standard error does."""
        self._write = write or _write
        self._began: dict[int, int] = {}
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._loop = Loop("voicespan-console", self._step)

    @guarded
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Take note of when a conversation begins."""
        context = span.get_span_context()
        if context is not None and _is_root(span) and len(self._began) < _MOST_CONVERSATIONS:
            self._began[context.trace_id] = span.start_time or 0

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """Have its line written."""
        context = span.get_span_context()
        began = None if context is None else self._began.get(context.trace_id)
        if context is None or began is None:
            return
        if _is_root(span):
            del self._began[context.trace_id]
        for at, who, words in things(span):
            if len(self._lines) >= _MOST_LINES:
                self._dropped += 1
                continue
            self._lines.append(line((at - began) / 1e9, who, words))
        self._loop.wake()

    def shutdown(self) -> None:
        """Write what waits."""
        self._step()
        self._loop.stop()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Write what waits; there is nothing to wait for."""
        self._step()
        return True

    @guarded
    def _step(self) -> None:
        while self._lines:
            self._write(self._lines.popleft())
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._write(f"voicespan: {dropped} lines were not written in time\n")


def things(span: ReadableSpan) -> Iterator[tuple[int, str, str]]:
    """What there is to say of a span: when (wall clock, nanoseconds), of whom, and the words."""
    attributes = dict(span.attributes or {})
    start, end = span.start_time or 0, span.end_time or 0
    name = own_name(span.name)
    if _is_root(span):
        yield end, "over", f"{_fact(attributes, 'status') or ''}, {(end - start) / 1e9:.1f} s".lstrip(", ")
        facts = {
            name.removeprefix(semconv.METADATA): fact
            for name, fact in attributes.items()
            if name.startswith(semconv.METADATA)
        }
        if words := in_words(facts):
            yield end, "call", words
    elif name in _SPEAKERS and (words := _words(attributes)):
        yield start, _SPEAKERS[name], words
    elif name.startswith(_CALL):
        given, came = attributes.get(semconv.TOOL_ARGUMENTS, ""), attributes.get(semconv.TOOL_RESULT, "")
        yield start, "tool", f"{name.removeprefix(_CALL)} {given} -> {came} ({(end - start) / 1e9:.2f} s)"
    elif name == "interrupted":
        heard, generated = _fact(attributes, "heard_ms"), _fact(attributes, "generated_ms")
        share = "" if heard is None else f", {heard} ms heard" + (f" of {generated}" if generated else "")
        yield start, "cut in", f"{_fact(attributes, 'cause') or ''}{share}"
    if name in _ANSWERS and (gap := _fact(attributes, "response_gap_ms")) is not None:
        parts = [
            f"{part.removesuffix('_ms')} {value:.0f}"
            for part in _PARTS
            if (value := _fact(attributes, part)) is not None
        ]
        yield start, "gap", f"{gap:.0f} ms: {', '.join(parts)}"
    if span.status.description and not span.status.is_ok:
        yield end, "error", f"{name}: {span.status.description}"


def line(seconds: float, who: str, words: str) -> str:
    """One thing, wrapped at 80 columns. Control characters of what was said are shown, never sent to a terminal."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    first = f"{int(minutes):3}:{rest:04.1f}  {who:<6}  "
    shown = "".join(letter if letter.isprintable() else _shown(letter) for letter in words[:_LONGEST])
    wrapped = textwrap.wrap(
        shown, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
    return "\n".join(wrapped or [first.rstrip()]) + "\n"


def _shown(letter: str) -> str:
    return " " if letter in "\n\t" else letter.encode("unicode_escape").decode()


def _is_root(span: ReadableSpan) -> bool:
    return (span.attributes or {}).get(semconv.MODALITY) == "audio"


def _fact(attributes: Mapping[str, Any], name: str) -> Any:
    return attributes.get(semconv.METADATA + name)


def _words(attributes: Mapping[str, Any]) -> str:
    for held in contents(attributes):
        messages = held.get("messages") if isinstance(held, dict) else None
        if isinstance(messages, list):
            return " ".join(str(message.get("content") or "") for message in messages)
    return ""


def _write(text: str) -> None:
    stream = sys.stderr
    if stream is None:
        return
    # What this terminal's encoding has no letter for is shown as well.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
