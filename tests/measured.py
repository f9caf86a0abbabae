"""A meter provider of the SDK's, and what it would export now."""

from __future__ import annotations

import weakref
from contextlib import contextmanager

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from voicespan.runtime.measurements import SHARED
from voicespan.tracing.metrics import provider as meters


class Measured:
    """All that was recorded until it is asked."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def metrics(self):
        while SHARED._waiting or SHARED._recording.locked():
            SHARED.drain(patience=1)
        found = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (found.resource_metrics if found else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name):
        metric = self.metrics.get(name)
        return [] if metric is None else metric.data.data_points

    def of(self, name):
        """Attributes and the sum, or the value, of each point."""
        values = [getattr(point, "sum", None) or getattr(point, "value", 0) for point in self.points(name)]
        return [
            (dict(point.attributes), round(value, 6))
            for point, value in zip(self.points(name), values, strict=True)
        ]


@contextmanager
def measuring():
    """A `Measured` that conversations record to, until the end of the block."""
    found = Measured()
    meters.name_provider(found.provider)
    # What an earlier test left waiting is none of this one's.
    before, SHARED.destinations = SHARED.destinations, weakref.WeakSet()
    try:
        yield found
    finally:
        SHARED.destinations = before
        stop()
        found.provider.shutdown()


def stop():
    """Nobody listens any more."""
    meters.name_provider(None)
    meters.look()
