"""The list of the conversations in a folder: those that run first, then what went wrong, then the newest."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from typing import TYPE_CHECKING, Any

from voicespan.delivery.folder.call_folders import RUNNING
from voicespan.report import find

if TYPE_CHECKING:
    from pathlib import Path

#: Figures that are shown, as far as a conversation has them, and what they are called.
_SHOWN = {
    "turn_count": "turns",
    "interruption_count": "barge-ins",
    "function_call_count": "tools",
    "response_gap_p95_ms": "gap p95 (ms)",
    "unanswered_turn_count": "unanswered",
    "longest_silence_s": "longest silence (s)",
    "error_count": "errors",
    "cost": "cost",
}
#: Statuses of a conversation that nothing is wrong with.
_FINE = ("completed", None)
_MOST = 2_000
#: Characters that a column has room for, about.
_LONG = 30


def listing(folder: Path, query: str = "") -> bytes:
    """The page. `query`: only conversations that have this in their name, thread, model or metadata."""
    rows = [_facts(path) for path in find.calls(folder)]
    wanted = query.strip().lower()
    if wanted:
        rows = [row for row in rows if wanted in str(row).lower()]
    newest = sorted(rows, key=lambda row: row["name"], reverse=True)
    rows = sorted(newest, key=lambda row: (not row["running"], not _is_wrong(row)))[:_MOST]
    style = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    head = "".join(f"<th>{each}" for each in ("began (UTC)", "thread", "took", "status", *_SHOWN.values()))
    return "".join([
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'sha256-{digest}'; ",
        "form-action 'self'\"><title>voicespan</title>",
        f"<style>{style}</style><header><h1>Conversations</h1><p>{html.escape(str(folder))}</p></header>",
        f'<form><input name=q type=search aria-label=search value="{html.escape(query)}"> <button>search</button></form>',
        f"<table id=calls><tr>{head}",
        *map(_row, rows),
        "</table>",
        "" if rows else "<p>There is none yet.</p>",
    ]).encode()  # fmt: skip


def _facts(path: Path) -> dict[str, Any]:
    facts = find.facts(path)
    running = path.name.startswith(RUNNING)
    return {**facts, "name": path.name.removeprefix(RUNNING), "running": running}


def _is_wrong(row: dict[str, Any]) -> bool:
    metadata = row.get("metadata") or {}
    return bool(row.get("error") or metadata.get("error_count") or metadata.get("status") not in _FINE)


def _row(row: dict[str, Any]) -> str:
    name = row["name"]
    metadata = row.get("metadata") or {}
    status = "running" if row["running"] else row.get("error") or metadata.get("status", "")
    began = f"{name[:4]}-{name[4:6]}-{name[6:8]} {name[9:11]}:{name[11:13]}:{name[13:15]}"
    cells = [
        f'<a href="/call/{html.escape(name)}">{began}</a>',
        html.escape(str(row.get("thread_id") or "")),
        f"{row['duration_s']:.1f} s" if isinstance(row.get("duration_s"), (int, float)) else "",
        html.escape(str(status)),
        *(html.escape(_figure(metadata.get(figure, ""))) for figure in _SHOWN),
    ]
    mark = " class=error" if not row["running"] and _is_wrong(row) else ""
    return f"<tr{mark}>{''.join(f'<td{_whole(cell)}>{cell}' for cell in cells)}"


def _figure(value: object) -> str:
    """As exact as somebody who compares calls wants it."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004  three digits


def _whole(cell: str) -> str:
    """A long text is cut off; whoever points at it sees all of it. `cell`: escaped, and no link."""
    return f' title="{cell}"' if len(cell) > _LONG and not cell.startswith("<a ") else ""
