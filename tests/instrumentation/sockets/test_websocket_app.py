"""`WebSocketApp`: callbacks in the thread that runs it, as OpenAI's documentation shows raw sockets."""

from __future__ import annotations

import json

import pytest

from voicespan.instrumentation.sockets import WebsocketClientInstrumentor
from voicespan.testing.openai_realtime import Answer, Close, OpenAIRealtimeServer, Send

websocket = pytest.importorskip("websocket")
CREATED = {"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "id": "sess_1"}}


@pytest.fixture(autouse=True)
def _instrumented(tracer_provider):
    WebsocketClientInstrumentor().instrument(tracer_provider=tracer_provider)
    yield
    WebsocketClientInstrumentor().uninstrument()


def test_an_app_that_closes_itself(trace, tracer_provider):
    def on_open(app):
        app.send(json.dumps({"type": "response.create"}))

    def on_message(app, message):
        with tracer_provider.get_tracer("app").start_as_current_span("mine"):
            if json.loads(message)["type"] == "response.done":
                app.close()

    with OpenAIRealtimeServer.conversational([Answer("Good morning!")]) as server:
        url = server.url + "/realtime?model=gpt-realtime"
        websocket.WebSocketApp(url, on_open=on_open, on_message=on_message).run_forever()
    names = [span.name for span in trace.spans]
    assert names.count("turn_complete") == names.count("conversation") == 1
    assert {span.parent.span_id for span in trace.spans if span.name == "mine"} == {
        trace.root.context.span_id
    }
    assert (trace.fact("status"), trace.fact("close_code")) == ("completed", 1000)


def test_an_app_whose_server_closes(trace):
    closed = []
    with OpenAIRealtimeServer([Send(CREATED), Close(4001, "session expired")]) as server:
        opened = []
        app = websocket.WebSocketApp(
            server.url + "/realtime",
            on_open=lambda app: opened.append(app.sock),
            on_close=lambda _, code, reason: closed.append((code, reason)),
        )
        app.run_forever()
        # The library leaves the descriptor to the garbage collector.
        opened[0].shutdown()
    assert closed == [(4001, "session expired")]
    assert (trace.fact("status"), trace.fact("close_code"), trace.fact("close_reason")) == (
        "error",
        4001,
        "session expired",
    )


def test_pieces_are_handed_over_and_the_whole_is_traced(trace):
    asked = json.dumps({"type": "response.create", "event_id": "sent_0"})
    with OpenAIRealtimeServer.conversational([Answer("Good morning!")]) as server:
        socket = websocket.create_connection(server.url + "/realtime?model=gpt-realtime", timeout=10)
        text, continued = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CONT
        socket.send_frame(websocket.ABNF.create_frame(asked[:9], text, 0))
        socket.send_frame(websocket.ABNF.create_frame(asked[9:], continued, 1))
        while json.loads(socket.recv())["type"] != "response.done":
            pass
        socket.close()
        received = [each["type"] for each in server.connections[0].received]
    assert received == ["response.create"]
    names = [span.name for span in trace.spans]
    assert names.count("turn_complete") == 1
    assert "unreadable" not in names
