"""The n-th call of each kind fails in a short conversation: the application sees nothing, the next one is whole.

A sample by seed; all of them with HOSTILE_FAULTS=all (`make hostile`). HOSTILE_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
import threading
import time

import pytest
from faults import KINDS, Fault
from openai import OpenAI
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import voicespan
from voicespan.delivery.export import http_client
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.runtime import guard, settings
from voicespan.testing import LangSmithServer, gemini_live, openai_realtime
from voicespan.testing.gemini_live.certificates import authority

SEED = int(os.environ.get("HOSTILE_SEED", "0"))
MOST = os.environ.get("HOSTILE_FAULTS", "1")
PCM = bytes(range(1, 241)) * 200
#: Seconds that a call of half a second may take on a busy machine.
PATIENCE = 20


class Stage:
    """Servers, and an application that holds calls."""

    def __init__(self, provider, langsmith, server):
        self.provider, self.langsmith, self.server = provider, langsmith, server
        self.tracing = None

    @contextlib.contextmanager
    def traced(self, *processors):
        """A tracer provider with a processor of ours, for one or several calls."""
        tracing = self.tracing = TracerProvider(shutdown_on_exit=False)
        for processor in processors:
            tracing.add_span_processor(processor)
        self.processor = voicespan.LangSmithSpanProcessor(
            endpoint=self.langsmith.url, api_key=self.langsmith.api_key
        )
        tracing.add_span_processor(self.processor)
        instrumentor = {"openai": OpenAIRealtimeInstrumentor, "gemini": GeminiLiveInstrumentor}[
            self.provider
        ]()
        instrumentor.instrument(tracer_provider=tracing)
        voicespan.tracing.tracer.name_provider(tracing)
        try:
            yield
        finally:
            voicespan.tracing.tracer.name_provider(None)
            instrumentor.uninstrument()
            self.processor.shutdown()

    def call(self):
        """What the application saw of a call, and the run of its conversation."""
        began = time.monotonic()
        with voicespan.conversation() as conversation:
            seen = (
                _openai(self.server, conversation)
                if self.provider == "openai"
                else _gemini(self.server, conversation)
            )
        assert time.monotonic() - began < PATIENCE
        return seen, conversation.run_id

    def delivered(self, run_id, is_said=lambda: False):
        """The root as LangSmith has it; None: 20 seconds were not enough, nothing is left to deliver, or `is_said`.

        It comes last of its conversation. Another conversation, which may wait for longer, is not waited for.
        """
        until = time.monotonic() + 20
        while True:
            is_all = self.processor.force_flush(100)
            if is_all or is_said() or self._root(run_id) is not None or time.monotonic() > until:
                # The server may still be reading the request that the root came with.
                self.processor.force_flush(200)
                return self._root(run_id)

    def _root(self, run_id):
        return next((root for root in self.langsmith.roots if root.id == run_id), None)


def _openai(server, conversation):
    with OpenAI(api_key="k", websocket_base_url=server.url).realtime.connect(model="m") as connection:
        _speak(conversation)
        connection.response.create()
        seen = []
        for event in connection:
            seen.append(event.type)
            if event.type == "response.done":
                return seen
    return seen


def _gemini(server, conversation):
    from google import genai

    async def talk():
        client = genai.Client(**server.client_options())
        async with client.aio.live.connect(model="m", config={"response_modalities": ["AUDIO"]}) as session:
            _speak(conversation)
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "Hi"}]})
            return [message.model_dump_json(exclude_none=True) async for message in session.receive()]

    return asyncio.run(talk())


def _speak(conversation):
    conversation.recorder.user(PCM, 24_000)
    conversation.recorder.agent(PCM, 24_000)


def shape(root):
    """What a whole conversation looks like."""
    return sorted(child.name for child in root.children), sorted(root.attachments)


def _restored():
    """The environment of a process in which nothing went wrong before: each cause is logged once."""
    guard._reported.clear()
    settings._warned.clear()


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch):
    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "1")
    # After a reset `urllib3` still waits for an answer, which a server that got nothing never gives.
    monkeypatch.setattr(http_client, "_ANSWER_SECONDS", 4.0)


@pytest.fixture
def stage(request, monkeypatch):
    module = {"openai": openai_realtime, "gemini": gemini_live}[request.param]
    kind = {"openai": "OpenAIRealtimeServer", "gemini": "GeminiLiveServer"}[request.param]
    # What fails of TLS needs a server that speaks it.
    secure = request.node.callspec.params.get("kind") in ("tls", "read")
    with contextlib.ExitStack() as stack:
        if secure:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", stack.enter_context(authority().file()))
        langsmith = stack.enter_context(LangSmithServer(tls=authority().server_context() if secure else None))
        yield Stage(request.param, langsmith, stack.enter_context(getattr(module, kind).conversational()))


def pairs(name, values):
    """Each value with each provider; in a sample with one of them, by seed."""
    chosen = [
        (provider, value)
        for number, value in enumerate(values)
        for index, provider in enumerate(("openai", "gemini"))
        if MOST == "all" or (number + SEED) % 2 == index
    ]
    return pytest.mark.parametrize(("stage", name), chosen, indirect=["stage"])


def _numbers(count, kind):
    """Which calls fail: all of them, or a sample by seed."""
    numbers = range(1, count + 1)
    if MOST == "all" and kind != "memory":
        return numbers
    most = 200 if MOST == "all" else int(MOST)
    return sorted(random.Random(f"{SEED} {kind}").sample(numbers, min(most, count)))


@pytest.mark.timeout(3600 if MOST == "all" else 180)
@pairs("kind", [*KINDS, "memory"])
def test_one_call_fails(stage, kind, caplog):
    with stage.traced():
        counted = Fault(kind, 0)
        with counted.armed():
            expected, run_id = stage.call()
            whole = shape(stage.delivered(run_id))
        assert whole[1] == ["conversation"]
    problems = []
    for number in _numbers(counted.count, kind):
        fault = Fault(kind, number)
        if problem := _problem_after(stage, fault, expected, whole, caplog):
            problems.append(f"{kind} {number} of {counted.count} at {fault.where}: {problem}")
    assert problems == []


def _problem_after(stage, fault, expected, whole, caplog):
    """What is wrong after a call in which this failed, if anything is."""
    _restored()
    caplog.clear()
    with stage.traced():
        with fault.armed():
            try:
                seen, run_id = stage.call()
                stage.processor.force_flush(2_000)
            except Exception as error:  # noqa: BLE001  whatever it is, the application saw it
                return f"the application saw {error!r}"
        if seen != expected:
            return f"the application saw other frames: {seen}"
        later, later_run = stage.call()
        root = stage.delivered(later_run)
        if later != expected or root is None or shape(root) != whole:
            return f"the next conversation is not whole: {root and shape(root)}, {caplog.messages}"

        def is_said():
            return any(record.name.startswith("voicespan") for record in caplog.records)

        first = stage.delivered(run_id, is_said)
        is_counted = first is not None and _says_what_is_missing(first.metadata)
        if (first is None or shape(first) != whole) and not is_said() and not is_counted:
            return f"something is lost and nobody says so: {first and (shape(first), first.metadata)}"
    return None


def _says_what_is_missing(metadata):
    """Whether the root itself says that something of it is not there."""
    return any("dropped" in key for key in metadata) or metadata.get("ls_audio_attach_status") == "failed"


class _Raising(SpanProcessor):
    def on_start(self, span, parent_context=None):
        raise RuntimeError("a processor of the application's")

    def on_end(self, span):
        raise RuntimeError("a processor of the application's")


class _BadHandler(logging.Handler):
    def emit(self, record):
        raise RuntimeError("a log handler of the application's")


class _BadStream:
    def __getattr__(self, name):
        raise OSError("no stream")


def _bad_factory(*_, **__):
    raise RuntimeError("a record factory of the application's")


def _bad_filter(_record):
    raise RuntimeError("a filter of the application's")


@pairs("broken", ["handler", "filter", "factory", "stderr"])
def test_logging_that_raises_reaches_nobody(stage, broken, monkeypatch):
    with stage.traced():
        expected, _ = stage.call()
    logger = logging.getLogger("voicespan")
    if broken == "handler":
        handler = _BadHandler()
        monkeypatch.setattr(logger, "handlers", [handler])
    elif broken == "filter":
        monkeypatch.setattr(logger, "filters", [_bad_filter])
    elif broken == "factory":
        monkeypatch.setattr(logging, "_logRecordFactory", _bad_factory)
    else:
        monkeypatch.setattr(sys, "stderr", _BadStream())
    _restored()
    with stage.traced():
        # Something has to be said.
        stage.langsmith.fail(status=401, times=1)
        seen, run_id = stage.call()
        assert seen == expected
        stage.processor.force_flush(1_000)
        stage.langsmith.clear_failures()
        seen, run_id = stage.call()
        assert seen == expected
        stage.processor.force_flush(10_000)
    with stage.traced():
        monkeypatch.undo()
        monkeypatch.setattr(guard, "reraise", False)
        seen, run_id = stage.call()
        assert stage.delivered(run_id) is not None


@pairs("status", [400, 401, 404, 408, 409, 413, 422, 429, 500, 503])
def test_each_answer_of_the_server(stage, status):
    with stage.traced():
        expected, run_id = stage.call()
        whole = shape(stage.delivered(run_id))
        stage.langsmith.fail(status=status, times=1)
        seen, _ = stage.call()
        assert seen == expected
        stage.processor.force_flush(1_000)
        stage.langsmith.clear_failures()
        _, run_id = stage.call()
    with stage.traced():
        # A key that was refused counts for its processor.
        _, run_id = stage.call()
        assert shape(stage.delivered(run_id)) == whole


@pairs("hook", ["raises", "returns nothing", "takes long"])
def test_hooks_of_the_application(stage, hook):
    with stage.traced():
        expected, run_id = stage.call()
        whole = shape(stage.delivered(run_id))

    def redact(text, *, role, place):
        if hook == "raises":
            raise RuntimeError(text)
        if hook == "takes long":
            time.sleep(0.05)
            return text
        return None

    settings.set_redaction(redact)
    try:
        with stage.traced(_Raising()) if hook == "raises" else stage.traced():
            seen, run_id = stage.call()
            assert seen == expected
            root = stage.delivered(run_id)
    finally:
        settings.set_redaction(None)
    if hook != "raises":
        assert shape(root) == whole


class _Hanging(SpanProcessor):
    """Hangs in one span, until it is let go."""

    def __init__(self):
        self.hangs, self.release = threading.Event(), threading.Event()

    def on_end(self, span):
        self.hang()

    def hang(self):
        if not self.hangs.is_set():
            self.hangs.set()
            self.release.wait()


@pairs("hook", ["a processor", "redact"])
def test_a_hook_that_hangs_for_ever_costs_its_call_alone(stage, hook):
    with stage.traced():
        expected, run_id = stage.call()
        whole = shape(stage.delivered(run_id))
    hanging, seen = _Hanging(), []

    def redact(text, *, role, place):
        hanging.hang()
        return text

    def call():
        seen.append(stage.call())

    settings.set_redaction(redact if hook == "redact" else None)
    stuck = threading.Thread(target=call)
    try:
        with stage.traced(hanging) if hook == "a processor" else stage.traced():
            stuck.start()
            assert hanging.hangs.wait(PATIENCE)
            later, run_id = stage.call()
            assert later == expected
            assert shape(stage.delivered(run_id)) == whole
            hanging.release.set()
            stuck.join(PATIENCE)
            assert [frames for frames, _ in seen] == [expected]
            assert stage.delivered(seen[0][1]) is not None
    finally:
        hanging.release.set()
        settings.set_redaction(None)
