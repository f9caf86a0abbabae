"""What became of the call: its trace, its recording, and how they got there."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from voicespan.cli.demo.page import amount
from voicespan.cli.demo.tree import show_tree
from voicespan.tracing.figures_in_words import in_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voicespan.cli.demo.page import Page
    from voicespan.testing import Attachment, LangSmithServer, Run

_LEVELS = " ▁▂▃▄▅▆▇█"
#: From the faintest that is shown to the loudest.
_FAINTEST_DB, _LOUDEST_DB = -48.0, -12.0
_MARGIN = "  caller  "


def report(page: Page, langsmith: LangSmithServer, root: Run) -> None:
    """Show what LangSmith has of one conversation."""
    page.heading("The trace")
    show_tree(page, root)
    page.heading("The recording")
    attachment = root.attachments.get("conversation")
    if attachment is None:
        page.line("  none")
    else:
        _show_recording(page, attachment)
    figures = in_words(root.metadata)
    if figures:
        page.heading("The figures")
        page.paragraph(f"{figures}. All of them are the root's metadata; docs/figures.md says what each is.")
    page.heading("The delivery")
    page.paragraph(_delivery(langsmith, root))


def _show_recording(page: Page, attachment: Attachment) -> None:
    sound, rate = sf.read(io.BytesIO(attachment.read()), dtype="float32", always_2d=True)
    seconds = len(sound) / rate
    cells = page.width - len(_MARGIN) - 1
    for name, channel in zip(("caller", "agent"), sound.T, strict=False):
        page.line(f"  {name:<6}  {_drawn(channel, cells)}")
    page.line(f"{'':{len(_MARGIN)}}{_scale(seconds, cells)}", "faint")
    page.line()
    page.paragraph(
        f"Stereo, as it was heard: {seconds:.1f} s at {rate / 1000:g} kHz, {attachment.mime_type}, "
        f"{amount(attachment.size)}. It is attached to the root, and saved here:"
    )
    page.line(f"  {attachment.path}")


def _drawn(channel: NDArray[np.float32], cells: int) -> str:
    """How loud it was, from left to right."""
    loudness = [np.sqrt(np.mean(part**2)) if len(part) else 0.0 for part in np.array_split(channel, cells)]
    decibels = 20 * np.log10(np.maximum(loudness, 1e-6))
    share = (decibels - _FAINTEST_DB) / (_LOUDEST_DB - _FAINTEST_DB)
    levels = np.clip(np.ceil(share * (len(_LEVELS) - 1)), 0, len(_LEVELS) - 1).astype(int)
    return "".join(_LEVELS[level] for level in levels)


def _scale(seconds: float, cells: int) -> str:
    """A mark every five seconds."""
    scale = ""
    for mark in range(0, math.ceil(seconds), 5):
        longer = f"{scale:<{round(mark / seconds * cells)}}{mark} s"
        if len(longer) <= cells:
            scale = longer
    return scale


def _delivery(langsmith: LangSmithServer, root: Run) -> str:
    sizes = [amount(request.body_bytes) for request in langsmith.requests]
    root_and = "the root with the recording in it" if root.attachments else "the root"
    return (
        f"{_count(sum(1 for _ in root.walk()), 'run')} in {_count(len(sizes), 'request')} "
        f"({' + '.join(sizes)}): while the call is open nothing is sent; then its spans, and last {root_and}. "
        f"Project {root.project}, thread {root.thread_id}, trace {root.otel_trace_id}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
