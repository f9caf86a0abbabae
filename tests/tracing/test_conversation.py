"""The root: how it begins, what it tells, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import threading
import uuid
import weakref
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI, OpenAI
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import StatusCode
from span_content import came, given
from websockets.exceptions import ConnectionClosedError

import voicespan
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol
from voicespan.testing.openai_realtime import Answer, Close, Drop, Expect, OpenAIRealtimeServer, Refuse, Send
from voicespan.tracing import root_span, semconv, tracer
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.registry import open_conversations
from voicespan.tracing.scope import current_conversation
from voicespan.tracing.spans import translator
from voicespan.tracing.spans.translator import SpanTranslator

META = "langsmith.metadata."
CREATED = {"type": "session.created", "event_id": "e", "session": {"id": "sess_1", "model": "gpt-realtime"}}


@pytest.fixture
def instrumented(tracer_provider):
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    yield instrumentor
    instrumentor.uninstrument()


@pytest.fixture
def roots(span_exporter):
    return lambda: [span for span in span_exporter.get_finished_spans() if span.parent is None]


def client(server):
    return OpenAI(api_key="sk-test-key-that-must-not-leak", websocket_base_url=server.url)


def async_client(server):
    return AsyncOpenAI(api_key="sk-test-key-that-must-not-leak", websocket_base_url=server.url)


def facts(span):
    return {key.removeprefix(META): value for key, value in span.attributes.items() if key.startswith(META)}


# What the root tells.


def test_the_root_says_what_the_conversation_was(instrumented, roots):
    with (
        OpenAIRealtimeServer([Send(CREATED)]) as server,
        client(server).realtime.connect(model="gpt-realtime") as c,
    ):
        c.recv()
        c.session.update(session={"type": "realtime"})
        port = urlsplit(server.url).port
    (root,) = roots()
    assert root.name == "conversation"
    assert root.attributes["langsmith.span.kind"] == "chain"
    assert root.attributes["gen_ai.provider.name"] == root.attributes["gen_ai.system"] == "openai"
    assert root.attributes["gen_ai.request.model"] == "gpt-realtime"
    assert root.attributes["server.port"] == port
    assert root.attributes["gen_ai.operation.name"] == "invoke_agent"
    told = facts(root)
    assert told["ls_modality"] == "audio"
    assert told["ls_integration"] == "voicespan"
    assert told["ls_integration_version"] == voicespan.__version__
    assert told["realtime_session_id"] == "sess_1"
    assert told["event_count"] == 2
    assert told["close_code"] == 1000
    assert told["status"] == "completed"
    assert uuid.UUID(told["thread_id"]).version == 7
    assert root.attributes["gen_ai.conversation.id"] == told["thread_id"]
    assert root.status.status_code is StatusCode.UNSET


def test_modality_is_on_the_root_alone_and_the_thread_on_every_span(instrumented, span_exporter):
    with OpenAIRealtimeServer([Send(CREATED)]) as server, client(server).realtime.connect(model="m") as c:
        c.recv()
    child, root = span_exporter.get_finished_spans()
    assert META + "ls_modality" not in child.attributes
    assert facts(child)["thread_id"] == facts(root)["thread_id"]
    assert child.parent.span_id == root.context.span_id


def test_what_the_application_adds(tracer_provider, span_exporter, caplog):
    given = {f"key_{number}": number for number in range(60)}
    scope = Conversation(
        tracer_provider=tracer_provider, thread_id="caller-42", tags=["a,b"], metadata={"x": {"y": 1}}
    )
    scope.add_tags("c", "c")
    scope.set_metadata(**given)
    scope.set_metadata(x="again")
    scope.end()
    (root,) = span_exporter.get_finished_spans()
    told = facts(root)
    assert root.attributes["gen_ai.conversation.id"] == told["thread_id"] == "caller-42"
    assert root.attributes["langsmith.span.tags"] == "a b,c"
    assert told["x"] == "again"
    assert [f"key_{number}" in told for number in (0, 38, 39, 59)] == [True, True, False, False]
    assert "40 metadata keys" in caplog.text


def test_metadata_that_would_win_over_the_thread_is_warned_of_once(tracer_provider, caplog, monkeypatch):
    monkeypatch.setattr(root_span, "_warned_rivals", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            Conversation(tracer_provider=tracer_provider, metadata={"session_id": "s"}).end()
    assert caplog.text.count("session_id") == 1


def test_run_and_trace_ids_are_those_of_the_root(tracer_provider, span_exporter):
    conversation = Conversation(tracer_provider=tracer_provider)
    conversation.end()
    (root,) = span_exporter.get_finished_spans()
    assert conversation.trace_id == f"{root.context.trace_id:032x}"
    assert conversation.run_id == "00000000-0000-0000-0000-000000000001"
    assert root.context.span_id == 1


def test_a_long_transcript_loses_from_its_middle_and_says_so(tracer_provider, span_exporter):
    from voicespan.protocol import events

    conversation = Conversation(tracer_provider=tracer_provider)
    for number in range(700):
        words = f"{number} " + "x" * 10_000
        conversation.lifecycle.ingest(
            [events.TranscriptCompleted(number, "t", "user", f"u{number}", number, words)]
        )
    conversation.end()
    root = span_exporter.get_finished_spans()[-1]
    text = root.attributes[semconv.INPUT_MESSAGES] + root.attributes[semconv.OUTPUT_MESSAGES]
    assert 2_000_000 < len(text) < 4_000_000
    kept = [m["content"] for side in (given(root), came(root)) for m in side["messages"]]
    assert kept[0].startswith("0 ")
    assert kept[-1].startswith("699 ")
    (mark,) = [text for text in kept if "left out" in text]
    assert facts(root)["transcript_omitted"] == int(mark.split()[0].strip("["))


# Where it begins.


def test_it_is_a_real_root_with_a_link_to_where_it_was_opened(instrumented, tracer_provider, roots):
    tracer = tracer_provider.get_tracer("app")
    with OpenAIRealtimeServer([Send(CREATED)]) as server, tracer.start_as_current_span("request") as request:
        token = otel_context.attach(baggage.set_baggage("tenant", "t1"))
        with client(server).realtime.connect(model="m") as c:
            c.recv()
            assert baggage.get_baggage("tenant") == "t1"
        assert trace.get_current_span() is request
        otel_context.detach(token)
    root = next(span for span in roots() if span.name == "conversation")
    (link,) = root.links
    assert link.context.span_id == request.get_span_context().span_id
    assert root.context.trace_id != request.get_span_context().trace_id


def test_it_nests_where_that_is_asked_for(instrumented, tracer_provider, span_exporter, monkeypatch):
    monkeypatch.setenv("VOICESPAN_PARENT", "child")
    tracer = tracer_provider.get_tracer("app")
    with (
        OpenAIRealtimeServer([Send(CREATED)]) as server,
        tracer.start_as_current_span("request") as request,
        client(server).realtime.connect(model="m") as c,
    ):
        c.recv()
    conversation = next(span for span in span_exporter.get_finished_spans() if span.name == "conversation")
    assert conversation.parent.span_id == request.get_span_context().span_id
    assert not conversation.links


def test_a_later_part_is_linked_to_the_earlier(tracer_provider, span_exporter):
    earlier = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    Conversation(tracer_provider=tracer_provider, continues=earlier).end()
    (root,) = span_exporter.get_finished_spans()
    (link,) = root.links
    assert f"{link.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"


def test_what_is_no_traceparent_is_said_and_not_linked(tracer_provider, span_exporter, caplog):
    Conversation(tracer_provider=tracer_provider, continues="nonsense").end()
    assert not span_exporter.get_finished_spans()[0].links
    assert "traceparent" in caplog.text


def test_connections_in_one_scope_are_one_trace(instrumented, tracer_provider, roots):
    with OpenAIRealtimeServer([Send(CREATED)]) as server, voicespan.conversation(thread_id="t") as scope:
        for _ in range(2):
            with client(server).realtime.connect(model="m") as c:
                c.recv()
        assert current_conversation() is scope
        assert not roots()
    (root,) = roots()
    assert facts(root)["connection_count"] == 2


async def test_an_async_scope(instrumented, roots):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        async with voicespan.conversation() as scope, async_client(server).realtime.connect(model="m") as c:
            await c.recv()
            assert current_conversation() is scope
    assert len(roots()) == 1
    assert current_conversation() is None


# How it ends.


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("broken"), "error"),
        (KeyboardInterrupt(), "cancelled"),
        (SystemExit(0), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_what_leaves_the_block_decides_the_status(instrumented, roots, error, status):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        with pytest.raises(type(error)), client(server).realtime.connect(model="m") as c:
            c.recv()
            raise error
    (root,) = roots()
    assert facts(root)["status"] == status
    assert (root.status.status_code is StatusCode.ERROR) == (status == "error")
    if status == "error":
        assert root.attributes["error.type"] == "ValueError"
        assert root.events[-1].attributes["exception.message"] == "broken"


@pytest.mark.parametrize("step", [Close(1011, "internal error"), Drop()])
def test_an_abnormal_close_is_an_error(instrumented, roots, step):
    with OpenAIRealtimeServer([Send(CREATED), step]) as server:
        with pytest.raises(ConnectionClosedError), client(server).realtime.connect(model="m") as c:
            for _ in range(2):
                c.recv()
    (root,) = roots()
    assert root.status.status_code is StatusCode.ERROR
    assert facts(root)["close_code"] == (1011 if isinstance(step, Close) else 1006)


def test_an_abnormal_close_that_nobody_read_is_an_error_too(instrumented, roots):
    with OpenAIRealtimeServer([Send(CREATED), Close(1011, "internal error")]) as server:
        with client(server).realtime.connect(model="m") as c:
            c.recv()
            server.connections[0].wait_closed()
            c._connection.recv_events_thread.join(5)
    (root,) = roots()
    assert facts(root)["close_code"] == 1011
    assert root.status.status_code is StatusCode.ERROR


def test_a_normal_close_by_the_server_is_no_error(instrumented, roots):
    with OpenAIRealtimeServer([Send(CREATED), Close(1000, "bye")]) as server:
        with client(server).realtime.connect(model="m") as c:
            assert [event.type for event in c] == ["session.created"]
    (root,) = roots()
    assert root.status.status_code is StatusCode.UNSET
    assert facts(root)["close_code"] == 1000
    assert facts(root)["close_reason"] == "bye"


def test_a_failed_handshake_is_a_trace_with_only_a_root(instrumented, span_exporter):
    with OpenAIRealtimeServer(Refuse(401)) as server, pytest.raises(Exception, match="401"):
        client(server).realtime.connect(model="m").enter()
    (root,) = span_exporter.get_finished_spans()
    assert root.status.status_code is StatusCode.ERROR
    assert root.attributes["gen_ai.request.model"] == "m"
    assert "sk-test" not in str(root.to_json())


def test_retries_in_one_scope_are_one_trace_and_success_heals(instrumented, roots):
    with OpenAIRealtimeServer(Refuse(500), [Send(CREATED)]) as server, voicespan.conversation():
        with pytest.raises(Exception, match="500"):
            client(server).realtime.connect(model="m").enter()
        with client(server).realtime.connect(model="m") as c:
            c.recv()
    (root,) = roots()
    assert root.status.status_code is StatusCode.UNSET


async def test_a_cancelled_handshake_is_no_error(instrumented, roots):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        opening = asyncio.ensure_future(async_client(server).realtime.connect(model="m").enter())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    (root,) = roots()
    assert facts(root)["status"] == "cancelled"


def test_enter_without_a_block_ends_when_it_is_closed(instrumented, roots):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        connection = client(server).realtime.connect(model="m").enter()
        connection.recv()
        assert not roots()
        connection.close()
    assert len(roots()) == 1


def test_enter_without_a_block_ends_when_the_server_closes(instrumented, roots):
    with OpenAIRealtimeServer([Send(CREATED), Close(1000)]) as server:
        connection = client(server).realtime.connect(model="m").enter()
        assert [event.type for event in connection] == ["session.created"]
        assert len(roots()) == 1
        connection.close()
    assert len(roots()) == 1


def test_a_connection_that_is_dropped_ends_its_conversation(instrumented, tracer_provider):
    ended = threading.Event()

    class Ended:
        def on_start(self, span, parent_context=None): ...
        def _on_ending(self, span): ...
        def shutdown(self): ...
        def force_flush(self, timeout_millis=0): ...
        def on_end(self, span):
            if span.name == "conversation":
                ended.set()

    tracer_provider.add_span_processor(Ended())
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        connection = client(server).realtime.connect(model="m").enter()
        connection.recv()
        socket = connection._connection
        del connection
        gc.collect()
        assert ended.wait(5)
        socket.close()


@pytest.fixture
def _nothing_is_collected():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_nothing_is_collected")
@pytest.mark.parametrize("scoped", [False, True])
def test_what_is_over_is_freed_without_a_garbage_collection(instrumented, scoped):
    """However long the application keeps the connection, which refers to itself."""

    def call():
        with voicespan.conversation() if scoped else contextlib.nullcontext(), connecting as connection:
            connection.recv()
            connection.session.update(session={"type": "realtime"})
            return connection, weakref.ref(current_conversation())

    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        connecting = client(server).realtime.connect(model="m")
        connection, conversation = call()
    assert connection is not None
    assert conversation() is None


@pytest.mark.usefixtures("_nothing_is_collected")
def test_one_that_is_over_before_its_connection_is_freed_as_well(tracer_provider):
    conversation = Conversation(tracer_provider=tracer_provider, scoped=True)
    connection = conversation.connect(Protocol(), {}, kind=RealtimeConnection)
    connection.received(json.dumps(CREATED).encode())
    conversation.end()
    freed = weakref.ref(conversation)
    del conversation, connection
    assert freed() is None


@pytest.mark.usefixtures("_nothing_is_collected")
@pytest.mark.parametrize("traced", [False, True])
def test_what_was_started_in_a_conversation_does_not_keep_it(tracer_provider, traced):
    """Every task and timer has a copy of the context, and the SDKs' own refer to themselves."""
    if traced:
        tracer.name_provider(tracer_provider)
    with voicespan.conversation() as conversation, conversation.use():
        started_in_it = contextvars.copy_context()
    assert conversation.recording is traced
    freed = weakref.ref(conversation)
    del conversation
    assert started_in_it.run(current_conversation) is None
    assert freed() is None


def test_uninstrument_ends_what_is_open_as_untraced(instrumented, tracer_provider, roots):
    with OpenAIRealtimeServer([Send(CREATED)]) as server, client(server).realtime.connect(model="m") as c:
        c.recv()
        instrumented.uninstrument()
        (root,) = roots()
        assert facts(root)["status"] == "untraced"
        c.session.update(session={"type": "realtime"})
    assert len(roots()) == 1
    assert not open_conversations()


def test_connections_open_before_instrumenting_are_left_alone(tracer_provider, span_exporter):
    with OpenAIRealtimeServer([Send(CREATED)]) as server, client(server).realtime.connect(model="m") as c:
        OpenAIRealtimeInstrumentor().instrument(tracer_provider=tracer_provider)
        c.recv()
        c.session.update(session={"type": "realtime"})
    OpenAIRealtimeInstrumentor().uninstrument()
    assert not span_exporter.get_finished_spans()


# Sampling and content.


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF), TraceIdRatioBased(0)])
def test_not_sampled_is_not_touched(span_exporter, sampler):
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=provider)
    try:
        with OpenAIRealtimeServer([Send(CREATED)]) as server, voicespan.conversation() as scope:
            before = trace.get_current_span()
            with client(server).realtime.connect(model="m") as c:
                c.recv()
                assert not hasattr(c, "_voicespan")
                assert trace.get_current_span() is before
            with scope.tool_call("c1"), scope.use():
                scope.set_metadata(a=1)
            assert scope.root_facts() == {}
    finally:
        OpenAIRealtimeInstrumentor().uninstrument()
    assert not open_conversations()


def test_a_callers_decision_not_to_sample_holds_only_for_children(span_exporter):
    """The conversation is a new trace, so an unsampled request does not decide for it."""
    provider = TracerProvider(shutdown_on_exit=False)
    unsampled = trace.NonRecordingSpan(
        trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(0))
    )
    with trace.use_span(unsampled):
        conversation = Conversation(tracer_provider=provider)
    assert conversation.recording
    conversation.end()


def test_without_content_no_word_leaves(instrumented, span_exporter, monkeypatch):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    monkeypatch.setenv("VOICESPAN_RAW_EVENTS", "1")
    answers = [Answer("zanzibar answers", calls=()), Answer(text="zanzibar once more")]
    with OpenAIRealtimeServer.conversational(answers, ["zanzibar asks"]) as server:
        with client(server).realtime.connect(model="m") as c:
            c.session.update(
                session={"type": "realtime", "instructions": "say zanzibar", "output_modalities": ["text"]}
            )
            c.conversation.item.create(
                item={
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "zanzibar?"}],
                }
            )
            c.response.create()
            for event in c:
                if event.type == "response.done":
                    break
    told = "".join(span.to_json() for span in span_exporter.get_finished_spans())
    assert "zanzibar" not in told
    turn = next(span for span in span_exporter.get_finished_spans() if span.name == "turn_complete")
    assert [m["role"] for m in given(turn)["messages"]] == ["user"]
    assert turn.attributes["gen_ai.usage.total_tokens"] > 0


# Many.


def test_a_hundred_conversations_at_once_do_not_mix(instrumented, span_exporter):
    async def one(server, number):
        # On a busy machine the last of a hundred handshakes waits longer than the default allows.
        patient = {"open_timeout": 60}
        connecting = async_client(server).realtime.connect(
            model=f"model-{number}", websocket_connection_options=patient
        )
        async with connecting as c:
            item = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": f"words {number}"}],
            }
            await c.conversation.item.create(item=item)
            await c.response.create()
            async for event in c:
                if event.type == "response.done":
                    return

    async def everyone(server):
        await asyncio.gather(*(one(server, number) for number in range(100)))

    def echo(turn):
        return Answer(text="heard " + turn.items[-1]["content"][0]["text"])

    with OpenAIRealtimeServer.conversational(echo) as server:
        asyncio.run(everyone(server))
    spans = span_exporter.get_finished_spans()
    roots = {span.context.trace_id: span for span in spans if span.parent is None}
    assert len(roots) == 100
    for span in spans:
        root = roots[span.context.trace_id]
        number = root.attributes["gen_ai.request.model"].removeprefix("model-")
        if span.name == "turn_complete":
            assert f"words {number}" in str(given(span))
            assert f"heard words {number}" in str(came(span))
    assert {len([s for s in spans if s.context.trace_id == trace_id]) for trace_id in roots} == {
        len([s for s in spans if s.context.trace_id == spans[0].context.trace_id])
    }
    assert not open_conversations()


def test_an_expectation_of_the_server_is_met(instrumented, roots):
    """Frames queued on the manager before it opens are on the wire and in the trace once."""
    with OpenAIRealtimeServer([Expect("session.update"), Send(CREATED)]) as server:
        manager = client(server).realtime.connect(model="m")
        manager.send({"type": "session.update", "session": {"type": "realtime"}})
        with manager as c:
            c.recv()
    (root,) = roots()
    assert facts(root)["event_count"] == 2


def test_a_conversation_that_is_being_opened_can_be_asked_for_its_facts(tracer_provider, monkeypatch, caplog):
    """The spool's thread does, as soon as the root has started."""
    asked = []

    class Watched(SpanTranslator):
        def __init__(self, *args):
            opening = args[-1].conversation
            asked.append((opening.root_facts(), opening.open_calls()))
            super().__init__(*args)

    monkeypatch.setattr(translator, "SpanTranslator", Watched)
    conversation = Conversation(tracer_provider=tracer_provider)
    assert META + "status" in conversation.root_facts()
    conversation.end()
    assert asked == [({}, {})]
    assert not caplog.records
