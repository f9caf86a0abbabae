"""One call as one file: how large the page is, how long it takes to build, and until a browser shows it.

python -m benchmarks.page [--quick]
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile as sf

from benchmarks.call_audio import RATE, voices
from benchmarks.results import VOICESPAN, Result, Row, row, run
from voicespan.delivery.folder.call_folders import CONVERSATION, SPANS
from voicespan.report import find, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Of a browser that is installed: the same that the tests take.
_BROWSER = os.environ.get("VOICESPAN_TEST_BROWSER")
_BEGAN = 1_790_000_000
_TRACE = "0af7651916cd43dd8448eb211c80319c"
_ROOT = "b7ad6b7169203331"
_META = "langsmith.metadata."
_ROUNDS = 5

_METHOD = """\
A call as the folder keeps it: both voices of the demo over and over as Ogg Opus, turns with words, tools, gaps and
barge-ins. Built is processor time, which a busy machine changes little. What the page adds is its size less 4/3 of the recording's, which is what base64 makes of it. A page is ready when
it is drawn and can be played, in headless Chromium."""


class _Size(NamedTuple):
    label: str
    minutes: float
    spans: int
    #: Megabytes that the page adds, and seconds until it is ready.
    adds: float | None = None
    ready: float | None = None


_SIZES = (
    _Size("half a minute, 30 spans", 0.5, 30),
    _Size("ten minutes, 800 spans", 10, 800, 0.6, 2.0),
    _Size("an hour, 5,000 spans", 60, 5_000, 3.0, 6.0),
)


def measure(*, quick: bool) -> Iterator[Result]:
    """The table of `docs/performance.md`."""
    rounds = 1 if quick else _ROUNDS
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, _browser() as ready_after:
        for size in _SIZES[:2] if quick else _SIZES:
            call = _write(Path(folder), size)
            rows += _rows(call, size, rounds, ready_after)
    yield Result("page", "A call as one file", "page", _METHOD, rows)


def _rows(call: Path, size: _Size, rounds: int, ready_after: Callable[[Path], float] | None) -> Iterator[Row]:
    recording = (call / "recording.ogg").stat().st_size
    took, content = [], b""
    for _ in range(rounds):
        began = time.process_time()
        content = page.report(find.read(call))
        took.append(time.process_time() - began)
    adds = (len(content) - recording * 4 / 3) / 1e6
    yield Row(
        f"{size.label}: adds",
        VOICESPAN,
        adds,
        "MB",
        at_most=size.adds,
        note=f"to {recording * 4 / 3 / 1e6:.1f} MB",
    )
    yield row(f"{size.label}: built", VOICESPAN, took, "s", at_most=5.0)
    if ready_after is None:
        yield Row(
            f"{size.label}: ready",
            VOICESPAN,
            None,
            "s",
            at_most=size.ready,
            note="VOICESPAN_TEST_BROWSER names no Chromium",
        )
        return
    written = call / "call.html"
    written.write_bytes(content)
    shown = [ready_after(written) for _ in range(rounds)]
    yield row(f"{size.label}: ready", VOICESPAN, shown, "s", at_most=size.ready)


@contextlib.contextmanager
def _browser() -> Iterator[Callable[[Path], float] | None]:
    """How long a page takes in a browser; None: there is none."""
    if not _BROWSER:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_BROWSER, args=["--no-sandbox"])

        def ready_after(written: Path) -> float:
            shown = browser.new_page()
            began = time.perf_counter()
            shown.goto(written.as_uri(), wait_until="commit")
            shown.wait_for_selector("body[data-ready]", timeout=60_000)
            took = time.perf_counter() - began
            shown.close()
            return took

        yield ready_after
        browser.close()


def _write(folder: Path, size: _Size) -> Path:
    """A directory as a folder of calls has it."""
    call = folder / f"20260921T141319-{_TRACE}-{size.spans:06x}"
    call.mkdir()
    seconds = size.minutes * 60
    _record(call / "recording.ogg", seconds)
    lines = [_line(_span(number, seconds, size.spans)) for number in range(size.spans - 1)]
    lines.append(_line(_root(seconds)))
    (call / SPANS).write_text("".join(lines), encoding="utf-8")
    (call / CONVERSATION).write_text(json.dumps({"trace_id": _TRACE}), encoding="utf-8")
    return call


def _record(path: Path, seconds: float) -> None:
    spoken = voices()
    sides = [
        np.concatenate(
            [np.frombuffer(chunk, np.int16) if chunk else np.zeros(RATE // 50, np.int16) for chunk in side]
        )
        for side in (spoken.user, spoken.agent)
    ]
    cycle = np.stack(sides, axis=1)
    with sf.SoundFile(path, "w", RATE, 2, format="OGG", subtype="OPUS") as file:
        left = round(seconds * RATE)
        while left > 0:
            file.write(cycle[:left])
            left -= len(cycle)


def _span(number: int, seconds: float, count: int) -> dict[str, object]:
    """One of a turn's: words of either side, the turn, a tool, what the application did in it."""
    at, lasts = seconds * number / count, seconds / count
    kinds = ("input_transcription", "output_transcription", "turn_complete", "function_call: find_tables")
    name = kinds[number % len(kinds)]
    # Two people say some 250 words a minute.
    words = "I can offer you half past eight."
    message = json.dumps(
        {"messages": [{"role": "user" if "input" in name else "assistant", "content": words}]}
    )
    attributes = {"langsmith.span.kind": "tool" if "call" in name else "chain", "gen_ai.completion": message}
    if name == "turn_complete":
        attributes[f"{_META}response_gap_ms"] = 800.0
        attributes[f"{_META}model_ms"] = 300.0
        attributes[f"{_META}endpointing_ms"] = 500.0
    return _encoded(f"{number + 1:016x}", _ROOT, name, (at, at + lasts), attributes)


def _root(seconds: float) -> dict[str, object]:
    facts = {"ls_modality": "audio", "thread_id": "booking-7", "ls_audio_recording_started_at": float(_BEGAN)}
    return _encoded(
        _ROOT, "", "conversation", (0.0, seconds), {_META + key: value for key, value in facts.items()}
    )


def _encoded(
    span_id: str, parent: str, name: str, times: tuple[float, float], attributes: dict[str, object]
) -> dict[str, object]:
    return {
        "traceId": _TRACE,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(round((_BEGAN + times[0]) * 1e9)),
        "endTimeUnixNano": str(round((_BEGAN + times[1]) * 1e9)),
        "attributes": [
            {"key": key, "value": {"doubleValue" if isinstance(value, float) else "stringValue": value}}
            for key, value in attributes.items()
        ],
    }


def _line(span: dict[str, object]) -> str:
    return (
        json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "voicespan"}, "spans": [span]}]}]})
        + "\n"
    )


if __name__ == "__main__":
    run(measure)
