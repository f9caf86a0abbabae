"""The server that a test starts: what its three services answer, and what they were asked."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.testing.cascade import audio
from voicespan.testing.cascade.answers import Completion, CompletionRequest, InOrder, Speech, Transcript
from voicespan.testing.cascade.completions import CompletionAnswer, refusal
from voicespan.testing.cascade.connections import ClientLeftError, Exchange, Listener, ServedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

#: Bytes of `pcm` in 200 ms, and of anything else in a piece.
_PIECE = audio.RATE * 2 // 5
_DEFAULT_ANSWER = "I am here to help."


@dataclass
class _Failure:
    path: str
    status: int | None
    message: str
    times: int
    after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class CascadeServer:
    """Transcription, chat completions and speech as OpenAI offers them, on 127.0.0.1.

    >>> from openai import OpenAI
    >>> from voicespan.testing.cascade import CascadeServer, Completion
    >>> with CascadeServer([Completion("Half past eight.")], transcripts=["When is a table free?"]) as server:
    ...     with OpenAI(api_key="test", base_url=server.url) as client:
    ...         speech = client.audio.speech.create(model="tts-1", voice="nova", input="Hello?", response_format="wav")
    ...         heard = client.audio.transcriptions.create(model="whisper-1", file=("speech.wav", speech.content))
    ...         asked = [{"role": "user", "content": heard.text}]
    ...         answer = client.chat.completions.create(model="gpt-5", messages=asked)
    >>> heard.text, answer.choices[0].message.content
    ('When is a table free?', 'Half past eight.')

    A context manager; all of it may be used from any thread. What goes wrong on the server's side, one answer too few
    for example, is raised at the end of the `with` block.

    Args:
        answers: The language model's answers in order, or a function from the request to its answer. When not given,
            every request gets the same short answer.
        transcripts: What is heard in the audio that speaks, in order; in silence nothing is heard, and nothing used up.
        speech: How texts are spoken, in order, or a function from the request's body.

    Attributes:
        requests: Everything that came in, oldest first.
    """

    def __init__(
        self,
        answers: Iterable[Completion | str] | Callable[[CompletionRequest], Completion | str] | None = None,
        transcripts: Iterable[Transcript | str]
        | Callable[[Mapping[str, Any]], Transcript | str]
        | None = None,
        *,
        speech: Iterable[Speech] | Callable[[Mapping[str, Any]], Speech] | None = None,
    ) -> None:
        self.requests: list[ServedRequest] = []
        self._answers = InOrder(answers, Completion(_DEFAULT_ANSWER))
        self._transcripts = InOrder(transcripts, Transcript("What the user said."))
        self._speech = InOrder(speech, Speech())
        self._completions = 0
        self._failures: list[_Failure] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._wrong: BaseException | None = None
        self._listener: Listener | None = None

    def __enter__(self) -> Self:
        self._listener = Listener(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._wrong is not None:
            raise self._wrong

    def close(self) -> None:
        """Stop at once, whatever is going on."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self.release()
            listener.close()

    @property
    def url(self) -> str:
        """The `base_url` of a client.

        Raises:
            RuntimeError: the server was not entered, or is closed.
        """
        if self._listener is None:
            raise RuntimeError("enter the server first: with CascadeServer() as server")
        return f"http://127.0.0.1:{self._listener.server_port}/v1"

    def release(self) -> None:
        """Let every answer that paused go on."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()

    def fail(
        self,
        path: str,
        *,
        status: int | None = 500,
        times: int = 1,
        message: str = "ordered by the test",
        after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Have the next requests fail.

        Args:
            path: Those whose path ends in this: `transcriptions`, `completions`, `speech`.
            status: What they get; None: the connection ends without an answer.
            times: So many of them.
            message: Of the error.
            after: Of an answer that streams: it breaks off after so many pieces, whatever the status.
            headers: Of the answer, `{"Retry-After": "1"}` for example.
        """
        with self._lock:
            self._failures.append(_Failure(path, status, message, times, after, headers or {}))

    def asked(self, path: str) -> list[ServedRequest]:
        """The requests whose path ends in this."""
        return [request for request in list(self.requests) if request.path.endswith(path)]

    # The services.

    def serve(self, exchange: Exchange) -> None:
        """Answer a request. Not for tests."""
        served = exchange.served
        self.requests.append(served)
        try:
            self._answer(exchange, served)
        except ClientLeftError:
            served.broken_off = True
            raise
        except AssertionError as wrong:
            self._wrong = self._wrong or wrong
            exchange.send_json(500, _error(str(wrong)))

    def _answer(self, exchange: Exchange, served: ServedRequest) -> None:
        _read(exchange, served)
        failure = self._failure(served.path)
        if "authorization" not in exchange.headers and "api-key" not in exchange.headers:
            exchange.send_json(401, _error("You didn't provide an API key.", "invalid_request_error"))
        elif failure is not None and failure.after is None:
            if failure.status is None:
                exchange.drop()
            else:
                exchange.send_json(failure.status, _error(failure.message), failure.headers)
        elif served.path.endswith("/chat/completions"):
            self._complete(exchange, served, failure)
        elif served.path.endswith(("/audio/transcriptions", "/audio/translations")):
            self._transcribe(exchange, served, failure)
        elif served.path.endswith("/audio/speech"):
            self._speak(exchange, served, failure)
        else:
            exchange.send_json(404, _error(f"Invalid URL (POST {served.path})", "invalid_request_error"))

    def _complete(self, exchange: Exchange, served: ServedRequest, failure: _Failure | None) -> None:
        body = served.body
        why = refusal(body.get("messages"))
        if why is not None:
            exchange.send_json(400, _error(why, "invalid_request_error"))
            return
        with self._lock:
            self._completions += 1
            number = self._completions
            answer = self._answers.next(CompletionRequest(number - 1, body["messages"], body))
        completion = Completion(answer) if isinstance(answer, str) else answer
        made = CompletionAnswer(completion, body, number)
        if body.get("stream"):
            pieces = self._paced(exchange, made.chunks(), completion.pause_after, failure)
            exchange.stream("text/event-stream; charset=utf-8", pieces)
        else:
            exchange.send_json(200, made.whole())

    def _transcribe(self, exchange: Exchange, served: ServedRequest, failure: _Failure | None) -> None:
        body = served.body
        try:
            seconds, speaks = audio.heard(served.audio)
        except ValueError as error:
            exchange.send_json(400, _error(str(error), "invalid_request_error"))
            return
        found = Transcript()
        if speaks:
            with self._lock:
                answer = self._transcripts.next(body)
            found = Transcript(answer) if isinstance(answer, str) else answer
        if body.get("stream") == "true":
            pieces = self._paced(
                exchange, _transcript_events(found.text, seconds), found.pause_after, failure
            )
            exchange.stream("text/event-stream; charset=utf-8", pieces)
            return
        asked = body.get("response_format", "json")
        if asked in ("text", "srt", "vtt"):
            exchange.send(200, f"{found.text}\n".encode(), "text/plain; charset=utf-8")
            return
        answer = {
            "text": found.text,
            "usage": _transcription_usage(str(body.get("model")), found.text, seconds),
        }
        if asked == "verbose_json":
            answer |= {"task": "transcribe", "language": found.language, "duration": seconds, "segments": []}
        exchange.send_json(200, answer)

    def _speak(self, exchange: Exchange, served: ServedRequest, failure: _Failure | None) -> None:
        body = served.body
        text, encoding = str(body.get("input", "")), str(body.get("response_format") or "mp3")
        if not text or encoding not in audio.FORMATS:
            exchange.send_json(400, _error(f"Invalid input or format {encoding!r}", "invalid_request_error"))
            return
        with self._lock:
            how = self._speech.next(body)
        seconds = audio.seconds_of(text) if how.seconds is None else how.seconds
        content = audio.encoded(how.audio or audio.hum(seconds, str(body.get("voice"))), encoding)
        parts = ((content[at : at + _PIECE], True) for at in range(0, len(content), _PIECE))
        if body.get("stream_format") == "sse":
            pieces = self._paced(exchange, _speech_events(parts, text), how.pause_after, failure)
            exchange.stream("text/event-stream; charset=utf-8", pieces)
        else:
            pieces = self._paced(exchange, parts, how.pause_after, failure)
            exchange.stream(audio.FORMATS[encoding][2], pieces)

    def _paced(
        self,
        exchange: Exchange,
        pieces: Iterable[tuple[bytes, bool]],
        pause_after: int | None,
        failure: _Failure | None,
    ) -> Iterator[bytes]:
        with self._lock:
            released = self._released
        count = 0
        for piece, is_output in pieces:
            if is_output:
                if failure is not None and count == failure.after:
                    exchange.drop()
                    raise ClientLeftError
                if count == pause_after:
                    exchange.wait(released)
                count += 1
            yield piece

    def _failure(self, path: str) -> _Failure | None:
        with self._lock:
            for failure in self._failures:
                if path.endswith(failure.path) and failure.times > 0:
                    failure.times -= 1
                    return failure
        return None


def _read(exchange: Exchange, served: ServedRequest) -> None:
    content_type = exchange.headers.get("content-type", "")
    if content_type.startswith("multipart/"):
        fields = audio.form(exchange.body, content_type)
        served.audio = fields.pop("file", [b""])[0]
        served.body = {name: values[-1].decode() for name, values in fields.items()}
    elif exchange.body:
        served.body = json.loads(exchange.body)


def _error(message: str, kind: str = "server_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _event(content: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def _transcript_events(text: str, seconds: float) -> Iterator[tuple[bytes, bool]]:
    words = text.split(" ") if text else []
    for index, word in enumerate(words):
        yield _event({"type": "transcript.text.delta", "delta": word if index == 0 else f" {word}"}), True
    usage = _transcription_usage("", text, seconds)
    yield _event({"type": "transcript.text.done", "text": text, "usage": usage}), False
    yield b"data: [DONE]\n\n", False


def _transcription_usage(model: str, text: str, seconds: float) -> dict[str, Any]:
    """Whisper is billed by the second, its successors by tokens."""
    if model.startswith("whisper"):
        return {"type": "duration", "seconds": round(seconds)}
    heard, said = round(seconds * 10), len(text.split())
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": said,
        "total_tokens": heard + said,
    }


def _speech_events(parts: Iterable[tuple[bytes, bool]], text: str) -> Iterator[tuple[bytes, bool]]:
    for part, _ in parts:
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()}), True
    said = len(text.split())
    usage = {"input_tokens": said, "output_tokens": 20 * said, "total_tokens": 21 * said}
    yield _event({"type": "speech.audio.done", "usage": usage}), False
