"""What tracing adds to the receive path, per frame, on the application's thread.

    python benchmarks/receive_path.py [ROUNDS]

The real `openai` client reads the same frames from a loopback WebSocket three ways: untraced, with
voicespan, and through `wrap_realtime` of the `langsmith` package. The three are run in turn, round by
round, each on the same thread, and measured in that thread's own CPU time; the printed figures are the
medians of the paired differences with the quarters around them, and the difference of the best rounds,
which a busy machine disturbs least.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import statistics
import sys
import time
import warnings

from openai import AsyncOpenAI

from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing import LangSmithServer
from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Send

AUDIO = base64.b64encode(os.urandom(9_600)).decode()  # 200 ms of PCM16 at 24 kHz


def spoken_turns(count: int, *, audio: bool):
    """Frames of `count` answered turns, as the server sends them; with or without the audio deltas."""
    for number in range(count):
        user, item, response = f"item_u{number:04d}", f"item_a{number:04d}", f"resp_{number:04d}"
        ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        message = {
            "id": item,
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
        }
        text = "It is foggy and twelve degrees in London, so take a coat with you."
        said = {**message, "status": "completed", "content": [{"type": "output_audio", "transcript": text}]}
        heard = {
            "id": user,
            "type": "message",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        usage = {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {"text_tokens": 119},
        }
        yield {"type": "input_audio_buffer.speech_started", "audio_start_ms": 10, "item_id": user}
        yield {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": user}
        yield {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": user}
        yield {"type": "conversation.item.added", "previous_item_id": None, "item": heard}
        yield {"type": "conversation.item.done", "previous_item_id": None, "item": heard}
        yield {
            "type": "response.created",
            "response": {"id": response, "status": "in_progress", "output": []},
        }
        yield {
            "type": "response.output_item.added",
            "response_id": response,
            "output_index": 0,
            "item": message,
        }
        yield {"type": "conversation.item.added", "previous_item_id": user, "item": message}
        yield {"type": "response.content_part.added", **ids, "part": {"type": "audio", "transcript": ""}}
        for word in text.split():
            yield {"type": "response.output_audio_transcript.delta", **ids, "delta": word}
        if audio:
            for _ in range(20):
                yield {"type": "response.output_audio.delta", **ids, "delta": AUDIO}
        transcribed = {"item_id": user, "content_index": 0, "transcript": "What is the weather in London?"}
        yield {"type": "conversation.item.input_audio_transcription.completed", **transcribed}
        yield {"type": "response.output_audio.done", **ids}
        yield {"type": "response.output_audio_transcript.done", **ids, "transcript": text}
        yield {"type": "response.content_part.done", **ids, "part": {"type": "audio", "transcript": text}}
        yield {"type": "conversation.item.done", "previous_item_id": user, "item": said}
        yield {"type": "response.output_item.done", "response_id": response, "output_index": 0, "item": said}
        done = {
            "id": response,
            "status": "completed",
            "status_details": None,
            "output": [said],
            "usage": usage,
        }
        yield {"type": "response.done", "response": done}
        yield {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 1, "remaining": 1}]}


def audio_deltas(count: int):
    ids = {"response_id": "resp_0001", "item_id": "item_a0001", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": {"id": "resp_0001", "status": "in_progress", "output": []}}
    for _ in range(count):
        yield {"type": "response.output_audio.delta", **ids, "delta": AUDIO}


def encoded(frames) -> list[bytes]:
    numbered = (
        {"type": frame["type"], "event_id": f"event_{n:08d}", **frame} for n, frame in enumerate(frames)
    )
    return [json.dumps(frame, separators=(",", ":")).encode() for frame in numbered]


async def read(connection, count: int) -> float:
    await connection.recv()
    begun = time.thread_time()
    for _ in range(count - 1):
        await connection.recv()
    return time.thread_time() - begun


async def one(server, count: int, way: str) -> float:
    client = AsyncOpenAI(api_key="k", websocket_base_url=server.url)
    async with client.realtime.connect(model="gpt-realtime") as connection:
        if way == "wrap_realtime":
            from langsmith.integrations.openai_realtime import wrap_realtime

            async with wrap_realtime(connection) as wrapped:
                return await read(wrapped, count)
        return await read(connection, count)


def measure(frames: list[bytes], rounds: int) -> dict[str, list[float]]:
    """Microseconds per frame, round by round, for each way."""
    from opentelemetry.sdk.trace import TracerProvider

    instrumentor = OpenAIRealtimeInstrumentor()
    found: dict[str, list[float]] = {"untraced": [], "voicespan": [], "wrap_realtime": []}
    with OpenAIRealtimeServer([Send(*frames)]) as server:
        for round_ in range(rounds + 1):
            for way, times in found.items():
                if way == "voicespan":
                    instrumentor.instrument(tracer_provider=TracerProvider(shutdown_on_exit=False))
                taken = asyncio.run(one(server, len(frames), way))
                if way == "voicespan":
                    instrumentor.uninstrument()
                if round_:  # the first one warms everything up
                    times.append(taken / len(frames) * 1e6)
    return found


def report(title: str, found: dict[str, list[float]]) -> None:
    bare = statistics.median(found["untraced"])
    print(f"{title}: the client alone {bare:.1f} us a frame")
    for way in ("voicespan", "wrap_realtime"):
        added = [with_ - without for with_, without in zip(found[way], found["untraced"], strict=True)]
        low, middle, high = statistics.quantiles(added, n=4)
        best = min(found[way]) - min(found["untraced"])
        print(f"  {way:14} adds {middle:7.2f} us  ({low:.2f} to {high:.2f}), best rounds {best:.2f} us")


def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with LangSmithServer() as langsmith:
        os.environ |= {
            "LANGSMITH_ENDPOINT": langsmith.url,
            "LANGSMITH_API_KEY": "k",
            "LANGSMITH_TRACING": "true",
        }
        report("audio delta", measure(encoded(audio_deltas(3_000)), rounds))
        report("any other frame", measure(encoded(spoken_turns(40, audio=False)), rounds))
        report("a whole session", measure(encoded(spoken_turns(40, audio=True)), rounds))
        sys.stdout.flush()
        # The langsmith package's client would go on posting for minutes.
        os._exit(0)


if __name__ == "__main__":
    main()
