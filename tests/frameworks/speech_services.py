"""Transcription, chat completions and speech over HTTP, by a script: what a cascade of OpenAI's plugins calls."""

from __future__ import annotations

import array
import json
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATE = 24_000
#: Seconds of speech for a character.
PACE = 0.05


def tone(seconds: float) -> bytes:
    return array.array("h", [int(8000 * math.sin(i * 0.115)) for i in range(int(seconds * RATE))]).tobytes()


class SpeechServices(ThreadingHTTPServer):
    """`heard`: what is transcribed, in order ("": nothing; an int: that status). `answers`: what the model answers,

    in order: a text, a list of function calls (name and arguments), or a status. `unspeakable`: synthesis fails.
    """

    daemon_threads = True

    def __init__(self, heard, answers, *, unspeakable=False):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard, self.answers, self.unspeakable = list(heard), list(answers), unspeakable
        self.calls = 0
        self.lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def next(self, script, last):
        with self.lock:
            return script.pop(0) if script else last


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/audio/transcriptions"):
            heard = self.server.next(self.server.heard, "")
            self._fail(heard) if isinstance(heard, int) else self._json({"text": heard})
        elif self.path.endswith("/audio/speech"):
            self._speak(json.loads(body))
        else:
            self._chat(json.loads(body))

    def _fail(self, status):
        self._json({"error": {"message": "out of order", "type": "server_error"}}, status)

    def _json(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _speak(self, asked):
        if self.server.unspeakable:
            self._fail(500)
            return
        self._begin("audio/pcm")
        pcm = tone(len(asked["input"]) * PACE)
        for at in range(0, len(pcm), 9_600):
            self.wfile.write(pcm[at : at + 9_600])
            time.sleep(0.002)

    def _chat(self, asked):
        answer = self.server.next(self.server.answers, "All right.")
        if isinstance(answer, int):
            self._fail(answer)
            return
        self._begin("text/event-stream")
        if isinstance(answer, str):
            for word in answer.split():
                self._chunk(asked, {"role": "assistant", "content": f"{word} "})
                time.sleep(0.005)
            self._chunk(asked, {}, "stop")
        else:
            for index, (name, arguments) in enumerate(answer):
                self.server.calls += 1
                function = {"name": name, "arguments": json.dumps(arguments)}
                call = {
                    "index": index,
                    "id": f"call_{self.server.calls}",
                    "type": "function",
                    "function": function,
                }
                self._chunk(asked, {"role": "assistant", "tool_calls": [call]})
            self._chunk(asked, {}, "tool_calls")
        usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
        self._chunk(asked, None, usage=usage)
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, asked, delta, finish=None, usage=None):
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        chunk["choices"] = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        if usage:
            chunk["usage"] = usage
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()
