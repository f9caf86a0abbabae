"""A script on `websocket-client`, as OpenAI's documentation shows raw sockets. Its author never heard of tracing."""

from __future__ import annotations

import json
import sys

import websocket


def on_open(ws):
    ws.send(
        json.dumps(
            {"type": "session.update", "session": {"type": "realtime", "instructions": "Be friendly."}}
        )
    )
    ws.send(json.dumps({"type": "response.create"}))


def on_message(ws, message):
    event = json.loads(message)
    if event["type"] == "response.function_call_arguments.done":
        item = {"type": "function_call_output", "call_id": event["call_id"], "output": '{"weather": "foggy"}'}
        ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    if event["type"] == "response.done":
        if any(item["type"] == "function_call" for item in event["response"]["output"]):
            ws.send(json.dumps({"type": "response.create"}))
        else:
            ws.close()


if __name__ == "__main__":
    websocket.WebSocketApp(
        sys.argv[1] + "/realtime?model=gpt-realtime",
        header=["Authorization: Bearer sk-test"],
        on_open=on_open,
        on_message=on_message,
    ).run_forever()
