"""Scripts: frames played in order, expectations of the client, ends of all kinds, recordings."""

from __future__ import annotations

import json

import pytest
from openai_realtime_client import MODEL, client, next_frame, read, say, silence, types, user_says
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from voicespan.testing.openai_realtime import (
    Close,
    Drop,
    Expect,
    Hold,
    OpenAIRealtimeServer,
    Script,
    Send,
)


def frame(kind: str, **fields) -> dict:
    return {"type": kind, "event_id": "event_1", **fields}


def connect(server: OpenAIRealtimeServer):
    return client(server).realtime.connect(model=MODEL)


def test_frames_go_out_as_they_are():
    raw = ['{"type": "a",  "spaced": 1}', b'{"type":"b"}', "not JSON", {"type": "c", "text": "Köln"}]
    server = OpenAIRealtimeServer([Send(*raw), Close()])
    with server, connect(server) as connection:
        got = [connection.recv_bytes() for _ in raw]
    assert got == [
        b'{"type": "a",  "spaced": 1}',
        b'{"type":"b"}',
        b"not JSON",
        '{"type":"c","text":"Köln"}'.encode(),
    ]


def test_a_frame_can_be_binary():
    server = OpenAIRealtimeServer([Send(b"\xff\x00", binary=True), Close()])
    with server, connect(server) as connection:
        assert connection.recv_bytes() == b"\xff\x00"


def test_steps_wait_for_the_client():
    steps = [
        Send(frame("session.created")),
        Expect("input_audio_buffer.append", count=3),
        Send(frame("input_audio_buffer.committed")),
    ]
    server = OpenAIRealtimeServer(steps)
    with server, connect(server) as connection:
        assert next_frame(connection)["type"] == "session.created"
        say(connection, silence(200))
        # Of another name: passed over.
        connection.response.cancel()
        say(connection, silence(100))
        assert next_frame(connection)["type"] == "input_audio_buffer.committed"


def test_a_client_may_be_ahead_of_the_script():
    server = OpenAIRealtimeServer([Expect("response.create"), Hold(), Expect("response.cancel"), Close()])
    with server, connect(server) as connection:
        connection.response.create()
        connection.response.cancel()
        server.release()
        with pytest.raises(ConnectionClosedOK):
            connection.recv()


def test_expectations_look_into_frames():
    steps = [
        Expect("conversation.item.create", where={"item": {"role": "user"}}),
        Send(frame("first")),
        Expect("conversation.item.create", where=lambda created: "Bonn" in str(created)),
        Send(frame("second")),
    ]
    server = OpenAIRealtimeServer(steps)
    with server, connect(server) as connection:
        connection.conversation.item.create(item=user_says("To Köln") | {"role": "system"})
        connection.conversation.item.create(item=user_says("To Köln"))
        assert next_frame(connection)["type"] == "first"
        connection.conversation.item.create(item=user_says("To Berlin"))
        connection.conversation.item.create(item=user_says("To Bonn"))
        assert next_frame(connection)["type"] == "second"


def test_a_frame_alone_is_no_step():
    with pytest.raises(TypeError, match=r"'session.created'.* is no step of a script; .* Send\(frame\)"):
        OpenAIRealtimeServer([frame("session.created")])


def fail(*steps, timeout: float = 5.0) -> str:
    """What the server says of a client that cancels once, then closes or is closed."""
    server = OpenAIRealtimeServer(steps, timeout=timeout)

    def run():
        with server, connect(server) as connection:
            connection.response.cancel()
            if timeout < 1.0:
                with pytest.raises(ConnectionClosedError):
                    connection.recv()

    with pytest.raises(AssertionError) as caught:
        run()
    return str(caught.value)


def test_what_was_expected_in_vain_is_told_with_what_came():
    assert fail(Expect("response.cancel", count=2), timeout=0.05) == (
        "the script on /v1/realtime expected response.cancel 2 times, it came 1 times and 0.05 s passed; "
        "the client sent: response.cancel"
    )


def test_a_client_that_leaves_too_early_is_told_of_at_once():
    message = fail(Send(frame("session.created")), Expect("response.create"))
    assert "it came 0 times and the connection was closed; the client sent: response.cancel" in message


@pytest.mark.parametrize("where", [{"response_id": "resp_1"}, lambda cancel: "response_id" in cancel])
def test_a_frame_that_is_not_the_one_meant_does_not_count(where):
    assert "it came 0 times" in fail(Expect("response.cancel", where=where))


def test_a_client_that_left_while_it_was_held_is_not_released():
    server = OpenAIRealtimeServer([Hold()], [Hold(), Send(frame("session.created"))])
    with server:
        with connect(server):
            pass
        server.connections[0].wait_closed()
        with connect(server) as connection:
            server.release()
            assert next_frame(connection)["type"] == "session.created"


def test_frames_that_nobody_waits_for_may_stay_unread():
    server = OpenAIRealtimeServer(
        [Send(*[frame("response.output_audio.delta", delta="A" * 10_000)] * 3), Hold()]
    )
    with server, connect(server):
        pass
    assert not server.failures
    assert server.connections[0].closed == (1000, "")


@pytest.mark.parametrize("stay_open", [True, False])
def test_a_script_that_is_over_stays_or_leaves(stay_open):
    server = OpenAIRealtimeServer(Script([Send(frame("session.created"))], stay_open=stay_open))
    with server, connect(server) as connection:
        next_frame(connection)
        if stay_open:
            connection.response.create()
            assert server.connections[0].wait_for("response.create")
        else:
            with pytest.raises(ConnectionClosedOK) as caught:
                connection.recv()
            assert caught.value.rcvd.code == 1000


def test_a_drop_delivers_what_was_sent_and_no_close():
    frames = [frame("response.output_audio.delta", delta="A" * 100_000, number=n) for n in range(20)]
    server = OpenAIRealtimeServer([Send(*frames), Drop()])
    with server, connect(server) as connection:
        assert [next_frame(connection)["number"] for _ in frames] == list(range(20))
        with pytest.raises(ConnectionClosedError) as caught:
            connection.recv()
    assert caught.value.rcvd is None
    assert server.connections[0].closed[0] == 1006


def test_every_connection_has_its_script_and_the_last_is_for_all_others():
    server = OpenAIRealtimeServer(*([Send(frame(kind))] for kind in ("one", "two")))
    with server:
        got = []
        for _ in range(3):
            with connect(server) as connection:
                got.append(next_frame(connection)["type"])
    assert got == ["one", "two", "two"]


# The shape of a recorded session: the server greets, the client talks, the server answers.
RECORDING = [
    {"dir": "server", "event": frame("session.created")},
    {"dir": "client", "event": {"type": "session.update"}},
    {"dir": "server", "event": frame("session.updated")},
    {"dir": "client", "event": {"type": "input_audio_buffer.append"}},
    {"dir": "client", "event": {"type": "input_audio_buffer.append"}},
    {"dir": "server", "event": frame("input_audio_buffer.speech_started")},
    {"dir": "server", "event": frame("response.done")},
]
RECORDED = [row["event"] for row in RECORDING if row["dir"] == "server"]


def as_file(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in RECORDING) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("source", ["path", "string", "lines", "rows"])
def test_a_recording_is_played_turn_by_turn(source, tmp_path):
    path = as_file(tmp_path / "session.jsonl")
    recording = {"path": path, "string": str(path), "lines": map(json.dumps, RECORDING), "rows": RECORDING}[
        source
    ]
    server = OpenAIRealtimeServer(Script.from_recording(recording))
    with server, connect(server) as connection:
        got = read(connection, "session.created")
        connection.session.update(session={"type": "realtime"})
        got += read(connection, "session.updated")
        say(connection, silence(200))
        got += read(connection, "response.done")
    assert got == RECORDED


def test_a_recording_expects_what_its_client_sent():
    server = OpenAIRealtimeServer(Script.from_recording(RECORDING))

    def run():
        with server, connect(server) as connection:
            connection.session.update(session={"type": "realtime"})
            read(connection, "session.updated")

    with pytest.raises(AssertionError, match=r"input_audio_buffer\.append 2 times, it came 0 times"):
        run()


def test_a_recording_is_sent_at_once_where_nothing_is_waited_for():
    server = OpenAIRealtimeServer(Script.from_recording(RECORDING, wait=False, stay_open=False))
    with server, connect(server) as connection:
        assert types(event.to_dict() for event in connection) == types(RECORDED)
