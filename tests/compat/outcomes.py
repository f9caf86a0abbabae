"""A pytest plugin for a foreign test suite: writes down how each test ended, and traces the suite if it is told to.

VOICESPAN_OUTCOMES      where the outcomes go, as JSON
VOICESPAN_INSTRUMENTED  1: with the instrumentors on, as an application would have it
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

_outcomes: dict[str, str] = {}
_complaints: list[str] = []
_exporter: Any = None


class _Complaints(logging.Handler):
    """What voicespan had to say: in a suite of somebody else it should have nothing to say."""

    def emit(self, record: logging.LogRecord) -> None:
        _complaints.append(record.getMessage())


def pytest_configure() -> None:
    global _exporter  # noqa: PLW0603  pytest gives hooks no other place of their own
    if os.environ.get("VOICESPAN_INSTRUMENTED") != "1":
        return
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from voicespan.instrumentation.sockets import (
        AiohttpInstrumentor,
        WebsocketClientInstrumentor,
        WebsocketsInstrumentor,
    )
    from voicespan.openai_agents import OpenAIAgentsInstrumentor
    from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

    logging.getLogger("voicespan").addHandler(_Complaints())
    _exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    for instrumentor in (
        OpenAIRealtimeInstrumentor,
        WebsocketsInstrumentor,
        AiohttpInstrumentor,
        WebsocketClientInstrumentor,
        OpenAIAgentsInstrumentor,
    ):
        instrumentor().instrument(tracer_provider=provider)


def pytest_runtest_logreport(report: Any) -> None:
    # The worst of set-up, call and tear-down.
    if report.outcome != "passed" or report.when == "call":
        _outcomes[report.nodeid] = (
            report.outcome if report.when == "call" else f"{report.outcome} in {report.when}"
        )


def pytest_sessionfinish() -> None:
    spans = [] if _exporter is None else _exporter.get_finished_spans()
    told = {
        "outcomes": _outcomes,
        "complaints": _complaints,
        "conversations": sum(s.parent is None for s in spans),
    }
    Path(os.environ["VOICESPAN_OUTCOMES"]).write_text(json.dumps(told), encoding="utf-8")
