"""The run tree of one conversation, as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.cli.demo.page import wrapped
from voicespan.protocol import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicespan.cli.demo.page import Page
    from voicespan.testing import Run

_LONGEST_NAME = 44
_NS = 1e9
_MS = 1e6
#: What is shorter is a point in time.
_SHORTEST_MS = 0.5


def show_tree(page: Page, root: Run) -> None:
    """A line for each run: its name, its type, when it began, how long it took, and its content in short.

    What does not fit beside a run stands below it.
    """
    rows = list(_rows(root))
    width = min(max(len(branch + run.name) for branch, _, run in rows), _LONGEST_NAME)
    page.line(f"  {'run':<{width}}  {'type':<5}  {'begins':>8}  {'takes':>7}", "faint")
    for branch, below, run in rows:
        name = branch + run.name
        if len(name) > _LONGEST_NAME:
            name = name[: _LONGEST_NAME - 1] + "…"
        begins = (run.start_ns - root.start_ns) / _NS
        line = f"  {name:<{width}}  {run.run_type:<5}  {begins:>6.2f} s  {_duration(run):>7}"
        text = _summary(run)
        beside = len(line) + 2 + len(text) <= page.width
        page.line(f"{line}  {text}" if beside else line, _style(run))
        if not beside:
            for words in wrapped(text, page.width - len(below) - 2):
                page.line(f"  {below}{words}")


def _rows(root: Run) -> Iterator[tuple[str, str, Run]]:
    """Each run, depth first, with the branch that leads to it and what stands before the lines below it."""
    yield "", "│  " if root.children else "   ", root
    yield from _children(root, "")


def _children(parent: Run, trunk: str) -> Iterator[tuple[str, str, Run]]:
    for child in parent.children:
        last = child is parent.children[-1]
        inner = trunk + ("   " if last else "│  ")
        yield trunk + ("└─ " if last else "├─ "), inner + ("│  " if child.children else "   "), child
        yield from _children(child, inner)


def _style(run: Run) -> Any:
    if run.parent_run_id is None:
        return "strong"
    # Events that kept the name they have on the wire: there for completeness.
    kept = run.run_type != "llm" and run.name == run.metadata.get("event_type")
    return "faint" if kept else None


def _duration(run: Run) -> str:
    if run.duration_ns is None:
        return "open"
    ms = run.duration_ns / _MS
    if ms < _SHORTEST_MS:
        return ""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"  # noqa: PLR2004  a second


def _summary(run: Run) -> str:
    """What is worth reading of a run's content."""
    if run.error:
        return run.error.partition("\n")[0]
    if run.parent_run_id is None:
        return _counts(run)
    if "event_type" not in run.metadata:
        return "the application's own span"
    summarise = _SUMMARIES.get(run.name.partition(":")[0])
    return "" if summarise is None else summarise(run)


def _counts(run: Run) -> str:
    facts = run.metadata
    parts = []
    for name in ("turn", "interruption", "function_call"):
        count = facts.get(f"{name}_count")
        if count is not None:
            parts.append(f"{count} {name.replace('_', ' ')}{'' if count == 1 else 's'}")
    if "total_tokens" in facts:
        parts.append(_tokens(facts))
    return ", ".join(parts)


def _figures(run: Run) -> str:
    parts = []
    if run.usage:
        parts.append(_tokens(run.usage))
    latency = run.metadata.get("latency_to_first_audio_ms")
    if latency is not None:
        parts.append(f"first audio {float(latency):.0f} ms after the caller's turn")
    first = run.metadata.get("time_to_first_token_ms")
    if first is not None:
        parts.append(f"first token after {float(first):.0f} ms")
    if run.metadata.get("interrupted"):
        parts.append("interrupted")
    calls = _last_message(run.outputs).get("tool_calls", ())
    parts += [f"wants {call['function']['name']}" for call in calls]
    return ", ".join(parts)


def _tokens(counts: dict[str, Any]) -> str:
    return f"{counts.get('input_tokens', '?')} → {counts.get('output_tokens', '?')} tokens"


def _heard(run: Run) -> str:
    facts = run.metadata
    seconds = {
        name: f"{int(facts[name]) / 1000:.1f} s" for name in ("heard_ms", "generated_ms") if name in facts
    }
    words = {"heard_ms": "{} heard", "generated_ms": "{} generated"}
    text = " of ".join(words[name].format(length) for name, length in seconds.items())
    if "barge_in_ms" in facts:
        text += f", silent {float(facts['barge_in_ms']):.0f} ms after the caller began"
    return text


def _spoken(run: Run) -> str:
    gap = run.metadata.get("response_gap_ms")
    waited = "" if gap is None else f", {float(gap):.0f} ms after the caller's last word"
    return f"“{_said(run)}”{waited}"


def _words(run: Run) -> str:
    return f"“{_said(run)}”"


def _said(run: Run) -> str:
    return str(_last_message(run.inputs or run.outputs).get("content", ""))


def _arguments(run: Run) -> str:
    return json.dumps(run.inputs, ensure_ascii=False)


def _last_message(content: dict[str, Any]) -> dict[str, Any]:
    messages = content.get("messages") or [{}]
    last: dict[str, Any] = messages[-1]
    return last


#: By the run's name up to a colon. Other events have no content worth a line.
_SUMMARIES: dict[str, Callable[[Run], str]] = {
    events.INPUT_TRANSCRIPTION: _words,
    events.OUTPUT_TRANSCRIPTION: _spoken,
    events.FUNCTION_CALL: _arguments,
    events.FUNCTION_RESPONSE: _said,
    events.TURN_COMPLETE: _figures,
    events.INTERRUPTED: _heard,
    "stt": _words,
    "llm": _figures,
    "tts": _spoken,
}
