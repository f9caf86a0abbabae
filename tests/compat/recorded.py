"""What was traced, asked frame by frame."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from voicespan.tracing import semconv


class Trace:
    """The finished spans of one test."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    @property
    def roots(self) -> list[Any]:
        return [span for span in self.spans if span.parent is None]

    @property
    def root(self) -> Any:
        (root,) = self.roots
        return root

    def fact(self, name: str) -> Any:
        """Metadata of the root."""
        return self.root.attributes.get(semconv.METADATA + name)

    @property
    def received(self) -> Counter[str]:
        """How often each of the server's frames was recorded, by its `event_id`."""
        return self._frames(semconv.OUTPUT_VALUE)

    @property
    def sent(self) -> Counter[str]:
        """The same for the client's."""
        return self._frames(semconv.INPUT_VALUE)

    def _frames(self, side: str) -> Counter[str]:
        # Beside the spans that carry a frame there are those of what it means, under names of their own.
        found: Counter[str] = Counter()
        for span in self.spans:
            if span.name == span.attributes.get(semconv.EVENT_TYPE) and side in span.attributes:
                found[json.loads(span.attributes[side])["event_id"]] += 1
        return found
