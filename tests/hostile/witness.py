"""Tells sessions to a conversation and looks at what came of it: no exception, no lost span, no broken JSON."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.genai import types
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from voicespan.delivery import checkpoint
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.gemini_live.protocol import Protocol as Gemini
from voicespan.openai_live.protocol import Protocol as Live
from voicespan.openai_realtime.protocol import Protocol as OpenAI
from voicespan.runtime.settings import Level, Settings
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

CHILD_BYTES = 64_000
ROOT_BYTES = 4_200_000
_JSON = (*semconv.COPIED, semconv.RAW_EVENT, semconv.USAGE_METADATA)
_COPY = SpanEncoder(Privacy())

#: How a conversation may be set up; the first one is the default.
SETTINGS = tuple(
    # Its end is looked at: it waits for nobody who could resume it.
    replace(each, resume_window=0)
    for each in (
        Settings(),
        Settings(events=Level.ALL),
        Settings(events=Level.ALL, raw_events=True),
        Settings(events=Level.ESSENTIAL),
        Settings(capture_content=False),
        Settings(redact=lambda text, *, role, place: text[::-1] + "\udc80"),
    )
)


class LeapingClock:
    """Both clocks leap: forward, back, and years ahead."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_767_323_045_123_456_789, 1_000_000_000_000

    def time_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def leap(self, how: int) -> None:
        """`how`: 0 is the tamest."""
        seconds = (0, 1, 1e-9, 3600, 3.2e8, -1, -3600)[how % 7]
        self.monotonic += round(seconds * 1e9)
        self.wall += round((seconds, -3.2e8, -1, 1)[how % 4] * 1e9)


class Kept(SpanProcessor):
    """Every span that has ended."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.started = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started += 1

    def on_end(self, span: Any) -> None:
        self.spans.append(span)


class Loud(logging.Handler):
    """Whatever is logged while it listens is a failure: encoders and the SDK complain in the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name}: {record.getMessage()[:300]}")

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)


class Witness:
    """Plays sessions, one conversation each, and checks every one of them."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.kept)
        self.frames = 0

    def hears(
        self, provider: str, frames: list[tuple[bool, Any]], setting: int, leaps: Iterable[int]
    ) -> None:
        """Tell `frames` (from the client, frame) to a conversation, and look at what it wrote.

        `leaps`: how the clock moves before each frame, and before the end.
        """
        leaping = iter(leaps)
        clock = LeapingClock()
        with Loud() as loud:
            conversation = Conversation(
                tracer_provider=self.provider, clock=clock, settings=SETTINGS[setting % len(SETTINGS)]
            )
            protocol = _PROTOCOLS[provider](conversation.settings.events)
            connection = conversation.connect(protocol, {semconv.PROVIDER: provider})
            for from_client, frame in frames:
                clock.leap(next(leaping, 0))
                (connection.sent if from_client else connection.received)(frame)
                self.frames += 1
            clock.leap(next(leaping, 0))
            # What a snapshot would tell if the process died now.
            conversation.root_facts()
            connection.closed(1000)
            conversation.end()
            spans, self.kept.spans = self.kept.spans, []
            started, self.kept.started = self.kept.started, 0
            # One that is never ended is never exported.
            assert started == len(spans)
            look_at(spans)
        assert not loud.said, loud.said


_PROTOCOLS: dict[str, Any] = {"openai": OpenAI, "gemini": Gemini, "openai-live": Live}


def look_at(spans: list[Any]) -> None:
    """The spans of one conversation are whole, and every exporter can encode them."""
    roots = [span for span in spans if span.parent is None]
    assert len(roots) == 1, [span.name for span in roots]
    (root,) = roots
    written = [*_encoded(encode_spans(spans)), *_encoded(_copied(spans))]
    assert len(written) == 2 * len(spans)
    # Live's are a tree: what works on a task is part of it.
    ids = {span.context.span_id for span in spans}
    by_id: dict[bytes, list[Any]] = {}
    for encoded in written:
        by_id.setdefault(encoded.span_id, []).append(encoded)
    for span in spans:
        of_root = span is root
        if not of_root:
            assert span.parent.span_id in ids
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time, span.name
        assert len(span.name) < 2_000
        attributes = span.attributes
        assert len(attributes) <= (128 if of_root else 60), len(attributes)
        size = 0
        for key, value in attributes.items():
            size += len(key.encode()) + len(str(value).encode())
            if key in _JSON:
                json.loads(value, parse_constant=_refuse)
        assert size <= (ROOT_BYTES if of_root else CHILD_BYTES), (span.name, size)
        plain, _copy = by_id[span.context.span_id.to_bytes(8, "big")]
        # An encoder leaves out what it cannot encode.
        assert len(plain.attributes) == len(attributes)
        assert len(plain.events) == len(span.events)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON to most readers")


def _encoded(request: ExportTraceServiceRequest) -> list[Any]:
    parsed = ExportTraceServiceRequest.FromString(request.SerializeToString())
    return [
        span for resource in parsed.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]


def _copied(spans: list[Any]) -> ExportTraceServiceRequest:
    """As the LangSmith processor's writer has it."""
    return ExportTraceServiceRequest.FromString(checkpoint.request(_COPY.of(spans, "thread")))


def as_sdk(frame: Any) -> Any:
    """What google-genai makes of a server's message; None where it raises, which the application sees without us."""
    try:
        with warnings.catch_warnings():
            # Of values that its enumerations do not have.
            warnings.simplefilter("ignore")
            return types.LiveServerMessage._from_response(response=frame, kwargs={})
    except Exception:  # noqa: BLE001  any of pydantic's and the SDK's
        return None
