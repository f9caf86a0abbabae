"""A bridge between a telephone provider's media stream and a realtime model, as public samples write it: G.711 both ways.

Its author never heard of tracing.
"""

from __future__ import annotations

import asyncio
import json
import os

import websockets
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


@app.websocket("/media-stream")
async def media_stream(websocket: WebSocket):  # noqa: C901  as the samples are
    await websocket.accept()
    async with websockets.connect(
        os.environ["REALTIME_URL"] + "/realtime?model=gpt-realtime",
        additional_headers={"Authorization": "Bearer sk-test"},
    ) as model:
        await model.send(json.dumps({
            "type": "session.update",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
                    "output": {"format": {"type": "audio/pcmu"}, "voice": "alloy"},
                },
            },
        }))  # fmt: skip
        stream, spoken = None, None

        async def from_the_telephone():
            nonlocal stream
            try:
                async for message in websocket.iter_text():
                    data = json.loads(message)
                    if data["event"] == "media":
                        audio = {"type": "input_audio_buffer.append", "audio": data["media"]["payload"]}
                        await model.send(json.dumps(audio))
                    elif data["event"] == "start":
                        stream = data["start"]["streamSid"]
                        await model.send(json.dumps({"type": "response.create"}))
            except WebSocketDisconnect:
                pass
            await model.close()

        async def from_the_model():
            nonlocal spoken
            async for message in model:
                event = json.loads(message)
                if event["type"] == "response.output_audio.delta":
                    spoken = event["item_id"]
                    media = {"event": "media", "streamSid": stream, "media": {"payload": event["delta"]}}
                    await websocket.send_json(media)
                if event["type"] == "response.done":
                    await websocket.send_json(
                        {"event": "mark", "streamSid": stream, "mark": {"name": "done"}}
                    )
                if event["type"] == "input_audio_buffer.speech_started" and spoken is not None:
                    cut = {"item_id": spoken, "content_index": 0, "audio_end_ms": 100}
                    await model.send(json.dumps({"type": "conversation.item.truncate", **cut}))
                    await websocket.send_json({"event": "clear", "streamSid": stream})
                    spoken = None

        await asyncio.gather(from_the_telephone(), from_the_model())
