"""The one guard: whatever goes wrong inside voicespan stays there.

A call is held once to see which of voicespan's functions run in it on the application's thread; then once for
each of them, with that function raising as soon as it is entered. What the application sees must be the same.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from google import genai
from openai import OpenAI
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.delivery.processor import processors_of
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.recording import recording_thread
from voicespan.runtime import guard
from voicespan.testing import gemini_live, openai_realtime

PACKAGE = Path(voicespan.__file__).parent
#: What stands in for the application's side is not voicespan's.
NOT_OURS = tuple(str(PACKAGE / part) for part in ("testing", "cli/demo", "runtime/guard.py"))

#: What is not inside the guard, but has it inside. First what the SDK's own functions are replaced with:
#: nothing but the original, and guarded calls.
GUARDED_INSIDE = {
    "instrumentation/openai_package/patches.py": {"call", "recv_bytes"},
    "gemini_live/sdk.py": {"_receive", "send"},
    "gemini_live/sdk_connection.py": {"__aenter__", "__aexit__", "connect", "send"},
    # The guard stands inside of these: a decorator would cost a fifth of an audio frame.
    "tracing/connection.py": {"received"},
    "openai_realtime/connection.py": {"received"},
    # Nor what the application calls itself.
    "tracing/scope.py": {"conversation", "__init__", "__enter__", "__exit__"},
    "tracing/conversation.py": {
        "__init__", "set_metadata", "add_tags", "recorder", "tool_call", "use", "expect_recording",
        "attach_recording",
    },
    "tracing/cascade/pipeline.py": {"tool_call"},
    "tracing/cascade/tool_block.py": {"__init__", "__enter__", "__exit__"},
    "tracing/context.py": {"attached"},
    "recording/recorder.py": {"user", "agent"},
    # The last resort.
    "tracing/conversation_recording.py": {"no_recorder"},
}  # fmt: skip


class BrokenError(Exception):
    """What a function of ours raises."""


class Place(NamedTuple):
    path: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


@functools.cache
def module_of(filename):
    """The module of voicespan in this file, as a path; None: the file is somebody else's, or a fake server's."""
    if not filename.startswith(str(PACKAGE)) or filename.startswith(NOT_OURS):
        return None
    return str(Path(filename).relative_to(PACKAGE))


class Watched:
    """Sees every function of ours that is entered on this thread; raises in `broken` as soon as it is entered."""

    def __init__(self, broken: Place | None = None):
        self.entered: dict[Place, None] = {}
        self.broke = False
        self._broken = broken

    def _call(self, frame, event, _arg):
        # Python calls this for every function of every library, some 20,000 times for one short call.
        code = frame.f_code
        if (module := module_of(code.co_filename)) is None or event != "call":
            return
        # The sender's generators are only thrown away on the application's thread.
        if code.co_flags & inspect.CO_GENERATOR and module.startswith("delivery"):
            return
        place = Place(module, code.co_name, code.co_firstlineno)
        self.entered[place] = None
        if place == self._broken:
            self.broke = True
            raise BrokenError(place)

    def __enter__(self):
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(None)


@pytest.fixture(autouse=True)
def _quiet_guard(monkeypatch, tmp_path):
    """As in production, and with a LangSmith that nobody listens at."""
    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_pt_none")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "0")
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    monkeypatch.setenv("VOICESPAN_RAW_EVENTS", "1")
    logging.getLogger("voicespan").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("voicespan").setLevel(logging.NOTSET)


@pytest.fixture
def provider():
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LangSmithSpanProcessor())
    yield provider
    provider.shutdown()
    # The file of a recording whose copy was broken would show here.
    for processor in processors_of(provider):
        processor._after_fork()
    gc.collect()
    # A recording whose end was broken waits for more.
    for writer in list(recording_thread.SHARED._writers):
        writer.fail("the test is over")
        recording_thread.SHARED.discard(writer)


def test_what_goes_wrong_is_logged_and_goes_no_further(caplog):
    logging.getLogger("voicespan").setLevel(logging.WARNING)

    @guard.guarded
    def broken():
        raise BrokenError("the words of a caller, or a key")

    assert broken() is None
    with guard.guard():
        raise BrokenError("the words of a caller, or a key")
    (first, second) = caplog.messages
    assert "BrokenError" in first
    assert "test_guard.py" in first
    assert "the words of a caller" not in first + second
    broken()
    assert len(caplog.messages) == 2, "one line for each place"


def test_what_the_application_raises_or_is_stopped_by_goes_on():
    for stops in (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
        with pytest.raises(stops), guard.guard():
            raise stops


class Spoken(openai_realtime.Answer):
    """An answer of an audible length."""

    def __init__(self, words, **options):
        super().__init__(words, audio=bytes(4_800), **options)


class OpenAICall:
    """What an application sees of one call."""

    def __init__(self):
        call = openai_realtime.FunctionCall("weather", {"city": "London"})

        def answer(turn):
            asked = turn.items[-1]["type"] == "message"
            return Spoken("One moment.", calls=[call]) if asked else Spoken("It is foggy.")

        self.server = openai_realtime.OpenAIRealtimeServer.conversational(answer)
        self.instrumentor = OpenAIRealtimeInstrumentor()

    @functools.cached_property
    def client(self):
        return OpenAI(api_key="sk-none", websocket_base_url=self.server.url)

    def hold(self):
        seen = []
        with self.client.realtime.connect(model="gpt-realtime") as connection:
            connection.session.update(session={"type": "realtime", "output_modalities": ["audio"]})
            connection.input_audio_buffer.append(audio="AAAA" * 200)
            connection.conversation.item.create(
                item={
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "How is the weather?"}],
                }
            )
            connection.response.create()
            answered = 0
            for event in connection:
                seen.append(event.type)
                if event.type == "response.function_call_arguments.done":
                    connection.conversation.item.create(
                        item={"type": "function_call_output", "call_id": event.call_id, "output": "foggy"}
                    )
                if event.type == "response.done":
                    answered += 1
                    if answered == 2:
                        break
                    connection.response.create()
        return seen


class GeminiCall:
    """The same on Gemini Live."""

    def __init__(self):
        answer = gemini_live.Answer(transcript="It is foggy.", audio=bytes(4_800))
        self.server = gemini_live.GeminiLiveServer.conversational(lambda _turn: answer)
        self.instrumentor = GeminiLiveInstrumentor()

    @functools.cached_property
    def client(self):
        return genai.Client(**self.server.client_options())

    def hold(self):
        return asyncio.run(self._hold())

    async def _hold(self):
        config = {"response_modalities": ["AUDIO"], "output_audio_transcription": {}}
        async with self.client.aio.live.connect(model="gemini-live", config=config) as session:
            await session.send_client_content(
                turns={"role": "user", "parts": [{"text": "How is the weather?"}]}, turn_complete=True
            )
            return [sorted(message.model_fields_set) async for message in session.receive()]


def tried_and_noticed(hold):
    """How many functions of ours were broken while `hold` ran, and with which of them it saw a difference."""
    with Watched() as watched:
        expected = hold()
    tried, noticed = 0, []
    for place in watched.entered:
        if place.name in GUARDED_INSIDE.get(place.path, ()):
            continue
        with Watched(place) as breaking:
            try:
                seen = hold()
            except BrokenError:
                seen = "our exception"
        if seen != expected:
            noticed.append(str(place))
        tried += breaking.broke
    return tried, noticed


@pytest.mark.parametrize("provider_of", [OpenAICall, GeminiCall])
@pytest.mark.timeout(900)
def test_whatever_of_ours_breaks_the_application_sees_the_same(provider, provider_of):
    call = provider_of()
    with call.server:
        untraced = call.hold()
        assert untraced
        call.instrumentor.instrument(tracer_provider=provider)
        try:
            assert call.hold() == untraced
            tried, noticed = tried_and_noticed(call.hold)
        finally:
            call.instrumentor.uninstrument()
    assert noticed == []
    assert tried > 80, tried


def test_whatever_of_ours_breaks_what_the_application_calls_does_not_raise(provider, tmp_path):
    file = tmp_path / "recording.ogg"
    file.write_bytes(b"OggS")

    def hold():
        seen = []
        with voicespan.conversation(thread_id="caller-42", tags=["hotline"]) as conversation:
            conversation.set_metadata(campaign={"name": "autumn"})
            conversation.add_tags("evening")
            conversation.recorder.user(bytes(480), 24_000)
            conversation.recorder.agent(bytes(480), 24_000)
            conversation.recorder.cut_agent()
            conversation.recorder.pause()
            conversation.recorder.resume()
            with conversation.tool_call("call_1"), conversation.use():
                seen.append("inside")
            conversation.expect_recording(timeout=0)
            conversation.attach_recording(file, "audio/ogg")
            voicespan.current_conversation()
            seen.append("body")
        return seen

    voicespan.configure(tracer_provider=provider)
    try:
        tried, noticed = tried_and_noticed(hold)
    finally:
        OpenAIRealtimeInstrumentor().uninstrument()
        GeminiLiveInstrumentor().uninstrument()
    assert noticed == []
    assert tried > 80, tried
