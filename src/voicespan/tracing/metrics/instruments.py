"""The instruments: what each is called, its unit, and its buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voicespan.runtime.guard import guarded
from voicespan.runtime.measurements import SHARED
from voicespan.runtime.version import __version__
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, MeterProvider, Observation


class Distribution(NamedTuple):
    """A histogram."""

    name: str
    unit: str
    description: str
    #: Upper bounds.
    buckets: tuple[float, ...]


#: Seconds that who asks for all metrics waits for what is being recorded.
_PATIENCE = 0.5
#: Of the OpenTelemetry GenAI conventions, as their metrics page gives them.
_CALL_BUCKETS = tuple(0.01 * 2**power for power in range(14))
_TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
#: A person notices a pause of 0.2 s, and thinks the line is dead after 4.
_GAP_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_BARGE_IN_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_CONVERSATION_BUCKETS = (
    5.0,
    10.0,
    20.0,
    30.0,
    60.0,
    120.0,
    180.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
)
_COST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BLOCKED_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)

DISTRIBUTIONS = (
    Distribution(semconv.OPERATION_DURATION, "s", "How long a call of a model took.", _CALL_BUCKETS),
    Distribution(semconv.TOKEN_USAGE, "{token}", "Tokens that one call of a model used.", _TOKEN_BUCKETS),
    Distribution(
        semconv.TOOL_DURATION, "s", "How long a function took, until its answer was sent.", _CALL_BUCKETS
    ),
    Distribution(
        semconv.GAP,
        "s",
        "What a person waited for an answer: last sound of the user to first sound of the agent.",
        _GAP_BUCKETS,
    ),
    Distribution(
        semconv.BARGE_IN, "s", "How long the agent went on after the user cut in.", _BARGE_IN_BUCKETS
    ),
    Distribution(semconv.CALL_DURATION, "s", "How long a conversation lasted.", _CONVERSATION_BUCKETS),
    Distribution(semconv.CALL_COST, "{USD}", "What a conversation cost, in dollars.", _COST_BUCKETS),
    Distribution(
        semconv.BLOCKED,
        "s",
        "How long live audio was not taken, and then came in a burst: the event loop was blocked.",
        _BLOCKED_BUCKETS,
    ),
)
#: Name, unit and description of each counter.
COUNTERS = (
    (semconv.INTERRUPTIONS, "{interruption}", "Answers that the user cut off."),
    (semconv.ANSWERS, "{answer}", "Answers of the model, by outcome."),
    (semconv.DROPPED, "{span}", "Spans of conversations that were not kept."),
)


class Instruments:
    """Those of one meter provider."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(semconv.SCOPE, __version__)
        self._distributions: dict[str, Histogram] = {
            each.name: meter.create_histogram(
                each.name, each.unit, each.description, explicit_bucket_boundaries_advisory=each.buckets
            )
            for each in DISTRIBUTIONS
        }
        self._counters: dict[str, Counter] = {
            name: meter.create_counter(name, unit, description) for name, unit, description in COUNTERS
        }
        _observe_what_waits(meter)

    def record(self, name: str, value: float, attributes: Mapping[str, str], context: Context | None) -> None:
        """A value of a histogram. `context`: of the span that it comes from, for exemplars."""
        self._distributions[name].record(value, dict(attributes), context=context)

    def count(self, name: str, number: int, attributes: Mapping[str, str], context: Context | None) -> None:
        """So many more."""
        self._counters[name].add(number, dict(attributes), context=context)


def _observe_what_waits(meter: Meter) -> None:
    from opentelemetry.metrics import Observation  # noqa: PLC0415  whoever has a provider has imported it

    @guarded
    def waiting() -> int:
        # Who asks for all metrics now gets what our thread has not come to.
        SHARED.drain(_PATIENCE)
        return sum(each.waiting() for each in list(SHARED.destinations))

    def observe(_options: CallbackOptions) -> list[Observation]:
        count = waiting()
        return [] if count is None else [Observation(count)]

    callbacks: list[Callable[[CallbackOptions], list[Observation]]] = [observe]
    meter.create_observable_up_down_counter(
        semconv.WAITING, callbacks, "{conversation}", "Conversations that wait to be delivered."
    )
