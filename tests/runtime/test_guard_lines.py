"""The functions that have the guard inside (`test_guard.GUARDED_INSIDE`), line by line.

Each line that runs in one of them raises once. Where the application notices that, the line is outside of the guard: then
it may do nothing that can fail, and stands in `OUTSIDE`. What such a line calls of ours is broken in `test_guard`.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import linecache
import sys

import pytest
from openai import AsyncOpenAI
from test_guard import GUARDED_INSIDE, PACKAGE, BrokenError, GeminiCall, OpenAICall, module_of

import voicespan
from voicespan.runtime import guard

#: What stands outside of the guard: it names things, calls the SDK's own function, calls what is guarded, or opens a guard.
OUTSIDE = {
    # The SDKs.
    "state = before(self, args, named)",
    "if state is None:",
    "return original(self, *args, **named)",
    "return await original(self, *args, **named)",
    "result = original(self, *args, **named)",
    "result = await original(self, *args, **named)",
    "returned(self, state, result)",
    "then(self, args, named, result)",
    "frame = original(self)",
    "frame = await original(self)",
    "received = self._voicespan.received",
    "received(frame)",
    "return frame",
    "manager = original(*args, **kwargs)",
    "if type(manager) is contextlib._AsyncGeneratorContextManager:  # noqa: SLF001",
    "manager.__class__ = managers",
    "return manager",
    "opened = begin(self.args[0] if self.args else None, self.kwds)",
    "if opened is None:",
    "del self.args, self.kwds, self.func",
    "session = await self.gen.__anext__()",
    "_opened(self, session, opened)",
    "return session",
    "result = await original(self, *args, **kwargs)",
    'caller = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001  nothing else tells',
    "result = await original(self, message, *args, **named)",
    'if not caller.startswith("google.genai"):',
    "return result",
    "connection = getattr(self, TRACED, None)",
    "if connection is not None:",
    "_sent(connection, frame, kwargs)",
    "message = await original(self)",
    "received(message)",
    "return message",
    "if self._connection is None:",
    "_before_close(self._session, self._connection)",
    "return await super().__aexit__(kind, error, traceback)",
    "_closed(self, self._session, self._connection, error)",
    # What the application calls.
    "return ToolBlock(self, call_id)",
    "self._sink = sink",
    "self._call_id = call_id",
    "self._output: str | None = None",
    "self._token: Token[Context] | None = None",
    "return self",
    "return ConversationScope(",
    "name=name, thread_id=thread_id, metadata=metadata, tags=tags, record=record, continues=continues",
    "self._arguments = arguments",
    "self._conversation: Conversation | None = None",
    "self._outer: ConversationContext | None = None",
    "opened = _NO_CONVERSATION",
    "self._conversation = opened",
    "self._outer = SCOPE.get()",
    "SCOPE.set(opened.context)",
    "return opened",
    "if self._conversation is not None:",
    "if SCOPE.get() is self._conversation.context:",
    "SCOPE.set(self._outer)",
    "_end(self._conversation, error)",
    'return self._recorder or cast("Recorder", _NoRecorder())',
    "if not self.recording:",
    "before = SCOPE.get()",
    "if self.lifecycle.scoped:",
    "SCOPE.set(self.context)",
    "with self.context.attached():",
    "yield self",
    "token = None",
    "yield",
    "if token is not None:",
    "_reset(token)",
    "if SCOPE.get() is self.context:",
    "SCOPE.set(before)",
    # The guard itself.
    "try:",
    "with guard():",
    "with guard(), self.lifecycle.lock:",
}


class Lines:
    """Sees the lines that run in those functions on this thread; raises in `broken`."""

    def __init__(self, broken=None):
        self.run = {}
        self._broken = broken

    def _call(self, frame, _event, _arg):
        module = module_of(frame.f_code.co_filename)
        inside = module is not None and frame.f_code.co_name in GUARDED_INSIDE.get(module, ())
        return self._line if inside else None

    def _line(self, frame, event, _arg):
        if event == "line":
            place = (module_of(frame.f_code.co_filename), frame.f_lineno)
            self.run[place] = None
            if place == self._broken:
                raise BrokenError(place)
        return self._line

    def __enter__(self):
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(None)


def source(place):
    return linecache.getline(str(PACKAGE / place[0]), place[1]).strip()


def noticed_lines(hold, *parts, outside=OUTSIDE):
    """How many lines ran while `hold` did that are not `outside`, and those of them where the application sees it.

    `parts`: of what, all without.
    """
    with Lines() as lines:
        expected = hold()
    ran = [place for place in lines.run if not parts or place[0].startswith(parts)]
    tried = [place for place in ran if source(place) not in outside]
    noticed = set()
    for place in tried:
        with Lines(place):
            try:
                seen = hold()
            except BrokenError:
                seen = "our exception"
        if seen != expected:
            noticed.add(source(place))
    return len(tried), noticed


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch, tmp_path):
    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_pt_none")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "0")


SAID = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How is the weather?"}]}


class ShortCall(OpenAICall):
    def hold(self):
        seen = []
        with self.client.realtime.connect(model="gpt-realtime") as connection:
            connection.conversation.item.create(item=SAID)
            connection.response.create()
            for event in connection:
                seen.append(event.type)
                if event.type == "response.done":
                    break
        return seen


class ShortAsyncCall(OpenAICall):
    @functools.cached_property
    def client(self):
        return AsyncOpenAI(api_key="sk-none", websocket_base_url=self.server.url)

    def hold(self):
        return asyncio.run(self._hold())

    async def _hold(self):
        seen = []
        async with self.client.realtime.connect(model="gpt-realtime") as connection:
            await connection.conversation.item.create(item=SAID)
            await connection.response.create()
            async for event in connection:
                seen.append(event.type)
                if event.type == "response.done":
                    break
        return seen


# Where the exception reaches the application, its connection is not closed.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [ShortCall, ShortAsyncCall, GeminiCall])
def test_of_the_patched_methods_nothing_stands_outside_of_the_guard_that_can_fail(tracer_provider, kind):
    call = kind()
    with call.server:
        call.instrumentor.instrument(tracer_provider=tracer_provider)
        try:
            call.hold()
            parts = ("instrumentation/", "openai_realtime/", "gemini_live/", "tracing/connection.py")
            tried, noticed = noticed_lines(call.hold, *parts)
            gc.collect()
        finally:
            call.instrumentor.uninstrument()
    assert noticed == set()
    assert tried >= 1


def test_of_what_the_application_calls_nothing_stands_outside_of_the_guard_that_can_fail(
    tracer_provider, tmp_path
):
    file = tmp_path / "recording.ogg"
    file.write_bytes(b"OggS")

    def hold():
        seen = []
        with voicespan.conversation(thread_id="caller-42", tags=["hotline"]) as conversation:
            conversation.set_metadata(campaign={"name": "autumn"})
            conversation.add_tags("evening")
            conversation.recorder.user(bytes(480), 24_000)
            conversation.recorder.agent(bytes(480), 24_000)
            with conversation.tool_call("call_1"), conversation.use():
                seen.append("inside")
            conversation.expect_recording(timeout=0)
            conversation.attach_recording(file, "audio/ogg")
            voicespan.current_conversation()
            seen.append("body")
        return seen

    voicespan.tracing.tracer.name_provider(tracer_provider)
    try:
        tried, noticed = noticed_lines(hold)
        _, all_noticed = noticed_lines(hold, outside=())
    finally:
        voicespan.tracing.tracer.name_provider(None)
    assert noticed == set()
    assert tried > 20
    # What stands outside is noticed indeed.
    assert {"SCOPE.set(opened.context)", "return opened"} <= all_noticed <= OUTSIDE


def test_a_recorder_whose_modules_cannot_be_loaded_does_nothing(tracer_provider, monkeypatch):
    """No descriptor was left for them: the application had the exception."""
    monkeypatch.setitem(sys.modules, "voicespan.tracing.conversation_recording", None)
    monkeypatch.delattr(voicespan.tracing, "conversation_recording", raising=False)
    voicespan.tracing.tracer.name_provider(tracer_provider)
    try:
        with voicespan.conversation() as conversation:
            conversation.recorder.user(bytes(480), 24_000)
            conversation.recorder.cut_agent()
            monkeypatch.undo()
            monkeypatch.setattr(guard, "reraise", False)
            # And no failure is for ever.
            assert type(conversation.recorder) is voicespan.Recorder
    finally:
        voicespan.tracing.tracer.name_provider(None)
