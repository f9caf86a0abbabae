"""How a deliverer stands, in Prometheus's text format (0.0.4): ten lines, for which no library is installed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.delivery.deliverer.deliverer import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(status: Status) -> str:
    """The whole page."""
    return "".join(
        f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {value:g}\n"
        for name, kind, meaning, value in _figures(status)
    )


def _figures(status: Status) -> Iterator[tuple[str, str, str, float]]:
    counter, gauge, ours = "counter", "gauge", "voicespan_deliver_"
    yield f"{ours}ready", gauge, "1 while the spool can be used and is looked at.", float(status.is_ready)
    yield (
        f"{ours}conversations_total",
        counter,
        "Conversations delivered since the process began.",
        status.delivered_conversations,
    )
    yield f"{ours}folders_total", counter, "The same, with those of late spans.", status.delivered_folders
    yield f"{ours}waiting", gauge, "Folders that could be delivered and are not.", status.waiting
    yield f"{ours}without_key", gauge, "Of these, those whose endpoint has no key here.", status.without_key
    yield f"{ours}open", gauge, "Conversations that go on.", status.open
    yield f"{ours}unreadable", gauge, "Folders of another version, or damaged.", status.unreadable
    yield (
        f"{ours}oldest_seconds",
        gauge,
        "Seconds since the oldest conversation began that waits.",
        status.oldest_seconds,
    )
    yield f"{ours}failing", gauge, "Destinations whose last try failed.", len(status.reasons)
    yield (
        "process_cpu_seconds_total",
        counter,
        "Processor time of this process in seconds.",
        time.process_time(),
    )
