"""One conversation over several connections."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode
from sessions import OPENING, TELLS_USAGE, connect, content, say, turn, until_closed
from wire_call import content as content_of
from wire_call import fact, messages

import voicespan
from voicespan import current_conversation
from voicespan.testing.gemini_live import Answer, Close, Dialogue, Drop, Expect, Refuse, Send
from voicespan.tracing import resumption

#: The first versions do not hand out the handles.
pytestmark = pytest.mark.skipif(not TELLS_USAGE, reason="this version knows no resumption")

WINDOW = 30.0


def resuming(server, handle=None):
    return connect(server, session_resumption={"handle": handle} if handle else {})


def offer(handle: str, **beside) -> Send:
    return Send({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}, **beside})


def script(*steps):
    return [*OPENING, *steps]


async def reading(session, handles: list[str]) -> None:
    """Read a turn, and keep the newest handle as an application does."""
    for message in await turn(session):
        update = message.session_resumption_update
        if update is not None and update.resumable:
            handles.append(update.new_handle)


async def handle_of(session) -> str:
    """Read the handle that the server offers as soon as it is set up."""
    return (await session._receive()).session_resumption_update.new_handle


def give_up(fake_clock) -> None:
    fake_clock.advance(WINDOW + 0.001)
    resumption.give_up_due()


async def test_a_lost_session_that_is_resumed_is_one_conversation(
    instrumentor, trace, gemini_live_server, fake_clock
):
    server = gemini_live_server(
        script(
            offer("handle-1"),
            Expect("client_content"),
            Send(
                {
                    **content(turnComplete=True, outputTranscription={"text": "One."}),
                    "usageMetadata": {"totalTokenCount": 5},
                }
            ),
            Drop(),
        ),
        script(
            Expect("client_content"),
            Send(
                {
                    **content(turnComplete=True, outputTranscription={"text": "Two."}),
                    "usageMetadata": {"totalTokenCount": 7},
                }
            ),
        ),
    )
    async with resuming(server) as session:
        handle = await handle_of(session)
        await say(session, "first")
        await turn(session)
        await until_closed(session)
        fake_clock.advance(1)
    assert trace.roots == []
    assert current_conversation() is None
    fake_clock.advance(4)
    async with resuming(server, handle) as session:
        assert current_conversation() is not None
        fake_clock.advance(1)
        await say(session, "second")
        await turn(session)
    root = trace.root
    assert root.status.status_code is StatusCode.UNSET
    assert [message["content"] for message in messages(root)] == ["first", "One.", "second", "Two."]
    assert fact(root, "turn_count") == 2
    assert fact(root, "total_tokens") == 12
    assert fact(root, "connection_count") == 2
    assert fact(root, "resumed") is True
    assert fact(root, "duration_s") == 6
    closed, _ = trace.all("connection_closed")
    opened = {fact(span, "connection"): span for span in trace.all("connection_opened")}
    assert fact(closed, "close_code") == 1006
    assert fact(closed, "abnormal") is True
    assert fact(closed, "duration_s") == 1
    assert fact(opened[1], "gap_ms") is None
    assert fact(opened[2], "gap_ms") == 4000
    assert fact(opened[2], "resumes") is True
    assert len({span.context.trace_id for span in trace.finished}) == 1


async def test_nobody_resumes_it(instrumentor, trace, gemini_live_server, fake_clock):
    server = gemini_live_server(script(offer("handle-1"), Close(1011, "aborted")))
    async with resuming(server) as session:
        await handle_of(session)
        fake_clock.advance(2)
        await until_closed(session)
    fake_clock.advance(WINDOW - 0.001)
    resumption.give_up_due()
    assert trace.roots == []
    give_up(fake_clock)
    assert trace.root.status.status_code is StatusCode.ERROR
    # It ends with the time of its last connection.
    assert trace.root.end_time - trace.root.start_time == 2_000_000_000
    assert fact(trace.root, "duration_s") == 2
    assert fact(trace.root, "status") == "error"
    assert "connection_closed" not in trace.names


async def test_a_window_passes_by_itself(
    instrumentor, trace, gemini_live_server, tracer_provider, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_RESUME_WINDOW", "0.05")
    ended = threading.Event()

    class RootEnds(SpanProcessor):
        def on_end(self, span):
            if span.parent is None:
                ended.set()

    tracer_provider.add_span_processor(RootEnds())
    from voicespan.gemini_live import GeminiLiveInstrumentor

    GeminiLiveInstrumentor().clock = voicespan.runtime.clock.SYSTEM
    server = gemini_live_server(script(offer("handle-1"), Drop()))
    async with resuming(server) as session:
        await handle_of(session)
        await until_closed(session)
    await asyncio.to_thread(ended.wait, 30)
    assert fact(trace.root, "close_code") == 1006


async def test_without_a_window_it_ends_at_once(instrumentor, trace, gemini_live_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_RESUME_WINDOW", "0")
    async with resuming(gemini_live_server(script(offer("handle-1"), Drop()))) as session:
        await handle_of(session)
        await until_closed(session)
    assert trace.root.status.status_code is StatusCode.ERROR


async def test_a_session_that_is_told_to_leave(instrumentor, trace, gemini_live_server, fake_clock):
    server = gemini_live_server(Dialogue([Answer("One."), Answer("Two.")]))
    handles: list[str] = []
    async with resuming(server) as session:
        await say(session, "first")
        await reading(session, handles)
        server.go_away()
        update = await session._receive()
        handles.append(update.session_resumption_update.new_handle)
        assert (await session._receive()).go_away.time_left == "10s"
        # The next one is opened before this one is closed.
        async with resuming(server, handles[-1]) as other:
            await say(other, "second")
            await reading(other, handles)
    assert trace.root.status.status_code is StatusCode.UNSET
    assert [message["content"] for message in messages(trace.root)] == ["first", "One.", "second", "Two."]
    assert len(trace.all("go_away")) == 1
    assert fact(trace.root, "connection_count") == 2
    (second,) = [span for span in trace.all("connection_opened") if fact(span, "connection") == 2]
    assert fact(second, "gap_ms") is None


async def test_after_go_away_a_closed_conversation_waits(instrumentor, trace, gemini_live_server, fake_clock):
    server = gemini_live_server(script(offer("handle-1", goAway={"timeLeft": "1s"})), script())
    async with resuming(server) as session:
        handle = await handle_of(session)
    assert trace.roots == []
    async with resuming(server, handle):
        pass
    assert fact(trace.root, "status") == "completed"
    assert fact(trace.root, "connection_count") == 2


HELLO = Send({"serverContent": {"modelTurn": {"parts": [{"text": "Hello."}]}, "turnComplete": True}})


async def greeted(session) -> None:
    await handle_of(session)
    await turn(session)


@pytest.mark.parametrize(
    ("steps", "read"),
    [
        ((offer("handle-1"), HELLO), greeted),
        ((Drop(),), until_closed),
        ((Send({"goAway": {"timeLeft": "1s"}}), Close(1000)), until_closed),
    ],
)
async def test_without_a_handle_or_a_reason_nothing_waits(
    instrumentor, trace, gemini_live_server, steps, read
):
    async with resuming(gemini_live_server(script(*steps))) as session:
        await read(session)
    assert len(trace.roots) == 1


async def test_an_empty_part_that_is_resumed_at_once_is_no_trace_of_its_own(
    instrumentor, trace, gemini_live_server
):
    server = gemini_live_server(script(offer("handle-1")), script(HELLO))
    async with resuming(server) as session:
        await handle_of(session)
    assert trace.roots == []
    async with resuming(server, "handle-1") as session:
        await turn(session)
    assert fact(trace.root, "connection_count") == 2
    assert fact(trace.root, "status") == "completed"


async def test_an_empty_part_that_nobody_resumes_is_a_conversation(
    instrumentor, trace, gemini_live_server, fake_clock
):
    async with resuming(gemini_live_server(script(offer("handle-1")))) as session:
        await handle_of(session)
    give_up(fake_clock)
    assert fact(trace.root, "status") == "completed"


async def test_a_session_that_is_closed_and_resumed_is_two_parts_of_one_thread(
    instrumentor, trace, gemini_live_server
):
    server = gemini_live_server(script(offer("handle-1"), HELLO), script(HELLO))
    async with resuming(server) as session:
        await greeted(session)
    async with resuming(server, "handle-1") as session:
        await turn(session)
    first, second = trace.roots
    assert fact(first, "thread_id") == fact(second, "thread_id")
    assert [link.context.trace_id for link in second.links] == [first.context.trace_id]


async def test_a_handle_that_is_no_longer_good_is_waited_for_no_more(instrumentor, trace, gemini_live_server):
    gone = Send({"sessionResumptionUpdate": {"resumable": False}})
    async with resuming(gemini_live_server(script(offer("handle-1"), gone, Drop()))) as session:
        await until_closed(session)
    assert len(trace.roots) == 1


async def test_an_older_handle_resumes_as_well(instrumentor, trace, gemini_live_server):
    server = gemini_live_server(script(offer("handle-1"), offer("handle-2"), Drop()), script())
    async with resuming(server) as session:
        await until_closed(session)
    async with resuming(server, "handle-1"):
        pass
    assert fact(trace.root, "connection_count") == 2


async def test_a_handle_of_somebody_else_is_a_conversation_of_its_own(
    instrumentor, trace, gemini_live_server, fake_clock
):
    server = gemini_live_server(script(offer("handle-1"), Drop()), script())
    async with resuming(server) as session:
        await until_closed(session)
    async with resuming(server, "handle-of-another-process"):
        pass
    assert len(trace.roots) == 1
    give_up(fake_clock)
    assert len(trace.roots) == 2


async def test_what_comes_too_late_is_linked(instrumentor, trace, gemini_live_server, fake_clock):
    server = gemini_live_server(script(offer("handle-1"), Drop()), script())
    async with resuming(server) as session:
        await until_closed(session)
    give_up(fake_clock)
    async with resuming(server, "handle-1"):
        pass
    first, second = trace.roots
    (link,) = second.links
    assert link.context.trace_id == first.context.trace_id
    assert link.attributes["voicespan.link"] == "continues"
    assert second.context.trace_id != first.context.trace_id


async def test_a_failed_attempt_leaves_the_time_that_is_left(
    instrumentor, trace, gemini_live_server, fake_clock
):
    server = gemini_live_server(script(offer("handle-1"), Drop()), Refuse(503), script())
    async with resuming(server) as session:
        await until_closed(session)
    fake_clock.advance(10)
    with pytest.raises(Exception, match="503"):
        async with resuming(server, "handle-1"):
            pytest.fail("it was refused")
    assert trace.roots == []
    fake_clock.advance(10)
    async with resuming(server, "handle-1"):
        pass
    assert trace.root.status.status_code is StatusCode.UNSET
    (second,) = [span for span in trace.all("connection_opened") if fact(span, "connection") == 2]
    assert fact(second, "gap_ms") == 20_000


async def test_the_window_does_not_close_on_an_attempt_that_is_under_way(
    instrumentor, trace, gemini_live_server, fake_clock
):
    server = gemini_live_server(script(offer("handle-1"), Drop()), script())
    async with resuming(server) as session:
        await until_closed(session)
    manager = resuming(server, "handle-1")
    entering = asyncio.ensure_future(manager.__aenter__())
    await asyncio.to_thread(server.wait_until, lambda: len(server.connections) == 2)
    give_up(fake_clock)
    assert trace.roots == []
    await entering
    await manager.__aexit__(None, None, None)
    assert fact(trace.root, "connection_count") == 2


async def test_open_calls_stay_open_over_the_gap(instrumentor, trace, gemini_live_server, fake_clock):
    calls = [{"id": "call-1", "name": "book", "args": {"seat": 1}}, {"name": "lookup", "args": {}}]
    server = gemini_live_server(
        script(offer("handle-1"), Send({"toolCall": {"functionCalls": calls}}), Drop()),
        script(Expect("tool_response")),
    )
    async with resuming(server) as session:
        await until_closed(session)
    fake_clock.advance(2)
    async with resuming(server, "handle-1") as session:
        answers = [{"id": "call-1", "name": "book", "response": {"output": "done"}}]
        await session.send_tool_response(function_responses=answers)
        if hasattr(session, "_parse_client_message"):
            answer = {"functionResponses": [{"name": "lookup", "response": {"output": "found"}}]}
            session._voicespan.sent({"tool_response": answer})
    assert content_of(trace.named("function_call: book"), "out") == {"output": "done"}
    assert content_of(trace.named("function_call: lookup"), "out") == {"output": "found"}
    tool = trace.named("function_call: book")
    assert tool.end_time - tool.start_time == 2_000_000_000
    assert tool.status.status_code is StatusCode.UNSET


async def test_ids_of_our_own_making_do_not_meet(instrumentor, trace, gemini_live_server):
    answer = Send(content(turnComplete=True, outputTranscription={"text": "Yes."}))
    server = gemini_live_server(
        script(offer("handle-1"), answer, answer, Drop()), script(answer, answer, Drop())
    )
    async with resuming(server) as session:
        await until_closed(session)
    async with resuming(server, "handle-1") as session:
        await until_closed(session)
    assert [message["content"] for message in messages(trace.root)] == ["Yes."] * 4
    assert len(trace.all("turn_complete")) == 4


# Inside a scope.


async def test_in_a_scope_every_connection_joins_and_is_told(
    instrumentor, trace, gemini_live_server, fake_clock, tracer_provider
):
    voicespan.tracing.tracer.name_provider(tracer_provider)
    server = gemini_live_server()
    with voicespan.conversation(thread_id="caller-42"):
        for word in ("first", "second"):
            async with connect(server) as session:
                await say(session, word)
                await turn(session)
        async with connect(gemini_live_server(script(Close(1011)))) as session:
            await until_closed(session)
    root = trace.root
    assert fact(root, "connection_count") == 3
    assert fact(root, "thread_id") == "caller-42"
    assert root.status.status_code is StatusCode.ERROR
    assert [fact(span, "connection") for span in trace.all("connection_opened")] == [1, 2, 3]
    assert [fact(span, "close_code") for span in trace.all("connection_closed")] == [1000, 1000, 1011]
    assert [message["content"] for message in messages(root) if message["role"] == "user"] == [
        "first",
        "second",
    ]


async def test_one_connection_in_a_scope_is_told_as_well(
    instrumentor, trace, gemini_live_server, tracer_provider
):
    voicespan.tracing.tracer.name_provider(tracer_provider)
    with voicespan.conversation():
        async with connect(gemini_live_server()):
            pass
    assert [name for name in trace.names if name.startswith("connection")] == [
        "connection_opened",
        "connection_closed",
    ]


async def test_both_providers_join_one_scope(
    instrumentor, trace, gemini_live_server, openai_realtime_server, tracer_provider
):
    openai = pytest.importorskip("openai")
    from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

    voicespan.tracing.tracer.name_provider(tracer_provider)
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=tracer_provider)
    try:
        with voicespan.conversation():
            other = openai.AsyncOpenAI(api_key="test", websocket_base_url=openai_realtime_server().url)
            async with connect(gemini_live_server()) as session:
                await say(session, "to Gemini")
                await turn(session)
            async with other.realtime.connect(model="gpt-realtime") as connection:
                await connection.response.create()
                async for event in connection:
                    if event.type == "response.done":
                        break
    finally:
        OpenAIRealtimeInstrumentor().uninstrument()
    assert len({span.context.trace_id for span in trace.finished}) == 1
    turns = sorted(trace.all("turn_complete"), key=lambda span: span.start_time)
    systems = [span.attributes["gen_ai.system"] for span in turns]
    assert systems == ["gcp.gemini", "openai"]
    assert [fact(span, "provider") for span in trace.all("connection_opened")] == ["gcp.gemini", "openai"]


# At the end of the process.


async def test_who_waits_when_tracing_ends_is_over_at_once(
    instrumentor, trace, gemini_live_server, fake_clock
):
    server = gemini_live_server(script(offer("handle-1", goAway={"timeLeft": "1s"})))
    async with resuming(server) as session:
        await handle_of(session)
    fake_clock.advance(5)
    instrumentor.uninstrument()
    assert fact(trace.root, "status") == "completed"
    assert fact(trace.root, "duration_s") == 0


def test_a_process_that_exits_does_not_wait(tmp_path):
    program = """
        import asyncio, sys
        from google import genai
        from opentelemetry.sdk.trace import TracerProvider, export
        from voicespan.gemini_live import GeminiLiveInstrumentor
        from voicespan.testing.gemini_live import Drop, Expect, GeminiLiveServer, Send

        provider = TracerProvider()
        provider.add_span_processor(export.SimpleSpanProcessor(export.ConsoleSpanExporter()))
        GeminiLiveInstrumentor().instrument(tracer_provider=provider)
        offer = {"sessionResumptionUpdate": {"newHandle": "secret", "resumable": True}}

        async def talk(server):
            client = genai.Client(**server.client_options())
            async with client.aio.live.connect(model="m", config={"session_resumption": {}}) as session:
                try:
                    while True:
                        await session._receive()
                except Exception:
                    pass

        with GeminiLiveServer([Expect("setup"), Send({"setupComplete": {}}, offer), Drop()]) as server:
            asyncio.run(talk(server))
    """
    environ = {**os.environ, "VOICESPAN_RESUME_WINDOW": "600"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
    )
    spans = json.loads("[" + done.stdout.replace("\n}\n{", "\n},\n{") + "]")
    (root,) = [span for span in spans if span["name"] == "conversation"]
    assert root["status"]["status_code"] == "ERROR"
    assert root["attributes"]["langsmith.metadata.close_code"] == 1006
    assert "secret" not in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_a_forked_child_forgets_who_waits(instrumentor, trace, gemini_live_server):
    async with resuming(gemini_live_server(script(offer("handle-1"), Drop()))) as session:
        await until_closed(session)
    assert len(resumption._waiting) == 1
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads, which is just what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(len(resumption._waiting) + len(trace.roots))
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(resumption._waiting) == 1
