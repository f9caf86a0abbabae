"""Trace and span ids that are the same in every run of a test."""

from __future__ import annotations

import itertools

from opentelemetry.sdk.trace.id_generator import IdGenerator


class SequentialIds(IdGenerator):
    """Counts: the first trace is …01, the first span is …01, and so on.

    Small numbers can be read and told apart in a failing test. They are no basis for sampling: a
    sampler that decides by the trace id's value takes all of them, as they all are far below any bound.

    Args:
        first: The number of the first trace and of the first span; at least 1, as 0 is no valid id.
            Two providers that report to one server need ranges of their own.

    Raises:
        ValueError: `first` is not a valid id.
    """

    def __init__(self, first: int = 1) -> None:
        if not 1 <= first < 1 << 64:
            raise ValueError("ids are counted from 1 up to 64 bits")
        # `next` on a count is one C call and so atomic: threads never draw the same id.
        self._span_ids = itertools.count(first)
        self._trace_ids = itertools.count(first)

    def generate_span_id(self) -> int:
        """The next span id, 64 bits."""
        return next(self._span_ids)

    def generate_trace_id(self) -> int:
        """The next trace id, 128 bits."""
        return next(self._trace_ids)

    def is_trace_id_random(self) -> bool:
        """False: newer SDKs ask, to set the W3C random flag."""
        return False
