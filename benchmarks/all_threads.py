"""Read as fast as frames come: what all threads of the process use for a frame and for a span, beside the least it can be.

python -m benchmarks.all_threads [--quick]
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from benchmarks import frames_gemini, frames_openai, sessions, ways
from benchmarks.results import UNTRACED, VOICESPAN, Result, Row, row, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from benchmarks.sessions import Opening
    from benchmarks.ways import Way

_TURNS = 300
#: As many as OpenTelemetry's `BatchSpanProcessor` hands to its exporter at once.
_BATCH = 512
_METHOD = """\
Whole sessions of 300 turns without their audio, of which all frames are there before the first is read, so that nothing
waits for anything. Counted is the processor time of all threads of the process, from the opening of the session until
everything is delivered to a LangSmith server in another process, less what the untraced session beside it uses.

The floor is measured in the same run, on the same frames and the same spans: each frame read as JSON once, each span made once
more by the bare OpenTelemetry SDK with all of its attributes, and encoded once more for OTLP by OpenTelemetry's own encoder,
512 at a time. Nothing is stored or sent for it. voicespan's target is twice the floor."""


async def _one(opening: Opening, way: Way, frames: list[bytes]) -> tuple[float, float, int]:
    """The seconds of all threads and of the application's, and how many runs LangSmith has."""
    gc.collect()
    ways.forget()
    began, began_here = time.process_time(), time.thread_time()
    async with opening(way) as session:
        session.transport.fill(frames)
        with way.at_work():
            await session.read(len(frames))
    here = time.thread_time() - began_here
    way.flush()
    return time.process_time() - began, here, ways.received()["runs"]


class _Kept(SpanProcessor):
    """Keeps every span that ends: those whose floor is measured."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _spans(opening: Opening, frames: list[bytes]) -> list[ReadableSpan]:
    """The spans of one session."""
    kept = _Kept()
    (way,) = ways.made([VOICESPAN])
    processors = way.provider._active_span_processor
    before = processors._span_processors
    processors._span_processors = (*before, kept)
    try:
        asyncio.run(_one(opening, way, frames))
    finally:
        processors._span_processors = before
    return kept.spans


def _floor(spans: Sequence[ReadableSpan], frames: Sequence[bytes]) -> dict[str, float]:
    """Microseconds for each span: made by the bare SDK, encoded, and its share of the frames' JSON."""

    # Without it spans are real all the same: nothing takes them when they have ended.
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("floor")
    given = [
        (span.name, span.kind, dict(span.attributes or {}), span.start_time, span.end_time) for span in spans
    ]
    took = {}
    gc.collect()
    began = time.thread_time()
    for frame in frames:
        json.loads(frame)
    took["the frames' JSON"] = time.thread_time() - began
    gc.collect()
    began = time.thread_time()
    for name, kind, attributes, started_at, ended_at in given:
        span = tracer.start_span(name, kind=kind, attributes=attributes, start_time=started_at)
        span.end(ended_at)
    took["made by the bare SDK"] = time.thread_time() - began
    gc.collect()
    began = time.thread_time()
    for first in range(0, len(spans), _BATCH):
        encode_spans(spans[first : first + _BATCH]).SerializeToString()
    took["encoded for OTLP"] = time.thread_time() - began
    return {part: seconds / len(spans) * 1e6 for part, seconds in took.items()}


def _measured(client: str, title: str, peer: str | None, *, quick: bool) -> Iterator[Row]:
    source = frames_gemini if client == "gemini" else frames_openai
    turns, rounds = (20, 2) if quick else (_TURNS, 7)
    frames = source.turns(turns, audio=False)
    names = [UNTRACED, VOICESPAN, *([peer] if peer else [])]
    floors = defaultdict(list)
    used: dict[str, list[tuple[float, float, int]]] = {name: [] for name in names}
    with sessions.opening(client) as opening:
        spans = _spans(opening, frames)
        for round_ in range(rounds + 1):
            made = ways.made(names)
            for way in made[round_ % len(made) :] + made[: round_ % len(made)]:
                found = asyncio.run(_one(opening, way, frames))
                if round_:  # the first warms everything up
                    used[way.name].append(found)
            for part, took in _floor(spans, frames).items():
                floors[part].append(took)
    bare = used[UNTRACED]
    label = f"a frame, {title}"
    yield row(label, UNTRACED, [all_ / len(frames) * 1e6 for all_, _, _ in bare], "µs")
    for name in names[1:]:
        pairs = list(zip(used[name], bare, strict=True))
        yield row(label, name, [(mine[0] - other[0]) / len(frames) * 1e6 for mine, other in pairs], "µs more")
        here = [(mine[1] - other[1]) / len(frames) * 1e6 for mine, other in pairs]
        yield row(f"{label}: on the application's thread", name, here, "µs more")
    floor = [sum(parts) for parts in zip(*floors.values(), strict=True)]
    least = statistics.median(floor)
    label = f"a span, {title}"
    for part, took in floors.items():
        yield row(f"{label}: {part}", "floor", took, "µs")
    yield row(label, "floor", floor, "µs")
    for name in names[1:]:
        pairs = list(zip(used[name], bare, strict=True))
        each = [(mine[0] - other[0]) / mine[2] * 1e6 for mine, other in pairs]
        limit = 2 * least if name == VOICESPAN else None
        runs = used[name][-1][2]
        yield row(label, name, each, "µs more", at_most=limit, note=f"{runs / turns:.1f} runs a turn")


def measure(*, quick: bool) -> Iterator[Result]:
    """One table."""
    yield Result(
        name="all-threads",
        title="All threads, as fast as frames come",
        chapter="receive",
        method=_METHOD,
        rows=[
            each
            for client, title, peer in sessions.CLIENTS
            for each in _measured(client, title, peer, quick=quick)
        ],
    )


if __name__ == "__main__":
    run(measure)
