"""Pytest fixtures, switched on by `pytest_plugins = ["voicespan.testing.fixtures"]` in a `conftest.py`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from voicespan.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from voicespan.testing import GeminiLiveServer, LangSmithServer, OpenAIRealtimeServer


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
def langsmith_server(fake_clock: FakeClock) -> Iterator[LangSmithServer]:
    """A LangSmith that listens; its orphans' window passes by `fake_clock`."""
    from voicespan.testing.langsmith import LangSmithServer  # noqa: PLC0415  loaded when asked for

    with LangSmithServer(clock=fake_clock) as server:
        yield server


@pytest.fixture
def openai_realtime_server() -> Iterator[Callable[..., OpenAIRealtimeServer]]:
    """A function that starts an `OpenAIRealtimeServer` with the arguments that it is given."""
    from voicespan.testing.openai_realtime import OpenAIRealtimeServer  # noqa: PLC0415  loaded when asked for

    with ExitStack() as servers:

        def start(*args: Any, **kwargs: Any) -> OpenAIRealtimeServer:
            return servers.enter_context(OpenAIRealtimeServer(*args, **kwargs))

        yield start


@pytest.fixture
def gemini_live_server() -> Iterator[Callable[..., GeminiLiveServer]]:
    """A function that starts a `GeminiLiveServer` with the arguments that it is given."""
    from voicespan.testing.gemini_live import GeminiLiveServer  # noqa: PLC0415  loaded when asked for

    with ExitStack() as servers:

        def start(*args: Any, **kwargs: Any) -> GeminiLiveServer:
            return servers.enter_context(GeminiLiveServer(*args, **kwargs))

        yield start


@pytest.fixture
def span_exporter() -> InMemorySpanExporter:
    """Holds the finished spans of `tracer_provider`: all of what has happened when it is asked for them."""
    from voicespan.testing.exporter import UpToDateSpanExporter  # noqa: PLC0415  loaded when asked for

    return UpToDateSpanExporter()


@pytest.fixture
def tracer_provider(span_exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A provider of its own for each test, with ids that repeat, that exports to `span_exporter` at once."""
    from opentelemetry.sdk.trace import TracerProvider, export  # noqa: PLC0415  loaded when asked for

    from voicespan.testing.ids import SequentialIds  # noqa: PLC0415  loaded when asked for

    provider = TracerProvider(id_generator=SequentialIds(), shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(span_exporter))
    yield provider
    provider.shutdown()
