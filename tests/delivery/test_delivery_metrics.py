"""What delivery adds to the metrics: what a call cost, what waits, what was dropped, and calls whose process died."""

from __future__ import annotations

import pytest
from measured import measuring
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery import FolderSpanProcessor
from voicespan.delivery.encoding import cost
from voicespan.delivery.encoding.cost import ConversationCost
from voicespan.delivery.encoding.langsmith_spans import set_attributes
from voicespan.delivery.spool import recovery
from voicespan.runtime.measurements import SHARED

MODEL = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-realtime"}


@pytest.fixture
def voice(manual):
    return manual()


@pytest.fixture
def measured():
    with measuring() as found:
        yield found


def test_what_a_call_cost_is_measured_once_however_many_destinations_find_it_out(measured, voice):
    pytest.importorskip("genai_prices")
    assert cost.is_available()
    voice.conversation().end()
    for _ in range(2):
        root = Span(trace_id=bytes(15) + b"1", span_id=bytes(7) + b"1")
        set_attributes(root, {**MODEL, "langsmith.metadata.duration_s": 60.0})
        made = Span()
        tokens = {"input_tokens": 1000, "output_tokens": 0}
        usage = {f"gen_ai.usage.{name}": count for name, count in tokens.items()}
        set_attributes(made, {**MODEL, **usage, "langsmith.usage_metadata": "{}"})
        whole = ConversationCost()
        whole.add(made)
        whole.add_to_root(root)
    assert measured.of("voicespan.call.cost") == [(MODEL, 0.004)]
    [point] = measured.points("voicespan.call.cost")
    assert point.count == 1


def test_conversations_that_wait_are_seen_until_they_are_delivered(measured, voice, langsmith_server):
    conversation = voice.conversation()
    assert measured.of("voicespan.spool.waiting") == [({}, 0)]
    voice.finish(conversation)
    assert measured.of("voicespan.spool.waiting") == [({}, 1)]
    voice.send()
    assert langsmith_server.roots
    assert measured.of("voicespan.spool.waiting") == [({}, 0)]


def test_what_was_dropped_is_counted_as_on_the_root(measured, voice, langsmith_server):
    conversation = voice.conversation()
    [trace] = [each for traces in voice.processor._traces._traces.values() for each in traces]
    trace.drop(3)
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].metadata["dropped_spans"] == 3
    assert measured.of("voicespan.dropped") == [({}, 3)]


def test_a_call_whose_process_died_is_measured_when_its_root_is_rebuilt(measured, voice):
    conversation = voice.conversation()
    with conversation.use():
        call = voice.tracer.start_span(
            "function_call: look_up",
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "look_up",
                "langsmith.metadata.event_type": "x",
            },
        )
    voice.clock.advance(30)
    voice.write()
    assert measured.of("voicespan.call.duration") == []
    [entry] = voice.pipeline.writer._entries.values()
    for _ in range(2):
        recovery.finish(entry.folder, hide_recording=False)
    [(attributes, _)] = measured.of("voicespan.call.duration")
    assert attributes == {"voicespan.outcome": "process ended", "error.type": "process_ended"}
    [(tool, _)] = measured.of("gen_ai.execute_tool.duration")
    assert tool == {"gen_ai.tool.name": "look_up", "error.type": "process_ended"}
    call.end()


def test_two_destinations_that_rebuild_the_same_call_count_it_once(measured, voice, tmp_path):
    kept = FolderSpanProcessor(tmp_path / "kept")
    kept._clock = voice.clock
    voice.provider.add_span_processor(kept)
    voice.conversation()
    voice.clock.advance(3)
    voice.write()
    kept._running().writer.step()
    for pipeline in (voice.pipeline, kept._running()):
        [entry] = pipeline.writer._entries.values()
        recovery.finish(entry.folder, hide_recording=False)
    assert [point.count for point in measured.points("voicespan.call.duration")] == [1]
    kept.shutdown()


def test_what_has_ended_is_counted_before_the_process_has(measured, agent):
    """At exit the meter provider may export for the last time before the processor is told to end."""
    running = agent()
    conversation = running.conversation()
    [trace] = [each for traces in running.processor._traces._traces.values() for each in traces]
    trace.drop(3)
    conversation.end()
    SHARED._catch_up()
    assert measured.of("voicespan.dropped") == [({}, 3)]


def test_nobody_who_listens_means_that_an_exit_waits_for_nothing(agent, monkeypatch):
    running = agent()
    running.conversation().end()
    monkeypatch.setattr(type(running.processor), "catch_up", lambda *_: pytest.fail("it was waited for"))
    SHARED._catch_up()
