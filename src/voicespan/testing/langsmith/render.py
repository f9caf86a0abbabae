"""A trace as text, for a person at a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.testing.langsmith.runs import Run

_MOST_NAME = 36
_MOST_CONTENT = 60
_MOST_FIGURES = 4
_NS_PER_MS = 1_000_000
_MS_PER_S = 1000
_S_PER_MIN = 60


def render(root: Run) -> str:
    """The tree under `root`, one line a run.

    Each line has the run's name, its type, how long after the root it started, how long it took, its status
    unless that is success, tokens and latencies where it has them, and the first words of what it holds.
    """
    rows = [(prefix, run) for prefix, run in _rows(root)]
    width = max(len(prefix) + len(_cut(run.name, _MOST_NAME)) for prefix, run in rows)
    lines = [_line(prefix, run, root, width) for prefix, run in rows]
    lines[1:1] = _about(root, "│  " if root.children else "   ")
    return "\n".join(lines) + "\n"


def _rows(root: Run) -> Iterator[tuple[str, Run]]:
    """Each run below a root, depth first, with the branches that lead to it."""
    stack = [("", "", root)]
    while stack:
        branch, trunk, run = stack.pop()
        yield branch, run
        last = len(run.children) - 1
        for position, child in reversed(list(enumerate(run.children))):
            end = position == last
            stack.append((trunk + ("└─ " if end else "├─ "), trunk + ("   " if end else "│  "), child))


def _line(prefix: str, run: Run, root: Run, width: int) -> str:
    name = prefix + _cut(run.name, _MOST_NAME)
    offset = (run.start_ns - root.start_ns) / 1e9
    columns = [f"{name:<{width}}", f"{run.run_type:<5}", f"{offset:+9.3f} s", f"{_duration(run):>9}"]
    if run.status != "success":
        interrupted = run.status == "error" and run.metadata.get("ls_is_error_interrupt")
        columns.append("INTERRUPTED" if interrupted else run.status.upper())
    columns += _figures(run)
    if words := _words(run):
        columns.append(words)
    return "  ".join(columns)


def _about(root: Run, trunk: str) -> list[str]:
    """What belongs to the whole trace: its thread, its project, its files."""
    about = [f"project {_cut(root.project, _MOST_NAME)}"]
    if root.thread_id:
        about.append(f"thread {_cut(root.thread_id, _MOST_NAME)}")
    files = [
        f"attachment {_cut(attachment.name, _MOST_NAME)}: {_cut(attachment.mime_type, _MOST_NAME)}, "
        f"{_size(attachment.size)}" + (f", {attachment.path}" if attachment.path else "")
        for attachment in root.attachments.values()
    ]
    return [trunk + line for line in (", ".join(about), *files)]


def _figures(run: Run) -> Iterator[str]:
    if run.usage:
        counts = (run.usage.get(f"{way}_tokens") for way in ("input", "output"))
        yield "{} → {} tokens".format(*("?" if count is None else count for count in counts))
    latencies = {
        key.removesuffix("_ms"): value
        for key, value in run.metadata.items()
        if key.endswith("_ms") and isinstance(value, int | float) and not isinstance(value, bool)
    }
    for name, value in list(latencies.items())[:_MOST_FIGURES]:
        yield f"{_cut(name, _MOST_NAME)} {value:.0f} ms"


def _words(run: Run) -> str:
    if run.error:
        return _cut(run.error.partition("\n\nStacktrace:\n")[0], _MOST_CONTENT)
    if run.parent_run_id is None:
        return ""  # the whole transcript: its parts are in the lines below
    said = [_first_words(content) for content in (run.inputs, run.outputs) if content]
    most = _MOST_CONTENT // max(1, len(said))
    return " → ".join(_cut(words, most) for words in said)


def _first_words(content: dict[str, Any]) -> str:
    messages = content.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        message = messages[-1]
        return str(message.get("content") or json.dumps(message.get("tool_calls"), ensure_ascii=False))
    if len(content) == 1:
        (only,) = content.values()
        if isinstance(only, str):
            return only
    return json.dumps(
        {key: value for key, value in content.items() if key != "usage_metadata"}, ensure_ascii=False
    )


def _cut(text: str, most: int) -> str:
    """On one line, without anything that moves a terminal's cursor."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _duration(run: Run) -> str:
    if run.duration_ns is None:
        return "open"
    ms = run.duration_ns / _NS_PER_MS
    if ms < _MS_PER_S:
        return f"{ms:.0f} ms"
    seconds = ms / _MS_PER_S
    if seconds < _S_PER_MIN:
        return f"{seconds:.2f} s"
    return f"{seconds // _S_PER_MIN:.0f} min {seconds % _S_PER_MIN:.0f} s"


def _size(size: int) -> str:
    units = ("B", "kB", "MB", "GB")
    amount = float(size)
    for unit in units:
        if amount < 1000 or unit == units[-1]:  # noqa: PLR2004  decimal prefixes
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes everything")
