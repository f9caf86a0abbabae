"""Servers in processes of their own, so that their work is on nobody's account and under another lock.

Each is asked through a pipe; the process ends with its owner.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from voicespan.testing import LangSmithServer
from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Script
from voicespan.testing.script import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection


class Elsewhere:
    """A server in another process, and how it is asked."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def totals(self) -> dict[str, int]:
        """What it has received so far.

        `requests`, `bytes` of their bodies as they came, `runs`, and `content`: characters of JSON that the
        inputs, outputs and metadata of those runs are.
        """
        self._pipe.send("totals")
        return self._pipe.recv()

    def clear(self) -> None:
        """Forget what came."""
        self._pipe.send("clear")
        self._pipe.recv()


@contextlib.contextmanager
def langsmith() -> Iterator[Elsewhere]:
    """LangSmith's ingest."""
    with _process(_serve_langsmith) as server:
        yield server


@contextlib.contextmanager
def sink() -> Iterator[Elsewhere]:
    """Takes whatever is posted and says yes: the agent or collector of somebody else."""
    with _process(_serve_sink) as server:
        yield server


@contextlib.contextmanager
def endless(head: list[bytes], frames: list[bytes]) -> Iterator[Elsewhere]:
    """An OpenAI Realtime server that sends `head` once, and `frames` for as long as somebody reads."""
    with _process(_serve_frames, head, frames) as server:
        yield server


@contextlib.contextmanager
def _process(serve: Callable[..., None], *arguments: Any) -> Iterator[Elsewhere]:
    # Spawned: a fork would take the tracers of this process along.
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(serve, theirs, *arguments), daemon=True)
    process.start()
    try:
        if not ours.poll(60):
            raise RuntimeError(f"{serve.__name__} did not start")
        yield Elsewhere(ours)
    finally:
        process.terminate()
        process.join(10)


def _serve(serve: Callable[..., None], pipe: Connection, *arguments: Any) -> None:
    # The other end is gone when its owner is.
    with contextlib.suppress(EOFError):
        serve(pipe, *arguments)


def _serve_langsmith(pipe: Connection) -> None:
    with LangSmithServer() as server:
        pipe.send(server.url)
        while True:
            asked = pipe.recv()
            if asked == "clear":
                server.clear()
                pipe.send(None)
            else:
                requests, runs = server.requests, server.runs
                told = [json.dumps([run.inputs, run.outputs, run.metadata]) for run in runs]
                pipe.send(
                    {
                        "requests": len(requests),
                        "bytes": sum(request.body_bytes for request in requests),
                        "runs": len(runs),
                        "content": sum(map(len, told)),
                    }
                )


def _serve_sink(pipe: Connection) -> None:
    sizes: list[int] = []

    class Accept(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(size)
            sizes.append(size)
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        do_PUT = do_POST  # noqa: N815  the base looks for this name

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Accept)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    while True:
        if pipe.recv() == "clear":
            sizes.clear()
            pipe.send(None)
        else:
            pipe.send({"requests": len(sizes), "bytes": sum(sizes), "runs": 0, "content": 0})


class _Endless(Step):
    """Sends frames at the client's pace, until it has left."""

    def __init__(self, head: list[bytes], frames: list[bytes]) -> None:
        self._head, self._frames = head, frames

    async def play(self, stage: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            for frame in self._head:
                await stage.wire.send(frame)
            while True:
                for frame in self._frames:
                    await stage.wire.send(frame)


def _serve_frames(pipe: Connection, head: list[bytes], frames: list[bytes]) -> None:
    server = OpenAIRealtimeServer(Script([_Endless(head, frames)]))
    with server:
        pipe.send(server.url)
        pipe.recv()
