"""What tracers of voice are known to tell wrongly, or not at all: the real SDK, and frames that provoke it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from opentelemetry.trace import StatusCode
from span_content import came
from websockets.exceptions import ConnectionClosedError
from wire import (
    CREATED,
    USAGE,
    begun,
    connect,
    connect_async,
    done,
    fact,
    frame,
    said,
    seconds,
    spoken,
    transcribed,
    words,
)

from voicespan.testing.openai_realtime import Close, Drop, Expect, OpenAIRealtimeServer, Send

pytestmark = pytest.mark.usefixtures("instrumented")

LIMITS = frame("rate_limits.updated", rate_limits=[])


HANGS_UP = (Close(),)


def play(*frames, ends=HANGS_UP):
    """A server that sends these and ends the call."""
    return OpenAIRealtimeServer([Send(CREATED, *frames), *ends])


def listen(server):
    """Hold a call to its end; every event, as the application got it."""
    with server, connect(server) as connection:
        return list(connection)


# Every way of reading, and answers that nobody asked for.


def by_recv(connection, count):
    for _ in range(count):
        connection.recv()


def by_recv_bytes(connection, count):
    for _ in range(count):
        connection.parse_event(connection.recv_bytes())


def by_iteration(connection, _count):
    assert list(connection)


def by_dispatch(connection, _count):
    connection.on("response.done", lambda _: None)
    connection.dispatch_events()


TURN = [
    *spoken("u1"),
    *begun("r1", "a1"),
    transcribed("u1", "Hello"),
    said("r1", "a1", "Good morning!"),
    done("r1", usage=USAGE),
]


@pytest.mark.parametrize("read", [by_recv, by_recv_bytes, by_iteration, by_dispatch])
def test_a_turn_that_turn_detection_began_is_told_however_it_is_read(told, read):
    with play(*TURN) as server, connect(server) as connection:
        read(connection, len(TURN) + 1)
    turn = told.named("turn_complete")
    assert words(turn) == ["Hello", "Good morning!"]
    assert turn.attributes["gen_ai.usage.total_tokens"] == 12
    assert fact(told.root, "turn_count") == 1


async def test_and_in_reads_that_have_a_time_limit(told):
    with play(*TURN) as server:
        async with connect_async(server) as connection:
            for _ in range(len(TURN) + 1):
                await asyncio.wait_for(connection.recv(), 5)
    assert words(told.named("turn_complete")) == ["Hello", "Good morning!"]


# One tree.


def test_all_of_a_call_is_one_tree_within_its_root(told, tracer_provider, fake_clock):
    """Also what ends only because the call was cut off: the answer, a function call, the error itself."""
    ids = {"response_id": "r1", "item_id": "f1", "call_id": "c1", "name": "look"}
    frames = [*spoken("u1"), *begun("r1", "a1")]
    call = frame("response.function_call_arguments.done", **ids, arguments="{}")
    with play(*frames, call, ends=[Drop()]) as server:
        with pytest.raises(ConnectionClosedError), connect(server) as connection:
            for _ in range(len(frames) + 2):
                connection.recv()
                fake_clock.advance(0.1)
            with tracer_provider.get_tracer("application").start_as_current_span("lookup"):
                connection.recv()
    ids = {span.context.span_id for span in told.spans}
    root = told.root
    assert {span.context.trace_id for span in told.spans} == {root.context.trace_id}
    assert [span.name for span in told.spans if span.parent is None] == ["conversation"]
    assert {span.parent.span_id for span in told.spans if span.parent is not None} < ids
    # The application's own span is on the machine's clock, not on the test's.
    ours = [span for span in told.spans if span.name != "lookup"]
    assert min(span.start_time for span in ours) == root.start_time
    assert max(span.end_time for span in ours) == root.end_time
    assert told.named("function_call: look").attributes["error.type"] == "never_answered"
    assert fact(root, "close_code") == 1006
    assert root.status.status_code is StatusCode.ERROR


# How long things took, and how they ended.


def test_an_event_is_a_point_and_does_not_last_until_the_next(told, fake_clock):
    with play(LIMITS, LIMITS) as server, connect(server) as connection:
        for _ in range(3):
            connection.recv()
            fake_clock.advance(5)
    events = [span for span in told.spans if span is not told.root]
    assert [seconds(span) for span in events] == [0, 0, 0]
    assert [(span.start_time - told.root.start_time) / 1e9 for span in events] == [0, 5, 10]


def test_a_microphone_that_stays_open_makes_no_answer_seem_quick(told, fake_clock):
    """The time to the first audio is not that from the last chunk that was sent."""
    until_all_came = [Expect("input_audio_buffer.append", 40), Close()]
    server = play(*spoken("u1"), *begun("r1", "a1"), done("r1"), ends=until_all_came)
    with server, connect(server) as connection:
        for event in connection:
            if event.type == "input_audio_buffer.committed":
                for _ in range(40):
                    connection.input_audio_buffer.append(audio="AAAA")
                    fake_clock.advance(0.02)
    assert fact(told.named("turn_complete"), "latency_to_first_audio_ms") == 800.0


def test_an_error_while_the_model_answers_ends_neither_the_answer_nor_its_usage(told):
    error = frame("error", error={"type": "invalid_request_error", "message": "no such item"})
    listen(play(*begun("r1", "a1"), error, said("r1", "a1", "Good morning!"), done("r1", usage=USAGE)))
    assert told.named("error").status.status_code is StatusCode.ERROR
    turn = told.named("turn_complete")
    assert turn.status.status_code is StatusCode.UNSET
    assert turn.attributes["gen_ai.usage.total_tokens"] == 12
    assert words(turn) == ["Good morning!"]


def test_who_cancels_keeps_the_usage_of_what_was_generated(told):
    reason = {"type": "cancelled", "reason": "client_cancelled"}
    steps = [
        Send(CREATED, *begun("r1", "a1")),
        Expect("response.cancel"),
        Send(done("r1", "cancelled", status_details=reason, usage=USAGE)),
    ]
    with OpenAIRealtimeServer(steps) as server, connect(server) as connection:
        for _ in range(len(begun("r1", "a1")) + 1):
            connection.recv()
        connection.response.cancel()
        connection.recv()
    turn = told.named("turn_complete")
    assert (fact(turn, "status"), fact(turn, "reason")) == ("cancelled", "client_cancelled")
    assert turn.attributes["gen_ai.usage.output_tokens"] == 7
    assert fact(told.root, "output_tokens") == 7
    assert fact(told.root, "interruption_count") == 0


@pytest.mark.parametrize(
    ("status", "reason", "told_as"),
    [
        ("completed", None, "completed"),
        ("cancelled", "turn_detected", "turn_detected"),
        ("incomplete", "max_output_tokens", "max_output_tokens"),
        ("failed", None, "failed"),
    ],
)
def test_how_an_answer_ended_is_told_as_it_was(told, status, reason, told_as):
    details = None if reason is None else {"type": status, "reason": reason}
    listen(play(*begun("r1", "a1"), done("r1", status, status_details=details)))
    turn = told.named("turn_complete")
    assert turn.attributes["gen_ai.response.finish_reasons"] == (told_as,)
    assert (turn.status.status_code is StatusCode.ERROR) == (status == "failed")


def test_a_fragment_that_comes_after_the_end_changes_nothing(told):
    *_, words_late, sound_late = begun("r1", "a1")
    events = listen(play(*begun("r1", "a1"), done("r1", usage=USAGE), words_late, sound_late, LIMITS))
    assert [event.type for event in events[-3:]] == [words_late["type"], sound_late["type"], LIMITS["type"]]
    assert told.names.count("turn_complete") == 1
    assert fact(told.named("turn_complete"), "generated_ms") == 100
    assert sorted(told.names) == ["conversation", "rate_limits.updated", "session.created", "turn_complete"]


def test_a_silence_that_timed_out_is_not_the_end(told):
    timeout = frame(
        "input_audio_buffer.timeout_triggered", item_id="u1", audio_start_ms=0, audio_end_ms=5_000
    )
    listen(play(timeout, *begun("r1", "a1"), done("r1", usage=USAGE), LIMITS))
    after = told.names[told.names.index("input_audio_buffer.timeout_triggered") :]
    assert sorted(after[1:]) == ["conversation", "rate_limits.updated", "turn_complete"]
    assert fact(told.root, "connection_count") == 1


# Transcripts.


def test_a_typed_message_is_waited_for_by_nobody(told):
    """Transcription is on, and of what was typed there will never be a transcript."""
    typed = {
        "id": "m1",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    }
    with play(frame("conversation.item.added", item=typed), *begun("r1", "a1"), done("r1")) as server:
        with connect(server) as connection:
            for _ in range(len(begun("r1", "a1")) + 3):
                connection.recv()
        assert words(told.named("turn_complete"))[0] == "Hi"


def test_a_transcription_that_fails_holds_up_no_later_turn(told):
    failed = frame(
        "conversation.item.input_audio_transcription.failed",
        item_id="u1",
        content_index=0,
        error={"type": "transcription_error", "code": "audio_unintelligible", "message": "noise"},
    )
    first = [*spoken("u1"), *begun("r1", "a1"), done("r1"), failed]
    second = [*spoken("u2"), transcribed("u2", "Hello"), *begun("r2", "a2"), done("r2")]
    with play(*first, *second) as server, connect(server) as connection:
        for _ in range(len(first) + len(second) + 1):
            connection.recv()
        # The second answer may still be playing, and so be cut off.
        assert told.names.count("turn_complete") == 1
    assert told.names.count("turn_complete") == 2
    assert words(told.root)[0] == "Hello"


def test_a_long_text_is_kept_whole(told):
    story = " ".join(f"word{n}" for n in range(2_000))
    listen(
        play(
            *spoken("u1"),
            transcribed("u1", f"Tell me of {story}"),
            *begun("r1", "a1"),
            said("r1", "a1", story),
            done("r1"),
        )
    )
    assert words(told.root) == [f"Tell me of {story}", story]
    assert words(told.named("input_transcription")) == [f"Tell me of {story}"]
    assert words(told.named("output_transcription")) == [story]


def test_no_name_is_taken_from_what_is_said(told):
    question = "My name is Ada Lovelace"
    listen(
        play(
            *spoken("u1"),
            transcribed("u1", question),
            *begun("r1", "a1"),
            said("r1", "a1", f"Hello! {question}?"),
            done("r1"),
        )
    )
    assert question in words(told.root)
    assert [name for name in told.names if "Ada" in name] == []


# Usage.


@pytest.mark.parametrize(
    ("usage", "facts"),
    [
        ({"type": "duration", "seconds": 3.5}, {"usage_seconds": 3.5}),
        (
            {"type": "tokens", "input_tokens": 30, "output_tokens": 4, "total_tokens": 34},
            {"usage_input_tokens": 30, "usage_output_tokens": 4, "usage_total_tokens": 34},
        ),
    ],
)
def test_what_the_transcription_cost_is_told(told, usage, facts):
    listen(play(*spoken("u1"), transcribed("u1", "Hello", usage=usage)))
    span = told.named("input_transcription")
    assert {name: fact(span, name) for name in facts} == facts
    # Another model's tokens are not the conversation's.
    assert fact(told.root, "total_tokens") is None


def test_usage_is_told_with_nothing_but_a_call_and_not_missed_where_there_is_none(told):
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    listen(
        play(
            frame("response.created", response={"id": "r1"}),
            done("r1", output=[call], usage=USAGE),
            *begun("r2", "a2"),
            done("r2", "cancelled", status_details={"type": "cancelled", "reason": "turn_detected"}),
            *begun("r3", "a3"),
            done("r3", usage=USAGE),
        )
    )
    turns = [span for span in told.spans if span.name == "turn_complete"]
    assert [span.attributes.get("gen_ai.usage.total_tokens") for span in turns] == [12, None, 12]
    assert came(turns[0])["messages"][0]["tool_calls"][0]["id"] == "c1"
    assert fact(told.root, "total_tokens") == 24


# The end of the call in the middle of everything.


@pytest.mark.parametrize("end", [Close(), Drop()], ids=["close", "drop"])
def test_an_answer_in_which_the_call_ends_is_told_as_far_as_it_came(told, fake_clock, end):
    asked = frame(
        "conversation.item.input_audio_transcription.delta", item_id="u2", content_index=0, delta="Wait"
    )
    frames = [*spoken("u1"), transcribed("u1", "Hello"), *begun("r1", "a1"), *spoken("u2"), asked]
    with play(*frames, ends=[end]) as server, contextlib.suppress(ConnectionClosedError):
        with connect(server) as connection:
            for _ in range(len(frames) + 1):
                fake_clock.advance(0.1)
                connection.recv()
            fake_clock.advance(1)
            assert list(connection) == []
            # What the application does afterwards is no part of the answer.
            fake_clock.advance(5)
    turn = told.named("turn_complete")
    assert fact(turn, "status") == "incomplete"
    assert words(turn) == ["Hello", "Good morning"]
    assert fact(turn, "generated_ms") == 100
    assert seconds(turn) == pytest.approx(0.1 * len([*begun("r1", "a1")[1:], *spoken("u2"), asked]) + 1)
    assert words(told.named("output_transcription")) == ["Good morning"]
    assert words(told.root) == ["Hello", "Good morning", "Wait"]


def test_an_answer_that_a_reconnect_cut_off_ends_with_its_socket(told, fake_clock):
    frames = begun("r1", "a1")
    scripts = [Send(CREATED, *frames), Drop()], [Send(CREATED, *begun("r2", "a2"), done("r2")), Close()]
    with OpenAIRealtimeServer(*scripts) as server:
        manager = connect(server, on_reconnecting=lambda _: fake_clock.advance(3), initial_delay=0.001)
        with manager as connection:
            assert len(list(connection)) == len(frames) * 2 + 3
    first, second = (span for span in told.spans if span.name == "turn_complete")
    assert (fact(first, "status"), fact(second, "status")) == ("incomplete", "completed")
    assert seconds(first) == 0
    assert fact(told.root, "reconnect_count") == 1
