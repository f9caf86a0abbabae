"""What is kept of what was said: every switch, proved by a search of all output for words that were said.

The words are of one kind each, and stand in every place of a conversation where words of that kind can. What a
switch hides must be nowhere; what it does not hide must still be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import wave

import pytest
from evidence import Evidence
from google import genai
from google.genai import types
from openai import OpenAI
from span_content import came, given

import voicespan
from voicespan.content import masking
from voicespan.content.policy import Content
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.protocol import events
from voicespan.runtime import settings
from voicespan.runtime.settings import TEXT_KINDS, Level, Settings
from voicespan.testing import GeminiLiveServer, LangSmithServer, OpenAIRealtimeServer
from voicespan.testing.openai_realtime import Close, Expect, Send

KINDS = sorted(TEXT_KINDS)
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Words:
    """A new word of a kind for each place: `words("user_text", "typed")`."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}

    def __call__(self, kind: str, place: str) -> str:
        word = f"zz{kind.replace('_', '')}{place}zz"
        self.of.setdefault(kind, []).append(word)
        return word

    def but(self, *kinds: str) -> list[str]:
        return [word for kind, words in self.of.items() if kind not in kinds for word in words]


def sentence(word):
    return f"This is {word}, and more."


def openai_frames(say):
    """Every frame of a server that holds words, with one in each place."""
    ids = {"response_id": "r1", "item_id": "a1", "output_index": 0, "content_index": 0}
    tool = {
        "type": "function",
        "name": "look_up",
        "description": sentence(say("program", "description")),
        "parameters": {
            "type": "object",
            "properties": {"size": {"type": "string", "enum": [say("program", "enum")]}},
        },
    }
    variables = {
        "name": say("instructions", "variable"),
        "more": {"type": "input_text", "text": say("instructions", "input")},
    }
    session = {
        "id": "sess_1",
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": sentence(say("instructions", "session")),
        "prompt": {"id": "pmpt_1", "version": "1", "variables": variables},
        "tools": [tool],
        "audio": {
            "input": {
                "transcription": {"model": "whisper-1", "prompt": sentence(say("instructions", "hint"))}
            }
        },
    }
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "look_up"}
    call["arguments"] = json.dumps(
        {"city": say("function_arguments", "call"), say("function_arguments", "key"): 1}
    )
    mcp_call = {
        "id": "m1",
        "type": "mcp_call",
        "name": "search",
        "server_label": "docs",
        "arguments": json.dumps({"q": say("function_arguments", "mcp")}),
        "output": sentence(say("function_results", "mcp")),
    }
    listed = {
        "id": "m2",
        "type": "mcp_list_tools",
        "tools": [{"name": "search", "description": say("program", "listed")}],
    }
    answer = {
        "id": "a1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_audio", "transcript": sentence(say("agent_text", "output"))}],
    }
    system = {"id": "s1", "type": "message", "role": "system"}
    system["content"] = [{"type": "input_text", "text": sentence(say("instructions", "message"))}]
    typed = {"id": "t1", "type": "message", "role": "user"}
    typed["content"] = [{"type": "input_text", "text": sentence(say("user_text", "shown"))}]
    heard = "conversation.item.input_audio_transcription"
    pieces = [{"token": "zzpiecezz", "logprob": -0.5, "bytes": list(b"zzpiecezz")}]
    arguments = json.dumps({"city": say("function_arguments", "done")})
    return [
        {"type": "session.updated", "session": session},
        {"type": "conversation.item.added", "item": system},
        {"type": "conversation.item.added", "item": typed},
        {"type": "input_audio_buffer.dtmf_event_received", "event": say("user_text", "keypad"), "received_at": 1},
        {"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0},
        {"type": "input_audio_buffer.committed", "item_id": "u1", "previous_item_id": None},
        {"type": f"{heard}.segment", "item_id": "u1", "text": sentence(say("user_text", "segment")), "speaker": "A"},
        {"type": f"{heard}.completed", "item_id": "u1", "content_index": 0, "transcript": sentence(say("user_text", "spoken")), "logprobs": pieces},
        {"type": f"{heard}.failed", "item_id": "u2", "content_index": 0, "error": {"message": sentence(say("unknown", "failed"))}},
        {"type": "response.created", "response": {"id": "r1", "status": "in_progress", "output": []}},
        {"type": "response.output_item.done", "response_id": "r1", "item": call},
        {"type": "response.function_call_arguments.done", **ids, "item_id": "f2", "call_id": "c2", "name": "look_up", "arguments": arguments},
        {"type": "response.output_item.done", "response_id": "r1", "item": mcp_call},
        {"type": "conversation.item.done", "item": listed},
        {"type": "response.content_part.done", **ids, "part": {"type": "audio", "transcript": sentence(say("agent_text", "part"))}},
        {"type": "response.output_text.done", **ids, "item_id": "a2", "text": sentence(say("agent_text", "written"))},
        {"type": "response.output_audio_transcript.done", **ids, "transcript": sentence(say("agent_text", "spoken"))},
        {"type": "conversation.item.done", "item": answer},
        {
            "type": "response.done",
            "response": {
                "id": "r1",
                "status": "failed",
                "status_details": {"error": {"type": "e", "message": sentence(say("unknown", "details"))}},
                "metadata": {"topic": say("program", "metadata")},
                "output": [answer, call, mcp_call],
                "usage": {"total_tokens": 12, "input_tokens": 5, "output_tokens": 7},
            },
        },
        {"type": "error", "error": {"type": "e", "code": "bad", "message": sentence(say("unknown", "error"))}},
        {"type": "a.future.event", "something": sentence(say("unknown", "event")), "list": [say("unknown", "list")]},
    ]  # fmt: skip


def talk_to_openai(say, *, record=True):
    frames = [{"event_id": f"event_{n}", **frame} for n, frame in enumerate(openai_frames(say))]
    script = [
        Expect("session.update"),
        Send(*frames),
        Expect("response.create"),
        Close(4002, sentence(say("unknown", "closereason"))[:100]),
    ]
    with OpenAIRealtimeServer(script) as server:
        client = OpenAI(api_key="sk-of-somebody-or-other", websocket_base_url=server.url)
        with (
            contextlib.suppress(KeyError),
            voicespan.conversation(
                metadata={"note": sentence(say("metadata", "note"))}, tags=[say("metadata", "tag")]
            ) as conversation,
            client.realtime.connect(model="gpt-realtime") as c,
        ):
            if record:
                conversation.recorder.user(b"\x10\x20" * 4800, 24_000)
                conversation.attach_recording(sound(), "audio/wav")
            c.session.update(
                session={"type": "realtime", "instructions": sentence(say("instructions", "update"))}
            )
            for _ in frames:
                c.recv()
            result = json.dumps({"temperature": say("function_results", "output")})
            c.conversation.item.create(
                item={"type": "function_call_output", "call_id": "c1", "output": result}
            )
            for role, kind, part in (
                ("user", "user_text", "input_text"),
                ("assistant", "agent_text", "output_text"),
            ):
                content = [{"type": part, "text": sentence(say(kind, "created"))}]
                c.conversation.item.create(item={"type": "message", "role": role, "content": content})
            approval = {
                "type": "mcp_approval_response",
                "approval_request_id": "m9",
                "approve": False,
                "reason": say("user_text", "approval"),
            }
            c.conversation.item.create(item=approval)
            c.response.create(response={"instructions": sentence(say("instructions", "response"))})
            with contextlib.suppress(Exception):
                c.recv()
            raise KeyError(sentence(say("unknown", "exception")))


GEMINI_CLOSE = 1008


def gemini_frames(say):
    args = {
        "city": say("function_arguments", "call"),
        "type": say("function_arguments", "type"),
        say("function_arguments", "key"): 1,
    }
    code = {"code": f"print({say('function_arguments', 'code')!r})", "language": "PYTHON"}
    outcome = {"output": sentence(say("function_results", "code")), "outcome": "OUTCOME_OK"}
    queries = {"webSearchQueries": [sentence(say("agent_text", "query"))]}
    return [
        {"serverContent": {"inputTranscription": {"text": sentence(say("user_text", "spoken")), "finished": True}}},
        {"serverContent": {"modelTurn": {"parts": [{"text": sentence(say("agent_text", "thought")), "thought": True}]}}},
        {"serverContent": {"modelTurn": {"parts": [{"text": sentence(say("agent_text", "written"))}]}}},
        {"serverContent": {"modelTurn": {"parts": [{"executableCode": code}, {"codeExecutionResult": outcome}]}}},
        {"serverContent": {"outputTranscription": {"text": sentence(say("agent_text", "spoken"))}}},
        {"serverContent": {"groundingMetadata": queries}},
        {"toolCall": {"functionCalls": [{"id": "c1", "name": "look_up", "args": args}]}},
        {"serverContent": {"turnComplete": True}, "usageMetadata": {"totalTokenCount": 12}},
    ]  # fmt: skip


def talk_to_gemini(say, *, record=True):
    script = [
        Expect("setup"),
        Send({"setupComplete": {"sessionId": "session-1"}}, *gemini_frames(say)),
        Expect("realtime_input"),
        Close(GEMINI_CLOSE, sentence(say("unknown", "closereason"))[:100]),
    ]
    declared = {
        "name": "look_up",
        "description": sentence(say("program", "description")),
        "parameters": {
            "type": "OBJECT",
            "properties": {"size": {"type": "STRING", "enum": [say("program", "enum")]}},
        },
    }
    config = {
        "response_modalities": ["AUDIO"],
        "system_instruction": sentence(say("instructions", "system")),
        "tools": [{"function_declarations": [declared]}],
    }

    async def talk(server):
        client = genai.Client(**server.client_options())
        async with client.aio.live.connect(model="gemini-live", config=config) as session:
            if record:
                voicespan.current_conversation().recorder.user(b"\x10\x20" * 4800, 24_000)
                voicespan.current_conversation().attach_recording(sound(), "audio/wav")
            async for _ in session.receive():
                pass
            response = {"temperature": say("function_results", "response"), say("function_results", "key"): 1}
            await session.send_tool_response(
                function_responses=types.FunctionResponse(id="c1", name="look_up", response=response)
            )
            for role, kind in (("user", "user_text"), ("model", "agent_text")):
                text = sentence(say(kind, "content"))
                await session.send_client_content(turns={"role": role, "parts": [{"text": text}]})
            await session.send_realtime_input(text=sentence(say("user_text", "typed")))
            async for _ in session.receive():
                pass

    with (
        GeminiLiveServer(script) as server,
        contextlib.suppress(Exception),
        voicespan.conversation(metadata={"note": say("metadata", "note")}, tags=[say("metadata", "tag")]),
    ):
        asyncio.run(talk(server))


def sound():
    """A recording as a client could make it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8_000)
        out.writeframes(b"\x01\x02" * 800)
    return file.getvalue()


@pytest.fixture(params=[talk_to_openai, talk_to_gemini], ids=["openai", "gemini"])
def talk(request):
    return request.param


@pytest.fixture
def say():
    return Words()


@pytest.fixture(autouse=True)
def _settings(monkeypatch, tmp_path):
    for name in (CAPTURE, "VOICESPAN_HIDE", "VOICESPAN_ENDPOINT", "LANGSMITH_API_KEY", "LANGSMITH_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "none.json"))
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    monkeypatch.setenv("VOICESPAN_RAW_EVENTS", "1")
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "10")
    monkeypatch.setattr(settings, "_warned", set())
    yield
    settings.set_redaction(None)
    masking._known.clear()


@pytest.fixture
def evidence(tmp_path):
    with LangSmithServer() as server, Evidence(server, tmp_path / "spool") as evidence:
        OpenAIRealtimeInstrumentor().instrument(tracer_provider=evidence.provider)
        GeminiLiveInstrumentor().instrument(tracer_provider=evidence.provider)
        # Nothing is sent before the spool was looked at.
        server.down()
        yield evidence
        OpenAIRealtimeInstrumentor().uninstrument()
        GeminiLiveInstrumentor().uninstrument()


def have(evidence, conversation, *arguments):
    # The global provider is not ours: `voicespan.conversation` takes the one that is named.
    from voicespan.tracing import tracer

    before = tracer.named_provider()
    tracer.name_provider(evidence.provider)
    try:
        conversation(*arguments)
    finally:
        tracer.name_provider(before)
    assert not evidence.processor.force_flush(500)
    evidence.look_into_spool()
    evidence.server.up()
    evidence.deliver()


def recordings(evidence):
    sent = [run.attachments for run in evidence.server.runs if run.attachments]
    files = [name for name in evidence.spooled if name.split()[0].endswith((".flac", ".ogg", ".wav"))]
    return sent, files


# The switches.


def test_by_default_everything_is_kept(evidence, say, talk):
    have(evidence, talk, say)
    evidence.assert_with(*say.but())
    assert all(recordings(evidence))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_hidden_is_nowhere_and_the_others_are_still_there(
    evidence, say, talk, kind, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_HIDE", f" {kind.upper()} ,")
    have(evidence, talk, say)
    evidence.assert_without(*say.of[kind], *say.of["unknown"])
    evidence.assert_with(*say.but(kind, "unknown"))
    assert all(recordings(evidence))


def test_several_kinds_are_hidden_at_once(evidence, say, talk, monkeypatch):
    monkeypatch.setenv("VOICESPAN_HIDE", "user_text,agent_text,audio")
    have(evidence, talk, say)
    evidence.assert_without(*say.of["user_text"], *say.of["agent_text"])
    evidence.assert_with(*say.but("user_text", "agent_text", "unknown"))
    assert recordings(evidence) == ([], [])


def test_audio_that_is_hidden_is_neither_recorded_nor_attached(evidence, say, talk, monkeypatch):
    monkeypatch.setenv("VOICESPAN_HIDE", "audio")
    have(evidence, talk, say)
    evidence.assert_with(*say.but())
    assert recordings(evidence) == ([], [])
    (root,) = [span for span in evidence.spans if span.parent is None]
    assert "langsmith.metadata.recording" not in root.attributes


NOTHING = [
    *((CAPTURE, value) for value in ("NO_CONTENT", "no_content", "false", "0", "EVENT_ONLY")),
    *(("VOICESPAN_HIDE", value) for value in ("all", " All ", "true")),
    # What nobody understands was meant to hide something.
    *((CAPTURE, value) for value in ("none please", "SPAN")),
    *(("VOICESPAN_HIDE", value) for value in ("user-text", "agent_text,everything")),
]


@pytest.mark.parametrize("setting", NOTHING[:1] + NOTHING[5:6] + NOTHING[-1:], ids="=".join)
def test_without_content_no_word_is_anywhere(evidence, say, talk, setting, monkeypatch):
    monkeypatch.setenv(*setting)
    have(evidence, talk, say)
    evidence.assert_without(*say.but("metadata"))
    # What the application calls a conversation by is not what was said in it.
    evidence.assert_with(*say.of["metadata"])
    assert recordings(evidence) == ([], [])
    # The shape is there.
    names = {span.name for span in evidence.spans}
    assert {"input_transcription", "output_transcription", "function_call: look_up", "turn_complete"} <= names
    turn = next(span for span in evidence.spans if span.name == "turn_complete")
    assert turn.attributes["gen_ai.usage.total_tokens"] == 12
    assert {m["role"] for m in given(turn)["messages"]} >= {"user"}


@pytest.mark.parametrize(("variable", "value"), NOTHING)
def test_values_that_keep_nothing(variable, value):
    told = Settings.from_environment({variable: value})
    assert not told.capture_content
    assert not told.keeps_audio


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(
            (CAPTURE, value)
            for value in ("", "true", "True", "1", "yes", "on", "SPAN_ONLY", "span_and_event", " true ")
        ),
        *(("VOICESPAN_HIDE", value) for value in ("", " ", "none", "false", "0", "off", ",")),
    ],
)
def test_values_that_keep_everything(variable, value, caplog):
    told = Settings.from_environment({variable: value})
    assert (told.capture_content, told.keeps_audio, told.hide) == (True, True, frozenset())
    assert not caplog.records


def test_a_value_that_is_not_understood_is_named_once_and_not_repeated(caplog):
    environ = {"VOICESPAN_HIDE": "my secret words", CAPTURE: "other words"}
    for _ in range(3):
        assert not Settings.from_environment(environ).capture_content
    assert sorted(record.getMessage().split()[0] for record in caplog.records) == [CAPTURE, "VOICESPAN_HIDE"]
    assert "words" not in caplog.text


def test_what_is_hidden_can_be_read_from_the_settings():
    told = Settings.from_environment({"VOICESPAN_HIDE": "Instructions, user_text,AUDIO"})
    assert told.hide == {"instructions", "user_text", "audio"}
    assert Settings.from_environment({"VOICESPAN_HIDE": "all"}).hide == {*TEXT_KINDS, "audio"}


def test_a_hidden_recording_is_said_once(evidence, monkeypatch, caplog):
    import importlib

    monkeypatch.setattr(
        importlib.import_module("voicespan.tracing.conversation"), "_warned_of_hidden_audio", False
    )
    monkeypatch.setenv("VOICESPAN_HIDE", "audio")
    with caplog.at_level(logging.WARNING, "voicespan"):
        for _ in range(2):
            with voicespan.conversation() as conversation:
                conversation.attach_recording(sound(), "audio/wav")
                conversation.expect_recording(60)
    assert [record.getMessage() for record in caplog.records] == [
        "voicespan attaches no recording: audio is not to be kept"
    ]


def test_langsmiths_own_switches_hold_for_all_that_is_sent_and_all_that_waits(
    say, talk, monkeypatch, request
):
    for what in ("INPUTS", "OUTPUTS", "METADATA"):
        monkeypatch.setenv(f"LANGSMITH_HIDE_{what}", "true")
    evidence = request.getfixturevalue("evidence")  # reads them
    have(evidence, talk, say)
    words = [
        word for word in say.but("unknown") if word != say.of["metadata"][1]
    ]  # a tag, which no switch names
    found = evidence.where(*words)
    # Other exporters are not concerned.
    assert set(found) == set(words)
    assert {where.split()[0] for places in found.values() for where in places} <= {"span", "spans"}
    assert not evidence.server.roots[0].attachments


# The hook.


def test_every_text_passes_the_hook(evidence, say, talk):
    seen = []

    def redact(text, *, role, place):
        seen.append((text, role, place))
        return "".join("x" if letter.isalpha() else letter for letter in text)

    settings.set_redaction(redact)
    have(evidence, talk, say)
    evidence.assert_without(*say.but())
    roles = {
        "user_text": {"user"},
        "agent_text": {"assistant"},
        "function_arguments": {"assistant"},
        "function_results": {"tool"},
        "instructions": {"system"},
        "program": {"system"},
        "metadata": {"system"},
    }
    for kind, expected in roles.items():
        for word in say.of[kind]:
            assert {role for text, role, _ in seen if word in text} == expected, word
    assert {place for _, _, place in seen} == {
        "transcript",
        "arguments",
        "result",
        "event",
        "error",
        "metadata",
    }


class Told:
    """A conversation's spans, for a hook that is told of a few moments."""

    def __init__(self, provider, exporter, **settings) -> None:
        from voicespan.tracing.conversation import Conversation

        self.exporter = exporter
        self.conversation = Conversation(tracer_provider=provider, settings=Settings(**settings))

    def says(self, text, role="user"):
        with self.conversation.lifecycle.lock:
            self.conversation.lifecycle.ingest(
                [events.TranscriptCompleted(1, "t", role, f"item_{len(text)}", 1, text)]
            )
        return self

    @property
    def stored(self):
        self.conversation.end()
        spans = [span for span in self.exporter.get_finished_spans() if span.parent is not None]
        return [given(span)["messages"][0]["content"] for span in spans]


@pytest.fixture
def told(tracer_provider, span_exporter):
    return lambda redact, **more: Told(tracer_provider, span_exporter, redact=redact, **more)


@pytest.mark.parametrize(
    ("returned", "stored"),
    [
        ("other words", "other words"),
        ("", ""),
        (None, "[withheld]"),
        (7, "[withheld]"),
        (b"bytes", "[withheld]"),
    ],
)
def test_what_the_hook_returns_is_what_is_stored(told, returned, stored):
    assert told(lambda text, *, role, place: returned).says("Hello").stored == [stored]


def test_what_the_hook_could_not_redact_is_withheld_and_the_next_text_is_asked_for_again(told, caplog):
    def redact(text, *, role, place):
        if "bad" in text:
            raise ValueError(text)
        return text

    assert told(redact).says("bad words").says("good words").stored == ["[withheld]", "good words"]
    assert "bad words" not in caplog.text


def test_the_hook_sees_no_secret(told):
    seen = []

    def redact(text, *, role, place):
        seen.append(text)
        return text

    told(redact).says("My key is sk-proj-abcdefgh12345678").stored  # noqa: B018  ends it
    assert seen == ["My key is [secret]"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_hook_reaches_the_thread_it_runs_in_and_the_text_is_not_stored(told, interrupt):
    def redact(text, *, role, place):
        if text == "first":
            raise interrupt
        return text

    call = told(redact)
    with pytest.raises(interrupt):
        call.says("first").conversation.flush()
    assert call.says("second").stored == ["second"]


def test_a_hook_that_tells_the_conversation_something_neither_hangs_nor_is_asked_about_it(told):
    asked = []

    def redact(text, *, role, place):
        asked.append(place)
        call.conversation.set_metadata(found="a name", texts=len(asked))
        call.conversation.add_tags("redacted")
        return "[name]"

    call = told(redact)
    call.says("Alice")
    assert call.stored == ["[name]"]
    assert set(asked) == {"transcript"}
    (root,) = [span for span in call.exporter.get_finished_spans() if span.parent is None]
    assert root.attributes["langsmith.metadata.found"] == "a name"
    assert root.attributes["langsmith.span.tags"] == "redacted"


def test_an_error_is_asked_for_once(told):
    asked = []

    def redact(text, *, role, place):
        asked.append((text, role, place))
        return f"{len(asked)}"

    call = told(redact)
    call.conversation.lifecycle.ingest([events.ErrorReported(1, "error", events.WireError("e", "it failed"))])
    call.conversation.end()
    (span,) = [span for span in call.exporter.get_finished_spans() if span.parent is not None]
    assert asked == [("it failed", "system", "error")]
    assert came(span)["message"] == span.status.description == "1"


def test_an_error_stays_small_even_if_the_hook_makes_more_of_it(told):
    call = told(lambda text, *, role, place: text * 100_000)
    call.conversation.lifecycle.ingest([events.ErrorReported(1, "error", events.WireError("e", "it failed"))])
    call.conversation.end()
    (span,) = [span for span in call.exporter.get_finished_spans() if span.parent is not None]
    (event,) = span.events
    assert event.attributes["exception.message"] == span.status.description
    assert len(span.status.description) == 4_000


def test_a_hook_that_could_return_no_text_is_refused():
    async def redact(text, *, role, place):
        return text

    class Redaction:
        async def __call__(self, text, *, role, place):
            return text

    for wrong in (redact, Redaction(), "words"):
        with pytest.raises(TypeError, match="plain function"):
            settings.set_redaction(wrong)


# Frames.


def frame(told, hide=(), role="assistant", **more):
    return Content(Settings(events=Level.ALL, hide=frozenset(hide), **more)).frame(told, role=role)


def test_what_is_hidden_leaves_the_same_shape_as_no_content():
    told = {"type": "response.output_text.done", "item_id": "i1", "text": "words", "n": 3}
    hidden = {"type": "response.output_text.done", "item_id": "i1", "text": "", "n": 3}
    assert frame(told, ["agent_text"]) == frame(told, capture_content=False) == hidden
    assert frame(told, ["user_text"]) == told


@pytest.mark.parametrize("key", ["reason", "status", "name", "voice", "language"])
def test_a_name_with_spaces_is_somebodys_words(key):
    assert frame({key: "one two"}, ["user_text"]) == {key: ""}
    assert frame({key: "我要取消"}, ["user_text"]) == {key: ""}
    assert frame({key: "one_two"}, ["user_text"]) == {key: "one_two"}


def test_a_key_with_spaces_is_somebodys_words():
    told = {"type": "a.b", "my name is Alice": 1, "name_of_a_field": 2, "nested": {"Zoë": 3}}
    assert frame(told, ["user_text"]) == {"type": "a.b", "": 1, "name_of_a_field": 2, "nested": {"": 3}}
    assert frame(told) == told
    seen = []
    frame(told, redact=lambda text, **_: seen.append(text) or text)
    assert {"my name is Alice", "Zoë"} <= set(seen)


def test_what_is_hidden_has_no_numbers_either_where_they_are_content():
    told = {
        "type": "response.done",
        "response": {"id": "r1", "metadata": {"account": 4711, "n": [1.5], "ok": True}},
    }
    metadata = frame(told, capture_content=False)["response"]["metadata"]
    assert "4711" not in str(metadata)
    assert "1.5" not in str(metadata)
    key = {"type": "input_audio_buffer.dtmf_event_received", "event": 5, "received_at": 17}
    assert frame(key, ["user_text"]) == {**key, "event": None}
    assert frame(key) == key


def test_of_the_pieces_of_words_only_their_certainty_is_kept():
    piece = {"token": "Al", "logprob": -0.5, "bytes": [65, 108]}
    assert frame({"transcript": "Alice", "logprobs": [piece, {}]}) == {
        "transcript": "Alice",
        "logprobs": [-0.5, None],
    }


def test_a_picture_is_no_text():
    asked = []
    told = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64," + "A" * 400}]}  # fmt: skip
    (part,) = frame(told, redact=lambda text, **_: asked.append(text) or text)["content"]
    assert part == {"type": "input_image", "image_url": "[image/png, 316 bytes]"}
    assert not asked


def test_the_parameters_of_a_tool_are_no_secrets_whatever_their_names():
    parameters = {
        "type": "object",
        "properties": {"token": {"type": "string"}, "headers": {"type": "object"}},
    }
    assert (
        frame({"tools": [{"type": "function", "name": "f", "parameters": parameters}]})["tools"][0][
            "parameters"
        ]
        == parameters
    )
