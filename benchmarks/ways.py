"""The ways a session is traced, each so that it can be put in and taken out between two blocks.

Most tracers replace methods of the SDK's classes. They are installed once, what they replaced is noted, and
then their methods are put in for their own blocks and taken out for those of all others: an untraced block
runs through nothing of anybody's. A wrapper is put round a session's object and needs none of that.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks import servers
from benchmarks.results import UNTRACED, VOICESPAN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

#: The modules whose classes a tracer of these clients can replace something in.
MODULES = ("openai.resources.realtime.realtime", "google.genai.live")

WRAP_REALTIME = "wrap_realtime"
WRAP_GEMINI_LIVE = "wrap_gemini_live"
DDTRACE = "ddtrace"
GEMINI_TELEMETRY = "gemini-live-telemetry"
OPENLLMETRY = "OpenLLMetry"


class Way:
    """One way to trace; this one is none at all."""

    name = UNTRACED

    def __init__(self) -> None:
        self._replaced: list[tuple[type, str, Any, Any]] = []
        before = _attributes()
        self.install()
        after = _attributes()
        for (owner, name), there in after.items():
            if there is not before.get((owner, name)):
                self._replaced.append((owner, name, before.get((owner, name)), there))
        self.take_out()

    @property
    def sees_the_client(self) -> bool:
        """Whether it replaced anything in the SDKs' classes."""
        return bool(self._replaced)

    def put_in(self) -> None:
        """Its methods stand in the SDK's classes from now on."""
        for owner, name, _, ours in self._replaced:
            setattr(owner, name, ours)

    def take_out(self) -> None:
        """The SDK's own methods do."""
        for owner, name, original, _ in self._replaced:
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Put in, for as long as the block."""
        self.put_in()
        try:
            yield
        finally:
            self.take_out()

    def install(self) -> None:
        """Replace what it replaces."""

    @contextlib.asynccontextmanager
    async def around(self, session: Any) -> AsyncIterator[Any]:
        """The session as the application has it."""
        yield session

    def flush(self) -> None:
        """Wait until everything is delivered."""


class Voicespan(Way):
    """With delivery to LangSmith, as in production: spans are copied, written to the spool and sent."""

    name = VOICESPAN

    def __init__(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider

        from voicespan.delivery import LangSmithSpanProcessor

        self._spool = tempfile.TemporaryDirectory(prefix="voicespan-bench-")
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(LangSmithSpanProcessor(spool_dir=self._spool.name))
        super().__init__()

    def install(self) -> None:
        from voicespan.gemini_live import GeminiLiveInstrumentor
        from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

        OpenAIRealtimeInstrumentor().instrument(tracer_provider=self.provider)
        GeminiLiveInstrumentor().instrument(tracer_provider=self.provider)

    def flush(self) -> None:
        self.provider.force_flush(20_000)


class WrapRealtime(Way):
    """The `langsmith` package's wrapper for OpenAI; it posts to LANGSMITH_ENDPOINT."""

    name = WRAP_REALTIME

    @contextlib.asynccontextmanager
    async def around(self, session: Any) -> AsyncIterator[Any]:
        from langsmith.integrations.openai_realtime import wrap_realtime

        async with wrap_realtime(session, max_audio_seconds=None) as wrapped:
            yield wrapped

    def flush(self) -> None:
        from langsmith.run_trees import get_cached_client

        get_cached_client().flush()


class WrapGeminiLive(WrapRealtime):
    """The `langsmith` package's wrapper for Gemini."""

    name = WRAP_GEMINI_LIVE

    @contextlib.asynccontextmanager
    async def around(self, session: Any) -> AsyncIterator[Any]:
        from langsmith.integrations.gemini_live import wrap_gemini_live

        async with wrap_gemini_live(session, model="gemini-live", max_audio_seconds=None) as wrapped:
            yield wrapped


class Ddtrace(Way):
    """Datadog's tracer with LLM Observability, which sends to an agent."""

    name = DDTRACE

    def install(self) -> None:
        os.environ |= {
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_TRACE_AGENT_URL": os.environ["VOICESPAN_BENCH_SINK"],
        }
        from ddtrace import patch
        from ddtrace.llmobs import LLMObs

        LLMObs.enable(ml_app="bench", agentless_enabled=False, integrations_enabled=False)
        patch(openai=True)


class GeminiTelemetry(Way):
    """OpenTelemetry metrics of Gemini Live sessions."""

    name = GEMINI_TELEMETRY

    def install(self) -> None:
        from gemini_live_telemetry import activate
        from gemini_live_telemetry.config import InstrumentationConfig

        self._folder = tempfile.TemporaryDirectory(prefix="voicespan-bench-")
        nowhere = {"metrics_dir": self._folder.name, "log_dir": self._folder.name}
        activate(InstrumentationConfig(**nowhere, enable_gcp_export=False, enable_dashboard=False))


class OpenLLMetry(Way):
    """opentelemetry-instrumentation-openai."""

    name = OPENLLMETRY

    def install(self) -> None:
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument()


_WAYS: dict[str, type[Way]] = {
    way.name: way
    for way in (
        Way,
        Voicespan,
        WrapRealtime,
        WrapGeminiLive,
        Ddtrace,
        GeminiTelemetry,
        OpenLLMetry,
    )
}


def made(names: Sequence[str]) -> list[Way]:
    """The ways of these names: each is installed once in a process."""
    return [_made(name) for name in names]


@cache
def _made(name: str) -> Way:
    _destinations()
    return _WAYS[name]()


def received() -> dict[str, int]:
    """What LangSmith has received: see `servers.Elsewhere.totals`."""
    return _destinations().totals()


def forget() -> None:
    """From now on LangSmith has received nothing."""
    _destinations().clear()


@cache
def _destinations() -> servers.Elsewhere:
    """Start what they deliver to, in other processes and until this one ends; the LangSmith server of them."""
    stack = contextlib.ExitStack()
    langsmith = stack.enter_context(servers.langsmith())
    os.environ |= {
        "LANGSMITH_ENDPOINT": langsmith.url,
        "LANGSMITH_API_KEY": "lsv2_pt_test",
        "LANGSMITH_TRACING": "true",
        "VOICESPAN_BENCH_SINK": stack.enter_context(servers.sink()).url,
    }
    atexit.register(stack.close)
    return langsmith


def _attributes() -> dict[tuple[type, str], Any]:
    """Everything that stands in the SDKs' classes now."""
    return {
        (owner, name): there
        for module in map(importlib.import_module, MODULES)
        for owner in vars(module).values()
        if isinstance(owner, type) and owner.__module__ == module.__name__
        for name, there in vars(owner).items()
    }
