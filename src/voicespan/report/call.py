"""One conversation as it was kept: its spans in plain Python, and where its recording is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.tracing import semconv
from voicespan.tracing.messages import contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_ERROR = 2


@dataclass(frozen=True)
class CallSpan:
    """A span.

    Attributes:
        span_id: 16 hexadecimal digits.
        parent_id: The same of its parent; empty: it is a root.
        start_ns: Wall clock, nanoseconds since the epoch.
        end_ns: The same; of a span that is open, what is known by now.
        error: The status message of a span that failed; None: it did not.
    """

    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    error: str | None

    def fact(self, name: str) -> Any:
        """A metadata attribute; None: it has none of that name."""
        return self.attributes.get(semconv.METADATA + name)

    @property
    def kind(self) -> str:
        """`chain`, `llm` or `tool`; of a span that is not ours empty."""
        return str(self.attributes.get(semconv.SPAN_KIND, ""))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that it holds: what went in, then what came out."""
        found: list[dict[str, Any]] = []
        for content in contents(self.attributes):
            if isinstance(content, dict) and isinstance(content.get("messages"), list):
                found += [message for message in content["messages"] if isinstance(message, dict)]
        return found


@dataclass
class Call:
    """A conversation.

    Attributes:
        name: What it is called where it was found.
        root: The root, or what is known of it while it is open.
        spans: All others, in the order of their starts.
        recording: The file of its recording; None: there is none.
        mime_type: Of that file.
        running: Whether it is not over.
    """

    name: str
    root: CallSpan
    spans: list[CallSpan] = field(default_factory=list)
    recording: Path | None = None
    mime_type: str = "application/octet-stream"
    running: bool = False

    @property
    def everything(self) -> list[CallSpan]:
        """The root and all others."""
        return [self.root, *self.spans]

    @property
    def recording_starts_ns(self) -> int:
        """When the recording begins (wall clock, nanoseconds); if nobody said so, with the conversation."""
        started = self.root.attributes.get(semconv.AUDIO_STARTED_AT)
        return self.root.start_ns if started is None else round(float(started) * 1e9)

    def seconds(self, time_ns: int) -> float:
        """A time as seconds of the recording; before it begins they are negative."""
        return (time_ns - self.recording_starts_ns) / 1e9

    @property
    def thread_id(self) -> str:
        """The conversation's thread; empty: it names none."""
        return str(self.root.attributes.get(semconv.THREAD_ID) or "")


def of_spans(name: str, spans: Iterable[CallSpan]) -> Call:
    """The conversation that these spans tell.

    Raises:
        ValueError: no root of a conversation is among them.
    """
    # An exporter that got no answer sends a span again.
    found = sorted({span.span_id: span for span in spans}.values(), key=lambda span: span.start_ns)
    roots = [span for span in found if span.attributes.get(semconv.MODALITY) == "audio"]
    if not roots:
        raise ValueError(f"there is no conversation in {name}")
    root = roots[-1]
    return Call(name, root, [span for span in found if span is not root])


def unfinished(name: str, spans: Iterable[CallSpan], thread_id: str) -> Call:
    """The conversation of these spans, whose root has not come."""
    found = sorted({span.span_id: span for span in spans}.values(), key=lambda span: span.start_ns)
    start, end = (found[0].start_ns, max(span.end_ns for span in found)) if found else (0, 0)
    root = CallSpan("0" * 16, "", "conversation", start, end, {semconv.THREAD_ID: thread_id}, None)
    return Call(name, root, found, running=True)


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, CallSpan]]:
    """The spans of OTLP JSON lines, each with its trace id. A line that is torn or none is left out."""
    for line in lines:
        try:
            written = json.loads(line)
            groups = written["resourceSpans"]
            spans = [
                span
                for group in groups
                for scope in group.get("scopeSpans", ())
                for span in scope.get("spans", ())
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for span in spans:
            yield span["traceId"], _span(span)


def _span(written: Mapping[str, Any]) -> CallSpan:
    status = written.get("status", {})
    return CallSpan(
        written["spanId"],
        written.get("parentSpanId", ""),
        written.get("name", ""),
        int(written.get("startTimeUnixNano", 0)),
        int(written.get("endTimeUnixNano", 0)),
        {each["key"]: _value(each.get("value", {})) for each in written.get("attributes", ())},
        (status.get("message") or "error") if status.get("code") == _ERROR else None,
    )


def _value(written: Mapping[str, Any]) -> Any:
    for kind, value in written.items():
        if kind == "intValue":
            return int(value)
        if kind == "arrayValue":
            return [_value(each) for each in value.get("values", ())]
        if kind == "kvlistValue":
            return {each["key"]: _value(each.get("value", {})) for each in value.get("values", ())}
        return value
    return None
