"""Conversations that are shown in LangSmith while they go on (VOICESPAN_LIVE)."""

from __future__ import annotations

import json

import pytest
from opentelemetry import trace as otel

SOUND = b"sound" * 1000


def test_a_call_whose_request_breaks_is_delivered_all_the_same(voice, langsmith_server, monkeypatch):
    def broken(_body):
        raise MemoryError

    post = voice.pipeline.live._post
    conversation = voice.conversation()
    monkeypatch.setattr(voice.pipeline.live, "_post", broken)
    with pytest.raises(MemoryError):
        show(voice)
    monkeypatch.setattr(voice.pipeline.live, "_post", post)
    voice.finish(conversation)
    assert voice.pipeline.live.pending == 0
    voice.send_for(2)
    assert [root.status for root in langsmith_server.roots] == ["success"]


@pytest.fixture
def voice(manual, monkeypatch):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    return manual()


def show(voice):
    """What the thread does that shows conversations; seconds until it is due again."""
    voice.write()
    voice.clock.advance(0.3)
    return voice.pipeline.live.step()


def wait(voice):
    """The same time without it."""
    voice.write()
    voice.clock.advance(0.3)


def finish(voice, conversation):
    """End the conversation, and have it delivered."""
    voice.finish(conversation)
    show(voice)
    voice.send_for(2)


def paths(server):
    return {request.path.rpartition("/api/v1")[2] for request in server.requests}


def test_a_root_is_there_as_soon_as_its_conversation_is(voice, langsmith_server):
    conversation = voice.conversation(thread_id="caller-42", metadata={"ward": "3b"})
    show(voice)

    [root] = langsmith_server.roots
    assert (root.id, root.name, root.status) == (conversation.run_id, "conversation", "pending")
    assert (root.thread_id, root.metadata["ward"]) == ("caller-42", "3b")
    assert root.end_ns is None


def test_children_follow_while_it_goes_on_and_the_root_is_completed_with_its_recording(
    voice, langsmith_server, spool_dir
):
    conversation = voice.conversation()
    show(voice)
    voice.child(conversation, "input_transcription")
    show(voice)
    [root] = langsmith_server.roots
    assert [run.name for run in root.children] == ["input_transcription"]
    voice.child(conversation, "turn_complete")
    conversation.attach_recording(SOUND, "audio/ogg")
    finish(voice, conversation)

    assert [run.name for run in root.children] == ["input_transcription", "turn_complete"]
    assert (root.status, root.metadata["status"]) == ("success", "completed")
    assert root.end_ns is not None
    assert root.attachments["conversation"].content == SOUND
    assert root.attachments["conversation"].mime_type == "audio/ogg"
    assert root.metadata["ls_audio_attach_status"] == "attached"
    assert paths(langsmith_server) == {"/runs/multipart"}
    assert langsmith_server.dropped == []
    assert list(spool_dir.iterdir()) == []


def test_what_is_below_a_span_that_is_open_does_not_come_before_it(voice, langsmith_server):
    conversation = voice.conversation()
    with conversation.use():
        tool = voice.tracer.start_span("function_call: look_up")
        with otel.use_span(tool), voice.tracer.start_as_current_span("above"):
            voice.tracer.start_span("query").end()
            show(voice)
            assert langsmith_server.waiting == []
            [root] = langsmith_server.roots
            [call] = root.children
            [above] = call.children
            assert (call.status, above.status) == ("pending", "pending")
            assert [run.name for run in above.children] == ["query"]
    tool.set_attribute("gen_ai.completion", '{"found": 3}')
    tool.end()
    show(voice)

    assert (call.status, above.status, call.outputs) == ("success", "success", {"found": 3})
    # What is written down does not grow with each.
    [state] = [call.progress for call in voice.pipeline.live._calls.values()]
    assert (state.batches, list(state.runs.opened)) == ([], [state.runs.root])
    finish(voice, conversation)
    assert langsmith_server.received_count(call.id, "post") == 1
    assert langsmith_server.received_count(call.id, "patch") == 1
    assert langsmith_server.dropped == []


def test_what_ends_after_its_parent_did_stands_below_it(voice, langsmith_server):
    conversation = voice.conversation()
    with conversation.use():
        tool = voice.tracer.start_span("function_call: look_up")
        with otel.use_span(tool):
            late = voice.tracer.start_span("task that nobody awaited")
        tool.end()
    show(voice)
    late.end()
    show(voice)

    [root] = langsmith_server.roots
    assert [run.name for run in root.children[0].children] == ["task that nobody awaited"]


def test_what_is_below_a_span_that_nobody_has_stands_below_the_root(voice, langsmith_server):
    conversation = voice.conversation()
    with conversation.use():
        root_context = otel.get_current_span().get_span_context()
        gone = otel.NonRecordingSpan(
            otel.SpanContext(root_context.trace_id, 7, is_remote=False, trace_flags=root_context.trace_flags)
        )
        with otel.use_span(gone):
            voice.tracer.start_span("orphan").end()
    show(voice)
    show(voice)
    show(voice)

    [root] = langsmith_server.roots
    assert [run.name for run in root.children] == ["orphan"]


def test_a_server_that_is_silent_costs_nothing(voice, langsmith_server, spool_dir):
    langsmith_server.fail(status=503, times=2)
    conversation = voice.conversation()
    show(voice)
    voice.child(conversation)
    assert show(voice) is not None
    assert langsmith_server.runs == []
    for _ in range(2):
        voice.clock.advance(60)
        show(voice)
    assert len(langsmith_server.runs) == 2
    finish(voice, conversation)
    assert [run.status for run in langsmith_server.runs] == ["success", "success"]
    assert list(spool_dir.iterdir()) == []


def test_what_arrived_unsaid_is_sent_again_as_it_was_and_a_409_is_delivery(voice, langsmith_server):
    langsmith_server.fail(reset="answer", stored=True, times=1)
    conversation = voice.conversation()
    voice.child(conversation)
    show(voice)
    for _ in range(4):
        voice.clock.advance(60)
        show(voice)
    assert len(langsmith_server.runs) == 2
    finish(voice, conversation)
    assert len(langsmith_server.runs) == 2
    assert [run.status for run in langsmith_server.runs] == ["success", "success"]


def test_a_request_that_is_sent_again_is_the_same_byte_for_byte(voice, langsmith_server, monkeypatch):
    bodies = []
    post = voice.pipeline.live._post

    def keep(message):
        bodies.append((message.content_type, b"".join(message)))
        return post(message)

    monkeypatch.setattr(voice.pipeline.live, "_post", keep)
    conversation = voice.conversation()
    show(voice)
    langsmith_server.fail(status=503, times=1)
    with conversation.use():
        tool = voice.tracer.start_span("function_call: x")
        with otel.use_span(tool):
            voice.tracer.start_span("query").end()
    show(voice)
    tool.end()
    voice.clock.advance(60)
    show(voice)

    refused, again = bodies[1], bodies[2]
    assert b'"query"' in refused[1]
    # What came meanwhile goes along; what was refused is in it as it was.
    parts = refused[1].split(refused[0].partition("boundary=")[2].encode())[1:-1]
    assert len(parts) >= 4
    assert all(part.rstrip(b"-").rstrip() in again[1] for part in parts)


def test_a_call_that_others_stand_beside_in_a_request_is_not_taken_for_delivered_with_them(
    voice, langsmith_server
):
    first = voice.conversation()
    langsmith_server.fail(reset="answer", stored=True, times=1)
    show(voice)
    voice.clock.advance(60)
    second = voice.conversation()
    for _ in range(3):
        show(voice)
    assert {root.id for root in langsmith_server.roots} == {first.run_id, second.run_id}
    finish(voice, first)
    finish(voice, second)
    assert [root.status for root in langsmith_server.roots] == ["success", "success"]


def test_a_batch_that_is_too_large_goes_in_halves_and_completes_what_was_created(voice, langsmith_server):
    conversation = voice.conversation()
    calls = []
    with conversation.use():
        for name in ("first", "second"):
            calls.append(voice.tracer.start_span(f"function_call: {name}"))
            with otel.use_span(calls[-1]):
                voice.tracer.start_span(f"query of {name}").end()
    show(voice)
    for call in calls:
        call.end()
    langsmith_server.fail(status=413, times=1)
    for _ in range(3):
        show(voice)
    finish(voice, conversation)

    [root] = langsmith_server.roots
    assert [(run.name, run.status) for run in root.children] == [
        ("function_call: first", "success"),
        ("function_call: second", "success"),
    ]
    assert [len(run.children) for run in root.children] == [1, 1]
    assert {langsmith_server.received_count(run.id, "patch") for run in root.children} == {1}
    assert langsmith_server.dropped == []


def test_a_server_without_runs_gets_the_conversation_as_it_gets_all_others(voice, langsmith_server):
    langsmith_server.fail(status=404, times=1)
    conversation = voice.conversation()
    show(voice)
    voice.child(conversation)
    show(voice)
    assert langsmith_server.runs == []
    finish(voice, conversation)
    assert {request.path for request in langsmith_server.requests if request.status == 200} == {
        "/otel/v1/traces"
    }
    assert len(langsmith_server.runs) == 2


def test_a_span_that_ends_after_its_root_joins_it_the_same_way(voice, langsmith_server):
    conversation = voice.conversation()
    with conversation.use():
        tool = voice.tracer.start_span("function_call: look_up")
        with otel.use_span(tool):
            late = voice.tracer.start_span("late")
    show(voice)
    tool.end()
    finish(voice, conversation)
    late.end()
    voice.write()
    voice.clock.advance(3)
    voice.write()
    voice.send_for(10)

    [root] = langsmith_server.roots
    assert [run.name for run in root.children[0].children] == ["late"]
    assert paths(langsmith_server) == {"/runs/multipart"}


def test_both_ways_make_the_same_runs(manual, monkeypatch, langsmith_server):
    def told(live):
        langsmith_server.clear()
        monkeypatch.setenv("VOICESPAN_LIVE", "1" if live else "0")
        voice = manual()
        conversation = voice.conversation(thread_id="t", tags=["a", "b"])
        step = show if live else wait
        step(voice)
        facts = {
            "langsmith.span.kind": "llm",
            "gen_ai.prompt": json.dumps({"messages": [{"role": "user", "content": "Hi"}]}),
            "gen_ai.completion": json.dumps({"messages": [{"role": "assistant", "content": "Ho"}]}),
            "gen_ai.request.model": "gpt-realtime",
            "gen_ai.provider.name": "openai",
            "langsmith.usage_metadata": json.dumps({"input_tokens": 3, "output_tokens": 4}),
        }
        voice.child(conversation, **facts)
        with conversation.use():
            span = voice.tracer.start_span("function_call: x", attributes={"gen_ai.tool.name": "x"})
            span.record_exception(ValueError("no such ward"))
            span.end()
        step(voice)
        voice.finish(conversation)
        voice.send_for(2)
        assert langsmith_server.dropped == []
        return [
            {
                **{
                    name: getattr(run, name)
                    for name in ("name", "run_type", "inputs", "outputs", "error", "status", "tags", "usage")
                },
                "metadata": run.metadata,
                "parameters": run.invocation_params,
                "project": run.project,
            }
            for run in langsmith_server.runs
        ]

    def plain(runs):
        for run in runs:
            run["outputs"].pop("usage_metadata", None)
            for name in ("service.instance.id", "trace_id", "run_id"):
                run["metadata"].pop(name, None)
        return runs

    for shown, over in zip(plain(told(live=True)), plain(told(live=False)), strict=True):
        assert shown == over


def test_a_process_that_died_leaves_a_run_that_the_next_one_completes_with_its_error(
    manual, monkeypatch, langsmith_server, spool_dir
):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    dead = manual()
    conversation = dead.conversation()
    with conversation.use():
        tool = dead.tracer.start_span("function_call: x")
        with otel.use_span(tool):
            dead.tracer.start_span("query").end()
    show(dead)
    # Its lock is let go, as the kernel does.
    [entry] = dead.pipeline.writer._entries.values()
    entry.folder.release()

    monkeypatch.delenv("VOICESPAN_LIVE")
    following = manual()
    following.send_for(2)

    [root] = langsmith_server.roots
    assert (root.status, root.error) == ("error", "process ended")
    assert [(run.status, run.error) for run in root.children] == [("error", "process ended")]
    assert paths(langsmith_server) == {"/runs/multipart"}
    assert list(spool_dir.iterdir()) == []


def test_nothing_changes_where_nobody_asks_for_it(manual, langsmith_server):
    voice = manual()
    conversation = voice.conversation()
    assert voice.pipeline.live is None
    voice.finish(conversation)
    voice.send_for(2)
    assert {request.path for request in langsmith_server.requests} == {"/otel/v1/traces"}


def test_a_conversation_that_is_not_sampled_creates_nothing(manual, monkeypatch, langsmith_server):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    monkeypatch.setenv("LANGSMITH_TRACING_SAMPLING_RATE", "0")
    voice = manual()
    conversation = voice.conversation()
    show(voice)
    voice.finish(conversation)
    voice.send_for(2)
    assert langsmith_server.requests == []


def test_the_threads_do_all_that_by_themselves(agent, monkeypatch, langsmith_server):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    voice = agent()
    conversation = voice.conversation()
    voice.child(conversation)
    root = langsmith_server.wait_for(
        lambda server: next((root for root in server.roots if root.children), None)
    )
    assert root.status == "pending"
    conversation.end()
    assert voice.deliver()
    assert root.status == "success"


def test_the_langsmith_packages_own_client_says_the_same_with_its_requests(voice, langsmith_server):
    """So a part that has another name there than here would be seen."""
    from langsmith import Client

    requested = []
    post = voice.pipeline.live._post
    voice.pipeline.live._post = lambda body: requested.append(body) or post(body)
    conversation = voice.conversation(thread_id="t")
    show(voice)
    voice.child(conversation, "turn_complete", **{"gen_ai.prompt": "Hi", "gen_ai.completion": "Ho"})
    show(voice)
    ours = parts_of(requested)
    shown = [as_shown(run) for run in langsmith_server.runs]
    assert len(shown) == len(ours) == 2

    langsmith_server.clear()
    client = Client(
        api_url=langsmith_server.url,
        api_key=langsmith_server.api_key,
        omit_traced_runtime_info=True,
        auto_batch_tracing=False,
        info={"batch_ingest_config": {"use_multipart_endpoint": True}},
    )
    for name, run in ours.items():
        if name.startswith("post."):
            client.multipart_ingest(create=[run])
    assert [as_shown(run) for run in langsmith_server.runs] == shown
    assert langsmith_server.dropped == []


def parts_of(bodies):
    """The runs of requests, by the names of their first parts."""
    runs = {}
    for body in bodies:
        boundary = body.content_type.partition("boundary=")[2]
        for part in b"".join(body).split(f"--{boundary}".encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = head.partition(b'name="')[2].partition(b'"')[0].decode()
            kind, run_id, *field = name.split(".")
            run = runs.setdefault(f"{kind}.{run_id}", {})
            run.update({field[0]: json.loads(content)} if field else json.loads(content))
    return runs


def as_shown(run):
    return {
        name: getattr(run, name)
        for name in (
            "id",
            "trace_id",
            "dotted_order",
            "name",
            "run_type",
            "inputs",
            "outputs",
            "metadata",
            "tags",
        )
    }
