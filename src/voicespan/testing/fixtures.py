"""Pytest fixtures, switched on by `pytest_plugins = ["voicespan.testing.fixtures"]` in a `conftest.py`."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from voicespan.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from voicespan.testing import (
        CascadeServer,
        GeminiLiveServer,
        LangSmithServer,
        OpenAILiveServer,
        OpenAIRealtimeServer,
    )


#: Loaded when a test asks for them.
_HOMES = {
    "CascadeServer": "voicespan.testing.cascade",
    "GeminiLiveServer": "voicespan.testing.gemini_live",
    "LangSmithServer": "voicespan.testing.langsmith",
    "OpenAILiveServer": "voicespan.testing.openai_live",
    "OpenAIRealtimeServer": "voicespan.testing.openai_realtime",
    "SequentialIds": "voicespan.testing.ids",
    "SimpleSpanProcessor": "opentelemetry.sdk.trace.export",
    "TracerProvider": "opentelemetry.sdk.trace",
    "UpToDateSpanExporter": "voicespan.testing.exporter",
}


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()


def _load(name: str) -> Any:
    return getattr(importlib.import_module(_HOMES[name]), name)


@pytest.fixture
def langsmith_server(fake_clock: FakeClock) -> Iterator[LangSmithServer]:
    """A LangSmith that listens; its orphans' window passes by `fake_clock`."""
    with _load("LangSmithServer")(clock=fake_clock) as server:
        yield server


@pytest.fixture
def openai_realtime_server() -> Iterator[Callable[..., OpenAIRealtimeServer]]:
    """A function that starts an `OpenAIRealtimeServer` with the arguments that it is given."""
    yield from _starter("OpenAIRealtimeServer")


@pytest.fixture
def openai_live_server() -> Iterator[Callable[..., OpenAILiveServer]]:
    """A function that starts an `OpenAILiveServer` with the arguments that it is given."""
    yield from _starter("OpenAILiveServer")


@pytest.fixture
def gemini_live_server() -> Iterator[Callable[..., GeminiLiveServer]]:
    """A function that starts a `GeminiLiveServer` with the arguments that it is given."""
    yield from _starter("GeminiLiveServer")


@pytest.fixture
def cascade_server() -> Iterator[Callable[..., CascadeServer]]:
    """A function that starts a `CascadeServer` with the arguments that it is given."""
    yield from _starter("CascadeServer")


def _starter(name: str) -> Iterator[Callable[..., Any]]:
    server = _load(name)
    with ExitStack() as servers:
        yield lambda *args, **kwargs: servers.enter_context(server(*args, **kwargs))


@pytest.fixture
def span_exporter() -> InMemorySpanExporter:
    """Holds the finished spans of `tracer_provider`: all of what has happened when it is asked for them."""
    exporter: InMemorySpanExporter = _load("UpToDateSpanExporter")()
    return exporter


@pytest.fixture
def tracer_provider(span_exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A provider of its own for each test, with ids that repeat, that exports to `span_exporter` at once."""
    provider: TracerProvider = _load("TracerProvider")(
        id_generator=_load("SequentialIds")(), shutdown_on_exit=False
    )
    provider.add_span_processor(_load("SimpleSpanProcessor")(span_exporter))
    yield provider
    provider.shutdown()
