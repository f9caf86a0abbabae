"""Which spans are delivered, and how their copies differ from them."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from voicespan.delivery import LangSmithSpanProcessor, traces
from voicespan.distro.configure import add_once, configure
from voicespan.testing import LangSmithServer

OTHER = trace.SpanContext(trace_id=7, span_id=8, is_remote=False)


def named(server):
    return sorted(run.name for run in server.runs)


def test_spans_outside_of_conversations_stay_here(agent, langsmith_server):
    voice = agent()
    with voice.provider.get_tracer("the-app").start_as_current_span("request"):
        conversation = voice.conversation()
        conversation.end()
    assert voice.deliver()
    assert named(langsmith_server) == ["conversation"]


def test_export_all_sends_them_too(agent, langsmith_server):
    voice = agent(export="all")
    with voice.provider.get_tracer("the-app").start_as_current_span("request"):
        voice.conversation().end()
    assert voice.deliver()
    assert named(langsmith_server) == ["conversation", "request"]


def test_export_knows_two_words(agent):
    with pytest.raises(ValueError, match="conversations"):
        agent(export="everything")


def test_the_applications_spans_below_the_root_name_the_thread_on_the_copy_alone(agent, langsmith_server):
    voice = agent()
    elsewhere = InMemorySpanExporter()
    voice.provider.add_span_processor(SimpleSpanProcessor(elsewhere))
    conversation = voice.conversation(thread_id="caller-7")
    voice.child(conversation, "lookup", tracer=voice.provider.get_tracer("the-app"))
    conversation.end()
    assert voice.deliver()
    [copy] = langsmith_server.roots[0].children
    assert copy.thread_id == "caller-7"
    [span] = [span for span in elsewhere.get_finished_spans() if span.name == "lookup"]
    assert dict(span.attributes) == {}
    # Nor is the root changed.
    [root] = [span for span in elsewhere.get_finished_spans() if span.name == "conversation"]
    assert not {"langsmith.root_span", "langsmith.metadata.ls_audio_attach_status"} & set(root.attributes)


def test_a_nested_conversation_is_a_tree_of_its_own_in_langsmith(agent, langsmith_server, monkeypatch):
    """VOICESPAN_PARENT=child: LangSmith would wait for ever for the parent of such a root."""
    monkeypatch.setenv("VOICESPAN_PARENT", "child")
    voice = agent()
    app = voice.provider.get_tracer("the-app")
    with app.start_as_current_span("request") as request:
        conversation = voice.conversation()
        voice.child(conversation, "turn_complete")
        tool = voice.child(conversation, "tool", tracer=app)
        with trace.use_span(tool, end_on_exit=False):
            app.start_span("grandchild").end()
        conversation.end()
        app.start_span("beside").end()
    assert voice.deliver()
    assert named(langsmith_server) == ["conversation", "grandchild", "tool", "turn_complete"]
    [root] = langsmith_server.roots
    assert root.metadata["parent_span_id"] == trace.format_span_id(request.get_span_context().span_id)
    assert root.otel_trace_id == trace.format_trace_id(request.get_span_context().trace_id)
    assert langsmith_server.waiting == []


def test_two_conversations_in_one_trace_are_kept_apart(agent, langsmith_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_PARENT", "child")
    voice = agent()
    with voice.provider.get_tracer("the-app").start_as_current_span("request"):
        first, second = voice.conversation(), voice.conversation()
        voice.child(first, "turn_complete")
        voice.child(second, "interrupted")
        first.end()
        second.end()
    assert voice.deliver()
    assert {root.id: [child.name for child in root.children] for root in langsmith_server.roots} == {
        first.run_id: ["turn_complete"],
        second.run_id: ["interrupted"],
    }


def test_a_conversation_inside_another_is_a_tree_of_its_own(agent, langsmith_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_PARENT", "child")
    voice = agent()
    outer = voice.conversation()
    with outer.use():
        inner = voice.conversation()
    voice.child(inner, "interrupted")
    voice.child(outer, "turn_complete")
    inner.attach_recording(b"inner", "audio/ogg")
    inner.end()
    outer.end()
    assert voice.deliver()
    assert {root.id: [child.name for child in root.children] for root in langsmith_server.roots} == {
        inner.run_id: ["interrupted"],
        outer.run_id: ["turn_complete"],
    }
    assert langsmith_server.run(inner.run_id).attachments["conversation"].content == b"inner"


def test_a_child_that_starts_while_its_root_ends_opens_no_second_folder(manual, langsmith_server, spool_dir):
    voice = manual()
    conversation = voice.conversation()
    trace_of_it = voice.processor._traces.of(conversation.lifecycle.root.span)
    voice.finish(conversation)
    # What a thread does that looked whether the root is open a moment before it ended.
    voice.pipeline.started(trace_of_it)
    voice.write()
    voice.send()
    assert list(spool_dir.iterdir()) == []


def test_nothing_is_taken_after_the_shutdown(agent, langsmith_server, spool_dir):
    voice = agent(export="all")
    voice.conversation().end()
    voice.processor.shutdown()
    voice.conversation().end()
    with voice.provider.get_tracer("the-app").start_as_current_span("request"):
        pass
    assert voice.deliver()
    assert named(langsmith_server) == ["conversation"]
    assert list(spool_dir.iterdir()) == []


def test_the_applications_spans_that_end_after_the_root_follow_it(manual, langsmith_server, spool_dir):
    voice = manual()
    app = voice.provider.get_tracer("the-app")
    conversation = voice.conversation(thread_id="caller-8")
    with conversation.use():
        late, too_late = app.start_span("late"), app.start_span("too-late")
    voice.finish(conversation)
    voice.clock.advance(3500)
    late.end()
    voice.write()
    voice.clock.advance(3)
    voice.write()
    voice.send()
    voice.send()
    assert [run.name for run in langsmith_server.roots[0].children] == ["late"]
    assert langsmith_server.roots[0].children[0].thread_id == "caller-8"

    voice.clock.advance(200)
    voice.conversation()
    too_late.end()
    assert voice.processor._traces.of(too_late) is None


def test_little_is_kept_for_the_hour_that_late_spans_have(manual):
    voice = manual()
    conversation = voice.conversation()
    kept = [weakref.ref(each) for each in (conversation, conversation.deliveries[0])]
    voice.finish(conversation)
    del conversation
    gc.collect()
    assert [each() for each in kept] == [None, None]
    assert len(voice.processor._traces._ended) == 1


def test_of_what_is_complete_the_garbage_collector_has_nothing_to_look_through(manual):
    voice = manual()
    for _ in range(3):
        voice.finish(voice.conversation())
        voice.send()
    voice.conversation()
    gc.collect()  # what holds numbers and texts alone is found out then
    traces = voice.processor._traces
    assert len(traces._past) == 3
    assert not any(map(gc.is_tracked, (*traces._past.values(), *traces._ended)))


@pytest.mark.parametrize("others", [0, 1], ids=["of all of it", "of what is kept"])
def test_spans_that_start_after_the_root_has_ended_follow_it(manual, langsmith_server, others):
    voice = manual()
    conversation = voice.conversation(thread_id="caller-8")
    ended = trace.set_span_in_context(
        trace.NonRecordingSpan(conversation.lifecycle.root.span.get_span_context())
    )
    voice.finish(conversation)
    voice.send()
    for _ in range(others):
        voice.conversation()
    assert len(voice.processor._traces._past) == others
    for name in ("late", "later"):
        voice.provider.get_tracer("the-app").start_span(name, context=ended).end()
    voice.write()
    voice.clock.advance(3)
    voice.write()
    voice.send()
    late = langsmith_server.roots[0].children
    assert [(run.name, run.thread_id) for run in late] == [("late", "caller-8"), ("later", "caller-8")]
    # Both came into one folder, and so by one request after that of the conversation's.
    assert len(langsmith_server.requests) == 2


def test_what_is_kept_of_a_trace_is_enough_to_place_what_comes_late(manual):
    voice = manual()
    conversation = voice.conversation()
    whole = voice.processor._traces.of(conversation.lifecycle.root.span)
    call = voice.tracer.start_span(
        "function_call: f", context=trace.set_span_in_context(conversation.lifecycle.root.span)
    )
    assert whole.packed() is None  # it goes on
    call.end()
    voice.finish(conversation)
    again = traces.Trace.unpacked(whole.trace_id, whole.packed())
    late = SimpleNamespace(get_span_context=lambda: OTHER, start_time=call.start_time, parent=None)
    again.adopt(late)
    assert again.parents == {OTHER.span_id: call.get_span_context().span_id}
    kept = {"trace_id", "root_span_id", "started_at", "thread_id", "folder_name", "ended_at", "_kept"}
    assert whole._kept == 1
    assert {name: vars(again)[name] for name in kept} == {name: vars(whole)[name] for name in kept}


def test_late_spans_wait_for_their_root(manual, langsmith_server):
    voice = manual()
    conversation = voice.conversation()
    with conversation.use():
        late = voice.provider.get_tracer("the-app").start_span("late")
    voice.finish(conversation)
    langsmith_server.down()
    voice.send()
    late.end()
    voice.write()
    voice.clock.advance(3)
    voice.write()
    langsmith_server.up()
    voice.send_for(600)
    assert [run.name for run in langsmith_server.roots[0].children] == ["late"]
    posts = [request.status for request in langsmith_server.requests]
    assert posts == [200, 200]


def test_past_the_budget_only_the_root_and_the_essential_are_kept_and_the_rest_is_counted(
    manual, langsmith_server, monkeypatch
):
    monkeypatch.setattr(traces, "SPAN_BUDGET", 10)
    monkeypatch.setattr(traces, "SPAN_LIMIT", 15)
    voice = manual()
    app = voice.provider.get_tracer("the-app")
    conversation = voice.conversation()
    with conversation.use():
        parent = app.start_span("parent")
    with trace.use_span(parent, end_on_exit=False):
        app.start_span("its child").end()
    for _ in range(12):
        voice.child(conversation, "work", tracer=app)
    # A parent is kept: without it LangSmith would drop the child that it has.
    parent.end()
    for _ in range(8):
        voice.child(conversation, "turn_complete")
    voice.finish(conversation)
    voice.send()
    [root] = langsmith_server.roots
    kept = [run.name for _, run in langsmith_server.tree(root)]
    assert kept.count("work") == 9
    assert kept.count("turn_complete") == 4
    assert {"conversation", "parent", "its child"} <= set(kept)
    assert root.metadata["dropped_spans"] == 3 + 4
    assert langsmith_server.dropped == []


def test_what_is_not_sampled_is_not_delivered(langsmith_server, agent):
    voice = agent()
    voice.provider.sampler = ALWAYS_OFF
    conversation = voice.conversation()
    conversation.end()
    assert voice.deliver()
    assert langsmith_server.requests == []


def test_langsmiths_sampling_rate_decides_by_the_trace(agent, langsmith_server, monkeypatch):
    from langsmith._internal._sampling import is_sampled_by_id

    monkeypatch.setenv("LANGSMITH_TRACING_SAMPLING_RATE", "0.5")
    voice = agent()
    conversations = [voice.conversation() for _ in range(20)]
    for conversation in conversations:
        conversation.end()
    assert voice.deliver()
    expected = {each.run_id for each in conversations if is_sampled_by_id(each.run_id, 0.5)}
    assert {root.id for root in langsmith_server.roots} == expected
    assert all(root.metadata["ls_tracing_sample_rate"] == 0.5 for root in langsmith_server.roots)


def test_langsmith_tracing_false_switches_delivery_off(langsmith_server, agent, monkeypatch, spool_dir):
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    voice = agent(export="all")
    conversation = voice.conversation()
    conversation.attach_recording(b"sound", "audio/ogg")
    conversation.end()
    with voice.provider.get_tracer("the-app").start_as_current_span("request"):
        pass
    assert voice.deliver()
    assert langsmith_server.requests == []
    assert not spool_dir.exists()
    # Nor is a key needed then.
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    LangSmithSpanProcessor()


CONTENT = {
    "gen_ai.prompt": '{"messages": [{"role": "user", "content": "secret question"}]}',
    "gen_ai.completion": '{"messages": [{"role": "assistant", "content": "secret answer"}]}',
    "gen_ai.prompt.0.content": "secret question",
    "gen_ai.completion.0.content": "secret answer",
    "langsmith.metadata.raw_event": "secret question and secret answer",
    "langsmith.metadata.note": "a note",
    "gen_ai.usage.input_tokens": 3,
}


@pytest.mark.parametrize(
    ("what", "hidden", "shown"),
    [
        ("INPUTS", ["secret question"], ["secret answer", "a note"]),
        ("OUTPUTS", ["secret answer"], ["secret question", "a note"]),
        ("METADATA", ["a note", "audio"], ["secret question", "secret answer"]),
    ],
)
def test_what_langsmiths_variables_hide_is_not_even_written(  # noqa: PLR0917  fixtures
    manual, langsmith_server, monkeypatch, spool_dir, what, hidden, shown
):
    monkeypatch.setenv(f"LANGSMITH_HIDE_{what}", "true")
    voice = manual()
    conversation = voice.conversation()
    span = voice.child(conversation, "turn_complete", **CONTENT)
    with conversation.use():
        with voice.tracer.start_as_current_span("work") as work:
            work.add_event("gen_ai.user.message", {"content": "secret question"})
            work.add_event("gen_ai.choice", {"message.content": "secret answer"})
            work.add_event("exception", {"exception.message": "no secret"})
        voice.write()
        conversation.attach_recording(b"voices", "audio/ogg")
        conversation.lifecycle.root.span.set_attributes(CONTENT)
    voice.write()
    on_disk = b"".join(path.read_bytes() for path in spool_dir.rglob("*") if path.is_file()).decode(
        errors="replace"
    )
    voice.finish(conversation)
    voice.send()
    seen = str([(run.inputs, run.outputs, run.metadata, run.error) for run in langsmith_server.runs])
    for text in hidden:
        assert text not in seen
        assert text not in on_disk
    for text in [*shown, "no secret"]:
        assert text in seen
    # The recording holds both voices.
    assert bool(langsmith_server.roots[0].attachments) is (what == "METADATA")
    assert span.attributes["gen_ai.prompt"] == CONTENT["gen_ai.prompt"]


def test_a_span_that_cannot_be_encoded_takes_no_other_along(manual, langsmith_server, monkeypatch):
    from voicespan.runtime import guard

    voice = manual()
    conversation = voice.conversation()
    voice.child(conversation, "turn_complete")
    voice.child(conversation, "half a \ud83d pair")
    monkeypatch.setattr(guard, "reraise", False)
    voice.finish(conversation)
    voice.send()
    assert named(langsmith_server) == ["conversation", "turn_complete"]


def test_two_destinations_each_get_everything(agent, langsmith_server, spool_dir):
    with LangSmithServer() as other:
        voice = agent()
        voice.provider.add_span_processor(LangSmithSpanProcessor(endpoint=other.url, api_key=other.api_key))
        conversation = voice.conversation()
        voice.child(conversation)
        conversation.attach_recording(b"sound", "audio/ogg")
        conversation.end()
        assert len(conversation.deliveries) == 2
        assert voice.provider.force_flush()
        for server in (langsmith_server, other):
            assert named(server) == ["conversation", "turn_complete"]
            assert server.roots[0].attachments["conversation"].content == b"sound"
        voice.provider.shutdown()
    assert list(spool_dir.iterdir()) == []


def test_one_destination_that_was_added_twice_gets_it_once(agent, langsmith_server):
    voice = agent()
    again = LangSmithSpanProcessor(endpoint=langsmith_server.url, api_key=langsmith_server.api_key)
    assert not add_once(voice.provider, again)
    voice.provider.add_span_processor(again)
    conversation = voice.conversation()
    voice.child(conversation)
    conversation.end()
    assert len(conversation.deliveries) == 1
    assert voice.provider.force_flush()
    assert [request.status for request in langsmith_server.requests] == [200, 200]


def test_through_a_collector_the_resource_says_so_and_no_key_goes(manual, monkeypatch, spool_dir):
    with LangSmithServer(api_keys=()) as collector:
        monkeypatch.setenv("VOICESPAN_ENDPOINT", collector.traces_url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_pt_not_for_the_collector")
        voice = manual(collector, endpoint=None, api_key=None)
        # The LangSmith collector proxy says 202 and nothing else.
        collector.fail(status=202, text="", stored=True, times=None)
        conversation = voice.conversation()
        voice.child(conversation)
        conversation.end()
        voice.write()
        on_disk = b"".join(
            path.read_bytes() for name in ("*.journal", "root.pb") for path in spool_dir.rglob(name)
        )
        voice.send()
        assert named(collector) == ["conversation", "turn_complete"]
        assert on_disk.count(b"voicespan.delivery") == 2
        assert {request.path for request in collector.requests} == {"/otel/v1/traces"}


def test_configure_sets_up_a_provider_that_has_none(langsmith_server, tmp_path):
    program = """
import voicespan
from opentelemetry import trace
from voicespan.tracing.scope import conversation
provider = voicespan.configure(project="p")
assert trace.get_tracer_provider() is provider
assert voicespan.configure(project="p") is provider
with conversation():
    pass
"""
    environment = {"LANGSMITH_API_KEY": langsmith_server.api_key, "LANGSMITH_ENDPOINT": langsmith_server.url}
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **environment})
    [root] = langsmith_server.roots
    assert root.project == "p"
    assert len(langsmith_server.requests) == 1


def test_configure_uses_the_provider_that_it_is_given(langsmith_server):
    mine = TracerProvider(shutdown_on_exit=False)
    from voicespan.tracing import tracer

    try:
        configured = configure(
            tracer_provider=mine, endpoint=langsmith_server.url, api_key=langsmith_server.api_key
        )
        assert configured is mine
        assert tracer.named_provider() is mine
    finally:
        tracer.name_provider(None)
