"""What hostile frames cost: the thread that reads them, and the memory of a call that never ends.

No time is compared with a number of seconds: only with what the SDK itself spends on the same frame, or with
itself at another size, measured in the thread's own CPU time.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import time
import tracemalloc
from itertools import count

import pytest
from opentelemetry.sdk.trace import TracerProvider
from witness import Kept, look_at

from voicespan.content import frame_copy, masking, secret_names
from voicespan.gemini_live import function_calls, turns
from voicespan.gemini_live.protocol import Protocol as Gemini
from voicespan.openai_realtime.protocol import Protocol as OpenAI
from voicespan.runtime import settings
from voicespan.runtime.settings import Level, Settings
from voicespan.tracing.conversation import Conversation

ALL = Settings(events=Level.ALL, raw_events=True)


# What a frame tells is written by the thread that is measured.
pytestmark = pytest.mark.usefixtures("unattended")


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def connect(kept):
    opened = []

    def connect(protocol=OpenAI, **given):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(kept)
        conversation = Conversation(tracer_provider=provider, **given)
        opened.append(conversation)
        return conversation.connect(protocol(conversation.settings.events), {})

    connect.opened = opened
    yield connect
    for conversation in opened:
        conversation.end()


def seconds(call, *args):
    """CPU time of this thread alone: what else the machine does is not in it, nor what other tests left to collect."""
    gc.disable()
    try:
        began = time.thread_time()
        call(*args)
        return time.thread_time() - began
    finally:
        gc.enable()


def read(connection, frame):
    connection.received(frame)
    connection.conversation.flush()


def parse(frame):
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(frame)


# One frame.

_MB = 1_000_000


def _tree(depth):
    return {"a": _tree(depth - 1), "b": _tree(depth - 1), "c": _tree(depth - 1)} if depth else 1


GIANTS = {
    "a text of 100 MB": lambda: b'{"type":"error","error":{"message":"%s"}}' % (b"x" * 100 * _MB),
    "100 MB of what is no JSON": lambda: b'{"type":"error",' + b"[" * 100 * _MB,
    "100 MB after another type": lambda: b'{"delta":"%s","type":"response.output_audio.delta"}' % (b"A" * 100 * _MB),
    "nested 100,000 deep": lambda: b'{"type":"a.b","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects 100,000 deep": lambda: b'{"type":"a.b","a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "600,000 keys": lambda: json.dumps({"type": "a.b", "a": dict.fromkeys(map(str, range(600_000)), 1)}).encode(),
    "600,000 keys beside the type": lambda: json.dumps({"type": "a.b", **dict.fromkeys(map(str, range(600_000)), 1)}).encode(),
    "2,000,000 numbers": lambda: json.dumps({"type": "a.b", "a": [1] * 2_000_000}).encode(),
    "400,000 objects": lambda: json.dumps({"type": "a.b", "a": [{"b": "c"}] * 400_000}).encode(),
    "a tree of 90,000 small objects": lambda: json.dumps({"type": "a.b", "a": _tree(11)}).encode(),
    "350,000 items": lambda: json.dumps({
        "type": "response.done", "response": {"id": "r", "output": [{"type": "message"}] * 350_000}
    }).encode(),
    "a transcript of 7 MB": lambda: json.dumps({
        "type": "response.output_audio_transcript.done", "item_id": "i", "response_id": "r", "transcript": "ab " * 2_300_000
    }).encode(),
    "arguments of 7 MB": lambda: json.dumps({
        "type": "response.function_call_arguments.done", "item_id": "i", "call_id": "c", "name": "n",
        "arguments": json.dumps({"a": ["text"] * 700_000}),
    }).encode(),
}  # fmt: skip


@pytest.mark.parametrize("giant", GIANTS)
def test_a_giant_frame_costs_little_more_than_to_parse_it(connect, kept, giant):
    frame = GIANTS[giant]()
    connection = connect()
    # The first one of a kind finds caches cold.
    read(connection, b'{"type":"a.b"}')
    parsing = max(seconds(parse, frame), 0.05)
    # Once: what was told before is not told again.
    reading = seconds(read, connection, frame)
    connection.closed(1000)
    look_at(kept.spans)
    assert reading < 4 * parsing, f"{reading:.2f} s, and to parse it {parsing:.2f} s"


def test_a_giant_frame_of_raw_events_is_not_parsed_again(connect, kept):
    frame = GIANTS["a text of 100 MB"]()
    connection = connect(settings=ALL)
    assert seconds(read, connection, frame) < max(seconds(parse, frame), 0.05)
    connection.closed(1000)
    look_at(kept.spans)


# What an application tells.


def _circle():
    circle = {}
    circle["one"] = circle["two"] = circle["three"] = circle
    return circle


@pytest.mark.parametrize(
    "thing", [_circle(), dict.fromkeys(map(str, range(1_000_000))), [["ha"] * 1_000] * 1_000]
)
def test_endless_metadata_costs_no_more_than_a_lot_of_it(connect, kept, thing):
    connect()
    conversation = connect.opened[-1]
    few = {str(n): n for n in range(1_000)}
    least = min(seconds(lambda: conversation.set_metadata(few=few)) for _ in range(3))
    # A thousand values fill what is kept of one fact; past ten times as many nothing more is looked at.
    assert seconds(lambda: conversation.set_metadata(thing=thing)) < 25 * max(least, 0.002)
    conversation.end()
    look_at(kept.spans)


def test_a_million_tags_cost_no_more_than_a_thousand(connect, kept):
    def fresh():
        connect()
        return connect.opened[-1]

    least = min(seconds(lambda: fresh().add_tags(*map(str, range(1_000)))) for _ in range(3))
    for tags in (map(str, range(1_000_000)), [""] * 1_000_000):
        conversation = fresh()
        assert seconds(conversation.add_tags, *tags) < 10 * max(least, 0.01)


# Growth: twice as long takes twice the time, not four times.

_WORDS = "conversation.item.input_audio_transcription.completed"
PATTERNS = {
    "secrets that begin": "-eyJ",
    "secrets that go on": "eyJabcdefghijkl.",
    "bearers": "Bearer ",
    "bearers of nothing": "Bearer \t",
    "basics": "Basic A",
    "keys": "sk-",
    "long keys": "sk-abcdefgh ",
    "names": '"token":',
    "names that open": '"token":"',
    "names with blanks": "token \t ",
    "assignments": "token= ",
    "addresses": "https://a:",
    "users": "://a@b",
    "quotes": '\\"',
    "backslashes": "\\",
    "private keys": "-----BEGIN PRIVATE KEY-----",
    "half private keys": "-----BEGIN ",
    "headers": "headers={",
    "authorizations": "authorization:",
    "secret words": "secret",
    "dashes": "-_",
    "slashes": "auth_tokens/",
    "lines": "\n",
    "blanks": " ",
    "AIza": "AIza",
    "base64 of keys": "c2st",
    "lists": "[",
    "objects": '{"a":',
}  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("place", ["text", "key", "arguments"])
def test_what_a_text_costs_grows_with_its_length(connect, pattern, place):
    repeated = PATTERNS[pattern]

    def frame(length, n):
        text = repeated * (length // len(repeated)) + "\n\n!"
        if place == "key":
            return json.dumps({"type": "a.b", "a": {text: "x"}}).encode()
        if place == "arguments":
            return json.dumps({
                "type": "response.function_call_arguments.done", "item_id": f"i{n}", "call_id": f"c{n}", "name": "n", "arguments": text,
            }).encode()  # fmt: skip
        return json.dumps({"type": _WORDS, "item_id": f"i{n}", "transcript": text}).encode()

    connection = connect()
    numbers = count()
    least = {}
    for length in (20_000, 80_000):
        # The least of several: what disturbs a measurement only adds.
        least[length] = min(seconds(read, connection, frame(length, next(numbers))) for _ in range(3))
    # Four times as much: 4 where it grows with the length, 16 where with its square.
    assert least[80_000] < 9 * max(least[20_000], 0.001), least


# Memory.


def _openai_streams():
    def stream(*kinds):
        return lambda n: [{**kind(n), "event_id": f"e{n}"} for kind in kinds]

    def response(n, **more):
        return {"response": {"id": f"r{n}", "status": "completed", "output": [], **more}}

    return {
        "items": stream(lambda n: {"type": "conversation.item.added", "item": {"id": f"i{n}", "type": "message", "role": "user"}}),
        "words": stream(lambda n: {"type": _WORDS, "item_id": f"i{n}", "transcript": f"word {n}"}),
        "parts": stream(lambda n: {"type": _WORDS, "item_id": "i", "content_index": n, "transcript": f"word {n}"}),
        "fragments": stream(lambda n: {"type": _WORDS.replace("completed", "delta"), "item_id": f"i{n}", "delta": "w"}),
        "calls": stream(lambda n: {"type": "response.function_call_arguments.done", "call_id": f"c{n}", "item_id": f"i{n}", "name": "f", "arguments": "{}"}),
        "calls of one item": stream(lambda n: {"type": "response.function_call_arguments.done", "call_id": f"c{n}", "item_id": "i", "name": "f", "arguments": "{}"}),
        "answers": stream(lambda n: {"type": "conversation.item.added", "item": {"type": "function_call_output", "call_id": f"c{n}", "output": "x"}}),
        "responses": stream(lambda n: {"type": "response.created", **response(n)}),
        "turns": stream(lambda n: {"type": "response.created", **response(n)}, lambda n: {"type": "response.done", **response(n)}),
        "usage": stream(lambda n: {"type": "response.done", **response(n, usage={"input_token_details": {f"t{n}_tokens": 1 << 52}})}),
        "items of one response": stream(lambda n: {"type": "response.output_text.done", "response_id": "r", "item_id": f"i{n}", "text": "word"}),
        "barge-ins": stream(lambda n: {"type": "conversation.item.truncated", "item_id": f"i{n}", "audio_end_ms": 5}),
        "speech": stream(lambda n: {"type": "input_audio_buffer.speech_started", "item_id": f"i{n}"}, lambda n: {"type": "input_audio_buffer.cleared"}),
        "sessions": stream(lambda n: {"type": "session.updated", "session": {"id": f"s{n}", "model": f"m{n}"}}),
        "audio": stream(lambda n: {"type": "response.output_audio.delta", "response_id": f"r{n}", "item_id": f"i{n}", "delta": "AAAA"}),
        "unknown": stream(lambda n: {"type": f"unknown.{n}", f"key{n}": n}),
        "errors": stream(lambda n: {"type": "error", "error": {"code": f"c{n}", "message": f"m{n}"}}),
    }  # fmt: skip


def _gemini_streams():
    return {
        "calls": lambda n: [{"toolCall": {"functionCalls": [{"id": f"c{n}", "name": f"f{n}", "args": {}}]}}],
        "cancelled calls": lambda n: [{"toolCallCancellation": {"ids": [f"c{n}"]}}],
        "pieces": lambda n: [{"toolCall": {"functionCalls": [{"id": "c", "name": "f", "willContinue": True, "partialArgs": [{"jsonPath": f"$.k{n}", "stringValue": "v"}]}]}}],
        "pieces of one text": lambda _n: [{"toolCall": {"functionCalls": [{"id": "c", "name": "f", "willContinue": True, "partialArgs": [{"jsonPath": "$.k", "stringValue": "v" * 100}]}]}}],
        "words": lambda n: [{"serverContent": {"inputTranscription": {"text": f"word {n} ", "finished": True}}}],
        "words of one turn": lambda n: [{"serverContent": {"outputTranscription": {"text": f"word {n} ", "finished": True}}}],
        "words that go on": lambda n: [{"serverContent": {"outputTranscription": {"text": f"word {n} " * 20}}}],
        "texts": lambda n: [{"serverContent": {"modelTurn": {"parts": [{"text": f"word {n} " * 20}]}}}],
        "turns": lambda _n: [{"serverContent": {"outputTranscription": {"text": "a"}}}, {"serverContent": {"turnComplete": True}}],
        "handles": lambda n: [{"sessionResumptionUpdate": {"newHandle": f"h{n}", "resumable": True}}],
        "usage": lambda n: [{"usageMetadata": {"promptTokenCount": 1 << 52, "promptTokensDetails": [{"modality": f"M{n}", "tokenCount": 1}]}}],
        "usage of one turn": lambda n: [{"serverContent": {"outputTranscription": {"text": "a"}}}, {"usageMetadata": {"promptTokensDetails": [{"modality": f"M{n}", "tokenCount": 1}]}}],
        "unknown": lambda n: [{f"unknown{n}": n}],
    }  # fmt: skip


_REMEMBERED = (
    (masking, "_name_without_secrets"), (frame_copy, "_key"), (secret_names, "_is_secret_name")
)  # fmt: skip

STREAMS = [(OpenAI, name, stream) for name, stream in _openai_streams().items()] + [
    (Gemini, name, stream) for name, stream in _gemini_streams().items()
]


@pytest.mark.parametrize(
    ("protocol", "name", "stream"),
    STREAMS,
    ids=[f"{p.__module__.split('.')[1]}-{name}" for p, name, _ in STREAMS],
)
def test_what_never_repeats_is_not_kept(connect, kept, monkeypatch, protocol, name, stream):  # noqa: PLR0917
    # The bounds are the same in their kind as the real ones, and sooner reached.
    monkeypatch.setattr(settings, "SPAN_BUDGET", 200)
    monkeypatch.setattr(settings, "SPAN_LIMIT", 400)
    monkeypatch.setattr(settings, "ROOT_TRANSCRIPT_CHARACTERS", 60_000)
    monkeypatch.setattr(turns, "_LONGEST_TEXT", 20_000)
    monkeypatch.setattr(function_calls, "_LONGEST_ARGUMENT", 20_000)
    # Which names are those of secrets, and which ids have none, is remembered of the last few thousand, in the process.
    for module, name_of_cache in _REMEMBERED:
        whole = getattr(module, name_of_cache).__wrapped__
        monkeypatch.setattr(module, name_of_cache, functools.lru_cache(200)(whole))
    connection = connect(protocol)
    numbers = count()

    def tell(times):
        for _ in range(times):
            n = next(numbers)
            for frame in stream(n):
                connection.received(json.dumps(frame).encode() if protocol is OpenAI else frame)
        connection.conversation.flush()

    tracemalloc.start()
    try:
        tell(1_500)
        kept.spans.clear()
        before, _ = tracemalloc.get_traced_memory()
        tell(1_500)
        kept.spans.clear()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_500 * 30, f"{(after - before) / 1_500:.0f} bytes stay of each"
