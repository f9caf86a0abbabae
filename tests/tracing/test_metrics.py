"""OpenTelemetry metrics: what conversations are measured by, from the spans that they write, through the real SDK."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from measured import measuring, stop
from opentelemetry import metrics as api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import voicespan
from voicespan.distro.instrumentors import INSTRUMENTORS
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol
from voicespan.protocol.events import Interrupted
from voicespan.recording.timeline.track import MS
from voicespan.recording.timeline.user_track import UserTrack
from voicespan.runtime import measurements
from voicespan.runtime.measurements import SHARED, LoopBlocked
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.metrics import provider as meters
from voicespan.tracing.metrics.instruments import COUNTERS, DISTRIBUTIONS

ORIGIN = 10**12
MODEL = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-realtime"}
#: None of them names a conversation, a person or a span.
ATTRIBUTES = {
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.operation.name",
    "gen_ai.token.type",
    "gen_ai.token.modality",
    "gen_ai.tool.name",
    "error.type",
    "voicespan.basis",
    "voicespan.outcome",
}
USAGE = {
    "total_tokens": 190,
    "input_tokens": 100,
    "input_token_details": {
        "text_tokens": 30,
        "audio_tokens": 70,
        "cached_tokens": 40,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 30},
    },
    "output_tokens": 90,
    "output_token_details": {"text_tokens": 20, "audio_tokens": 60},
}


@pytest.fixture(autouse=True)
def _nobody_listens():
    yield
    stop()


@pytest.fixture
def measured():
    with measuring() as found:
        yield found


class Call:
    """A call with OpenAI Realtime, frame by frame."""

    def __init__(self, provider, clock, model="gpt-realtime"):
        self.clock = clock
        self.conversation = Conversation(tracer_provider=provider, clock=clock)
        attributes = {**MODEL, "gen_ai.request.model": model}
        self.connection = self.conversation.connect(Protocol(), attributes, kind=RealtimeConnection)

    def server(self, kind, *, after=0.0, **fields):
        self.clock.advance(after)
        self.connection.received(json.dumps({"type": kind, "event_id": "e", **fields}).encode())
        return self

    def asked(self, item="u1"):
        self.server("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        self.server("input_audio_buffer.speech_stopped", after=1, item_id=item, audio_end_ms=1000)
        return self.server("input_audio_buffer.committed", item_id=item, previous_item_id=None)

    def answered(self, response="r1", status="completed", output=None, **fields):
        said = {"id": f"a_{response}", "type": "message", "role": "assistant", "status": "completed"}
        said["content"] = [{"type": "output_audio", "transcript": "It is foggy."}]
        self.server("response.created", after=0.5, response={"id": response, "output": []})
        done = {"id": response, "status": status, "output": [said] if output is None else output, **fields}
        return self.server("response.done", after=2, response=done)

    def end(self):
        self.connection.closed(1000)
        return self


def test_a_call_of_a_model_is_measured_with_its_tokens_by_modality(measured, tracer_provider, fake_clock):
    Call(tracer_provider, fake_clock).asked().answered(usage=USAGE).end()
    same = {**MODEL, "gen_ai.operation.name": "chat"}
    assert measured.of("gen_ai.client.operation.duration") == [(same, 2.0)]
    tokens = {
        (point["gen_ai.token.type"], point["gen_ai.token.modality"]): count
        for point, count in measured.of("gen_ai.client.token.usage")
    }
    # What was cached is a part of its modality; what nobody names is the rest of the total.
    assert tokens == {
        ("input", "text"): 30,
        ("input", "audio"): 70,
        ("output", "text"): 20,
        ("output", "audio"): 60,
        ("output", "unknown"): 10,
    }


def test_a_call_is_counted_as_its_root_counts_it(measured, tracer_provider, fake_clock):
    call = Call(tracer_provider, fake_clock).asked().answered().asked("u2")
    call.answered("r2", "failed", [], status_details={"type": "failed", "error": {"code": "server_error"}})
    call.end()
    assert measured.of("voicespan.answers") == [
        ({**MODEL, "voicespan.outcome": "completed"}, 1),
        ({**MODEL, "voicespan.outcome": "failed"}, 1),
    ]
    assert measured.of("voicespan.call.duration") == [({**MODEL, "voicespan.outcome": "completed"}, 7.0)]
    [failed] = [
        point for point, _ in measured.of("gen_ai.client.operation.duration") if "error.type" in point
    ]
    assert failed["error.type"] == "server_error"


def test_a_function_is_measured_by_its_name(measured, tracer_provider, fake_clock):
    asked = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look_up", "arguments": "{}"}
    call = Call(tracer_provider, fake_clock).asked().answered(output=[asked])
    fake_clock.advance(1.5)
    item = {"type": "function_call_output", "call_id": "c1", "output": "fog"}
    call.connection.sent(json.dumps({"type": "conversation.item.create", "item": item}))
    call.server("conversation.item.added", item={"id": "o1", **item}).end()
    assert measured.of("gen_ai.execute_tool.duration") == [({**MODEL, "gen_ai.tool.name": "look_up"}, 1.5)]


GAP = {"response_gap_ms": 640.0, "response_gap_basis": "app"}


def test_the_response_gap_says_who_knows_it_and_is_absent_where_nobody_does(
    measured, tracer_provider, fake_clock
):
    call = Call(tracer_provider, fake_clock)
    with call.conversation.lifecycle.lock:
        writer = call.conversation.lifecycle.spans._writer
    chat = {**MODEL, "gen_ai.operation.name": "chat"}
    at = fake_clock.monotonic_ns()
    for facts in (GAP, {}):
        event = Interrupted(at, "x", "r", None, "x")
        writer.write("turn_complete", event, facts=facts, attributes=chat)
    writer.write(
        "interrupted",
        Interrupted(at, "x", "r", None, "x"),
        facts={"barge_in_ms": 160.5, "barge_in_basis": "wire"},
    )
    call.end()
    assert measured.of("voicespan.response.gap") == [({**MODEL, "voicespan.basis": "app"}, 0.64)]
    assert measured.of("voicespan.barge_in.duration") == [({**MODEL, "voicespan.basis": "wire"}, 0.1605)]
    assert [point.count for point in measured.points("voicespan.response.gap")] == [1]


def test_buckets_units_and_names_are_those_of_the_table(measured, tracer_provider, fake_clock):
    asked = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look_up", "arguments": "{}"}
    Call(tracer_provider, fake_clock).asked().answered(usage=USAGE, output=[asked]).end()
    SHARED.put(LoopBlocked(0.2))
    metrics = measured.metrics
    for each in DISTRIBUTIONS:
        if each.name in metrics:
            assert metrics[each.name].unit == each.unit
            bounds = metrics[each.name].data.data_points[0].explicit_bounds
            assert tuple(bounds) == each.buckets == tuple(sorted(each.buckets))
    known = (
        {each.name for each in DISTRIBUTIONS}
        | {name for name, _, _ in COUNTERS}
        | {"voicespan.spool.waiting"}
    )
    assert {"gen_ai.client.operation.duration", "voicespan.call.duration", "voicespan.loop.blocked"} <= set(
        metrics
    )
    assert set(metrics) <= known


def test_no_attribute_is_an_id_and_none_has_values_without_end(measured, tracer_provider, fake_clock):
    for number in range(150):
        Call(tracer_provider, fake_clock, model=f"made-up-{number}").asked().answered(usage=USAGE).end()
    for name, metric in measured.metrics.items():
        for point in metric.data.data_points:
            assert set(point.attributes) <= ATTRIBUTES, name
    models = {point["gen_ai.request.model"] for point, _ in measured.of("voicespan.call.duration")}
    assert len(models) == 101
    assert "_OTHER" in models
    # The other fifty are one series.
    assert sum(point.count for point in measured.points("voicespan.call.duration")) == 150


def test_an_exemplar_leads_to_the_span(measured, tracer_provider, fake_clock, span_exporter):
    Call(tracer_provider, fake_clock).asked().answered(usage=USAGE).end()
    spans = {span.name: span.context for span in span_exporter.get_finished_spans()}
    metrics = measured.metrics
    for name, span in (
        ("gen_ai.client.operation.duration", "turn_complete"),
        ("voicespan.call.duration", "conversation"),
    ):
        [exemplar] = [each for point in metrics[name].data.data_points for each in point.exemplars]
        assert (exemplar.trace_id, exemplar.span_id) == (spans[span].trace_id, spans[span].span_id)


def test_a_cascade_is_measured_model_by_model(measured, tracer_provider, fake_clock):
    conversation = Conversation(tracer_provider=tracer_provider, clock=fake_clock)
    with conversation.llm(model="m", provider="p", messages=[{"role": "user", "content": "hi"}]) as llm:
        fake_clock.advance(0.75)
        llm.output("hello")
        llm.usage(input_tokens=7, output_tokens=2)
    with conversation.tts(model="t", provider="q", text="hello"):
        fake_clock.advance(0.25)
    conversation.end()
    durations = {
        (
            point["gen_ai.operation.name"],
            point["gen_ai.request.model"],
            point["gen_ai.provider.name"],
        ): seconds
        for point, seconds in measured.of("gen_ai.client.operation.duration")
    }
    assert durations == {("chat", "m", "p"): 0.75, ("text_to_speech", "t", "q"): 0.25}
    assert [count for _, count in measured.of("gen_ai.client.token.usage")] == [7, 2]
    assert measured.of("voicespan.answers") == [({"voicespan.outcome": "completed"}, 1)]


def test_without_a_meter_provider_nothing_is_kept_and_no_thread_begins(tracer_provider, fake_clock):
    Call(tracer_provider, fake_clock).asked().answered(usage=USAGE).end()
    assert not SHARED._waiting
    assert SHARED._loop is None


def test_a_global_provider_is_found_by_the_next_conversation(monkeypatch, tracer_provider, fake_clock):
    Call(tracer_provider, fake_clock).end()
    with measuring() as found:
        meters.name_provider(None)
        monkeypatch.setattr(api, "get_meter_provider", lambda: found.provider)
        Call(tracer_provider, fake_clock).end()
        assert [point.count for point in found.points("voicespan.call.duration")] == [1]
        monkeypatch.undo()
        Call(tracer_provider, fake_clock).end()
        assert SHARED._loop is None


def test_a_provider_that_does_nothing_costs_nothing(monkeypatch, tracer_provider, fake_clock):
    monkeypatch.setattr(api, "get_meter_provider", api.NoOpMeterProvider)
    Call(tracer_provider, fake_clock).end()
    assert SHARED._loop is None


def test_a_span_that_is_not_sampled_is_not_measured(measured, fake_clock):
    Call(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), fake_clock).asked().answered().end()
    assert measured.of("gen_ai.client.operation.duration") == []


def test_more_than_fits_is_dropped_and_said(measured, tracer_provider, fake_clock, monkeypatch, caplog):
    monkeypatch.setattr(measurements, "MOST_WAITING", 3)
    Call(tracer_provider, fake_clock)
    monkeypatch.setattr(SHARED._loop, "wake", lambda *_, **__: None)
    for _ in range(10):
        SHARED.put(LoopBlocked(0.1))
    assert len(SHARED._waiting) <= 3
    SHARED.drain(1)
    assert "are missing from the metrics" in caplog.text


def test_a_provider_that_fails_does_not_reach_the_application(tracer_provider, fake_clock, monkeypatch):
    monkeypatch.setattr("voicespan.runtime.guard.reraise", False)

    class Broken(api.NoOpMeterProvider):
        def get_meter(self, *_, **__):
            raise RuntimeError("no meter")

    Broken.__module__ = "theirs"
    meters.name_provider(Broken())
    Call(tracer_provider, fake_clock).asked().answered().end()
    SHARED.drain(1)


@pytest.mark.parametrize(
    ("handed", "blocked"),
    [
        ([n * 20 for n in range(10)] + [500] * 15 + [n * 20 for n in range(26, 40)], [0.3]),
        # Seconds, and the stream is live again.
        ([n * 20 for n in range(20)] + [2400] * 100 + [2400 + n * 20 for n in range(40)], [2.0]),
        # The user said nothing, and the client sent nothing.
        ([n * 20 for n in range(10)] + [2000 + n * 20 for n in range(40)], []),
        # A client that keeps the beginning of a word back.
        ([n * 20 for n in range(10)] + [2000] * 15 + [2000 + n * 20 for n in range(40)], []),
        # What was said while the socket was opened.
        ([0] * 50 + [n * 20 for n in range(40)], []),
    ],
)
def test_a_blocked_event_loop_is_seen_by_the_audio_that_it_did_not_take(handed, blocked, monkeypatch):
    seen = []
    monkeypatch.setattr(SHARED, "put", seen.append)
    side = UserTrack(ORIGIN)
    for at in handed:
        side.place(ORIGIN + at * MS, 320, 8_000, "pcm16")
    assert [round(each.seconds, 2) for each in seen] == blocked


def test_it_can_be_given_in_three_ways(tracer_provider, fake_clock, monkeypatch, tmp_path):
    for give in (
        lambda given: voicespan.configure(
            tracer_provider=tracer_provider, meter_provider=given, folder=tmp_path
        ),
        lambda given: voicespan.FolderSpanProcessor(tmp_path, meter_provider=given),
        lambda given: voicespan.LangSmithSpanProcessor(api_key="k", meter_provider=given),
        lambda given: OpenAIRealtimeInstrumentor()._configure({"meter_provider": given}),
    ):
        with measuring() as found:
            meters.name_provider(None)
            give(found.provider)
            assert meters.named_provider() is found.provider
    for instrumentor in INSTRUMENTORS:
        instrumentor().uninstrument()


def test_a_child_process_counts_nothing_of_its_parent(measured, tracer_provider, fake_clock):
    Call(tracer_provider, fake_clock)
    with SHARED._recording:
        SHARED.put(LoopBlocked(0.1))
        SHARED.reset_after_fork()
    assert not SHARED._waiting
    assert not SHARED._recording.locked()


def test_every_instrument_and_attribute_is_on_the_page_with_its_unit():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, unit in [(each.name, each.unit) for each in DISTRIBUTIONS] + [each[:2] for each in COUNTERS]:
        assert re.search(
            rf"^\| `{re.escape(name)}` \| (histogram|counter), `{re.escape(unit)}` \|", text, re.MULTILINE
        ), name
    assert [name for name in sorted(ATTRIBUTES) if f"`{name}`" not in text] == []


def test_who_asks_gets_what_is_known_by_then(measured, tracer_provider, fake_clock, monkeypatch):
    """A process that ends a moment after its call, say: its provider is asked for the last time."""
    Call(tracer_provider, fake_clock)
    monkeypatch.setattr(SHARED._loop, "wake", lambda: None)
    SHARED.put(LoopBlocked(0.25))
    collected = measured.reader.get_metrics_data()
    names = {
        metric.name
        for resource in collected.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert "voicespan.loop.blocked" in names


@pytest.mark.parametrize("operation", ["user_speech", "invoke_agent"])
def test_what_is_no_call_of_a_model_is_not_measured_as_one(measured, tracer_provider, fake_clock, operation):
    call = Call(tracer_provider, fake_clock)
    writer = call.conversation.lifecycle.spans._writer
    event = Interrupted(fake_clock.monotonic_ns(), "x", "r", None, "x")
    writer.write("user_speech", event, attributes={"gen_ai.operation.name": operation})
    call.end()
    assert measured.of("gen_ai.client.operation.duration") == []


def test_with_the_drafts_names_a_generation_is_measured_under_its_operation(
    measured, tracer_provider, fake_clock, monkeypatch
):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    Call(tracer_provider, fake_clock).asked().answered(usage=USAGE).end()
    [(point, seconds)] = measured.of("gen_ai.client.operation.duration")
    assert (point["gen_ai.operation.name"], seconds) == ("realtime_inference", 2.0)
    assert sum(count for _, count in measured.of("gen_ai.client.token.usage")) == 190


def test_when_nobody_listens_any_more_nothing_is_kept(measured, tracer_provider, fake_clock, monkeypatch):
    Call(tracer_provider, fake_clock)
    monkeypatch.setattr(SHARED._loop, "wake", lambda: None)
    SHARED.put(LoopBlocked(0.1))
    stop()
    assert not SHARED._waiting
    # One that was on its way meanwhile.
    SHARED._waiting.append(LoopBlocked(0.1))
    SHARED.drain(1)
    assert not SHARED._waiting
