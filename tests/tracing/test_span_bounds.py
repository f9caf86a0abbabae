"""Bounds: how many spans a trace has, how large one is, and what stands in it when it would be larger."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode
from span_content import came, given

from voicespan.protocol import events
from voicespan.runtime import settings
from voicespan.runtime.settings import Level
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation

META = "langsmith.metadata."


@pytest.fixture
def record(tracer_provider, span_exporter):
    """Tell a conversation these moments; its spans."""

    def tell(*told, provider=tracer_provider, **kwargs):
        conversation = Conversation(tracer_provider=provider, **kwargs)
        conversation.lifecycle.ingest(told)
        conversation.end()
        return span_exporter.get_finished_spans()

    return tell


def event(name, level=Level.STANDARD, payload=None):
    return events.ProviderEvent(1, name, level, payload or {})


def size(span):
    return sum(len(key.encode()) + len(str(value).encode()) for key, value in span.attributes.items())


def test_past_the_budget_only_essential_spans_are_kept_and_the_rest_is_counted(record, monkeypatch):
    monkeypatch.setattr(settings, "SPAN_BUDGET", 3)
    monkeypatch.setattr(settings, "SPAN_LIMIT", 5)
    said = [events.TranscriptCompleted(n, "t", "user", f"u{n}", n, "words") for n in range(4)]
    spans = record(*[event("rate_limits.updated")] * 5, event("session.updated", Level.ESSENTIAL), *said)
    names = [span.name for span in spans]
    assert names == ["rate_limits.updated"] * 3 + ["session.updated", "input_transcription", "conversation"]
    root = spans[-1]
    assert root.attributes[META + "dropped_spans"] == 5
    # What has no span of its own is still in the transcript.
    assert "words" in str(given(root)) + str(came(root))


def test_the_real_budget_leaves_room_below_what_langsmith_takes():
    assert settings.SPAN_BUDGET == 20_000
    assert settings.SPAN_BUDGET < settings.SPAN_LIMIT < 25_000


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "x" * 500_000},
        {"items": [{"text": "y" * 900, "n": n} for n in range(5_000)]},
        {f"key {n}": "z" * 100 for n in range(50_000)},
        {"text": "ü€😀" * 100_000},
        {"deep": [[["w" * 1_000] * 20] * 20] * 20},
    ],
)
def test_a_child_span_stays_under_its_limit_and_its_json_stays_whole(record, payload):
    child, _ = record(event("large.event", payload=payload))
    assert 1_000 < size(child) < 64_000
    text = child.attributes[semconv.OUTPUT_VALUE]
    json.loads(text)
    assert "cut]" in text or "left out" in text or " more" in text or "[deeper]" in text


def test_a_call_with_large_arguments_and_a_large_result_stays_under_it_too(record):
    spans = record(
        events.FunctionCalled(1, "t", "c1", "tool", json.dumps({"text": "a" * 300_000})),
        events.FunctionAnswered(2, "t", "c1", "b" * 300_000),
    )
    tool = next(span for span in spans if span.name == "function_call: tool")
    assert size(tool) < 64_000
    assert given(tool)["text"].startswith("aaa")
    assert came(tool)["text"].startswith("bbb")


@pytest.mark.parametrize("length", [200, 1_000])
def test_the_sdks_own_limit_never_cuts_our_json(span_exporter, record, length):
    provider = TracerProvider(
        span_limits=SpanLimits(max_span_attribute_length=length), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(span_exporter))
    said = [events.TranscriptCompleted(n, "t", "user", f"u{n}", n, "word " * 200) for n in range(30)]
    spans = record(
        event("e", payload={"text": "x" * 5_000}),
        *said,
        provider=provider,
        metadata={"x": {"y": "z" * 9_000}},
    )
    for span in spans:
        for key, value in span.attributes.items():
            assert len(str(value)) <= length, key
            if str(value).startswith("{"):
                json.loads(value)


def test_at_most_sixty_attributes(record):
    usage = events.Usage(1, 2, 3, {f"in_{n}": n for n in range(20)}, {f"out_{n}": n for n in range(20)})
    facts = {f"fact_{n}": n for n in range(30)}
    turn, root = record(
        events.GenerationEnded(
            1, "t", "r1", "completed", None, "text", (), usage, 1, had_speech=True, facts=facts
        ),
        metadata={f"key_{n}": n for n in range(40)},
    )
    assert len(turn.attributes) <= 60
    # The root has the application's forty besides; the SDK drops the oldest from 128 on.
    assert len(root.attributes) <= 110


def test_values_that_no_exporter_can_encode_do_not_get_that_far(record):
    child, root = record(
        event("e", payload={"text": "\ud800", "n": float("nan"), "i": float("inf"), "o": object()}),
        metadata={"lone": "\udfff", "nan": float("nan"), "big": 1 << 80, "object": object()},
    )
    for span in (child, root):
        for value in span.attributes.values():
            str(value).encode()
    assert came(child) == {
        "text": "\ufffd",
        "n": "nan",
        "i": "inf",
        "o": "[object]",
    }
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    assert encode_spans([child, root]).SerializeToString()


def test_an_error_is_a_status_and_an_event_always_both(record):
    child, root = record(events.ErrorReported(1, "error", events.WireError("rate_limited", "too many")))
    assert child.status.status_code is StatusCode.ERROR
    assert [occurred.name for occurred in child.events] == ["exception"]
    assert child.attributes["error.type"] == "rate_limited"
    assert root.status.status_code is StatusCode.UNSET


def test_what_the_redaction_returns_is_what_is_stored(record, monkeypatch):
    seen = set()  # with a letter, for an id or a time may have any digits

    def redact(text, *, role, place):
        seen.add((role, place))
        return text.replace("Q4111", "Q****")

    monkeypatch.setattr(settings, "_redact", redact)
    spans = record(
        events.TranscriptCompleted(1, "t", "user", "u1", 1, "my card is Q4111"),
        events.FunctionCalled(2, "t", "c1", "pay", '{"card": "Q4111"}'),
        events.FunctionAnswered(3, "t", "c1", "paid with Q4111"),
        events.ErrorReported(4, "error", events.WireError("e", "bad Q4111")),
        event("e", payload={"note": "Q4111", "type": "e"}),
        metadata={"card": "Q4111"},
    )
    assert not any("Q4111" in span.to_json() for span in spans)
    assert {
        ("user", "transcript"),
        ("assistant", "arguments"),
        ("tool", "result"),
        ("assistant", "event"),
    } < seen


def test_a_redaction_that_fails_withholds_the_text(record, monkeypatch):
    def redact(text, *, role, place):
        raise KeyError(text)

    monkeypatch.setattr(settings, "_redact", redact)
    spans = record(events.TranscriptCompleted(1, "t", "user", "u1", 1, "secret words"))
    assert not any("secret words" in span.to_json() for span in spans)
    assert "[withheld]" in str(given(spans[0]))


@pytest.mark.parametrize(
    "payload",
    [
        {"authorization": "Bearer abcdefgh12345678"},
        {"session": {"tools": [{"type": "mcp", "headers": {"X-Key": "abcdefgh12345678"}}]}},
        {"client_secret": {"value": "abcdefgh12345678"}},
        {"text": "use Bearer abcdefgh12345678 for it"},
        {"text": "my key is sk-proj-abcdefgh12345678"},
        {"access_token": "abcdefgh12345678"},
        {"nested": [{"api_key": "abcdefgh12345678"}]},
    ],
)
def test_no_secret_gets_onto_a_span(record, payload):
    spans = record(event("e", payload=payload), metadata={"x": payload})
    assert not any("abcdefgh12345678" in span.to_json() for span in spans)


def test_what_waits_is_bounded_whatever_comes(tracer_provider, span_exporter):
    """Hours of frames that nothing follows: calls without answers, cuts without answers, words without an answer."""
    conversation = Conversation(tracer_provider=tracer_provider)
    for n in range(3_000):
        conversation.lifecycle.ingest([
            events.FunctionCalled(n, "t", f"c{n}", "tool", "{}"),
            events.Interrupted(n, "t", f"r{n}", None, "t"),
            events.MessageText(n, "t", f"m{n}", "user", "words", seeded=True),
            events.GenerationEnded(n, "t", f"g{n}", "completed", None, None, (), None, None, had_speech=False),
        ])  # fmt: skip
    spans = conversation.lifecycle.spans
    assert len(spans.calls._open) <= 256
    assert len(spans._barge_ins._waiting) <= 10
    assert len(spans._turns._inputs) <= 1_000
    assert len(spans._turns._waiting) <= 10
    conversation.end()
    names = [span.name for span in span_exporter.get_finished_spans()]
    assert (
        names.count("function_call: tool")
        == names.count("interrupted")
        == names.count("turn_complete")
        == 3_000
    )
