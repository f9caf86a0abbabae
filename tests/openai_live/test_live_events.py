"""What OpenAI Live's frames become: runs of words, delegations, backend responses, and nothing that did not happen."""

from __future__ import annotations

import json

import pytest
from opentelemetry.trace import StatusCode
from wire_call import content, fact, messages, seconds

from voicespan.openai_live.protocol import Protocol
from voicespan.protocol import events
from voicespan.runtime.settings import Level
from voicespan.tracing import semconv

USAGE = {
    "input_tokens": 120,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 150,
}


def test_the_protocol_runs_on_a_recorded_session_by_itself():
    protocol = Protocol()
    recording = [{"type": "session.input_transcript.delta", "delta": "Hi", "start_ms": 0, "end_ms": 300}]
    found = [event for frame in recording for event in protocol.receive(frame, at=0)]
    found += protocol.connection_lost(at=1)
    assert [type(each) for each in found] == [events.MessageAdded, events.TranscriptCompleted]


# Words.


def test_fragments_are_joined_as_they_come_and_a_gap_ends_a_run(call):
    call.started().user("Hel", 0, 300).user("lo", 300, 500, after=0.3).user(" there.", 900, 1400, after=0.5)
    call.user(" Again.", 2100, 2500, after=2).closed().end()
    assert call.transcript == [("user", "Hello there."), ("user", "Again.")]
    first, second = [span for span in call.spans if span.name == "input_transcription"]
    assert seconds(first) == 0.8
    assert (fact(first, "start_ms"), fact(first, "end_ms")) == (0, 1400)
    assert fact(first, "segmentation") == "inferred"
    assert content(second, "in") == {"messages": [{"role": "user", "content": "Again."}]}


def test_a_gap_that_is_shorter_ends_none(call):
    call.started().user("One", 0, 1000).user(" two", 1699, 2000).closed().end()
    assert call.transcript == [("user", "One two")]


def test_the_other_side_ends_no_run_and_overlap_is_told(call):
    call.started().user("I would", 0, 800).agent("Mhm.", 700, 1000).user(" like tea.", 1200, 2000)
    call.agent("Tea", 2300, 2600).closed().end()
    assert call.transcript == [("user", "I would like tea."), ("assistant", "Mhm."), ("assistant", "Tea")]
    user = call.named("input_transcription")
    assert fact(user, "overlap_ms") == 300
    assert "interrupted" not in call.names


def test_late_words_stand_where_they_were_said(call):
    call.started().agent("Hello.", 0, 800).agent("Fine, thanks.", 4000, 5000).user("How are you?", 1500, 2500)
    call.closed().end()
    assert call.transcript == [
        ("assistant", "Hello."),
        ("user", "How are you?"),
        ("assistant", "Fine, thanks."),
    ]


def test_words_that_are_later_than_the_agents_still_belong_to_their_run(call):
    call.started().user("Two pizzas", 0, 1000).agent("Sure.", 2200, 2600).user(" please", 1100, 1500)
    call.closed().end()
    assert call.transcript == [("user", "Two pizzas please"), ("assistant", "Sure.")]


def test_the_first_words_can_be_the_latest(call):
    call.started().agent("Hi.", 3000, 3300).user("Hello?", 0, 500).closed().end()
    assert call.transcript == [("user", "Hello?"), ("assistant", "Hi.")]


def test_white_space_is_no_message(call):
    call.started().user("  ", 0, 300).user("\n", 300, 400).closed().end()
    assert call.transcript == []
    assert "input_transcription" not in call.names


def test_silence_on_the_track_brings_a_run_to_its_end(call):
    call.started().track(1000).user("Hello.", 0, 800).track(5000)
    call.conversation.flush()
    assert [span.name for span in call.spans if span.end_time] == ["session.started", "input_transcription"]


def test_words_without_times_are_kept(call):
    call.started().server("session.input_transcript.delta", delta="Hello")
    call.server("session.input_transcript.delta", delta=" you", start_ms=None, end_ms="?").closed().end()
    assert call.transcript == [("user", "Hello you")]


def gaps(call):
    return [
        (fact(span, "response_gap_ms"), fact(span, "response_gap_basis"))
        for span in call.all("output_transcription")
    ]


def test_words_that_answer_have_the_gap_of_the_services_own_times(call):
    call.started().user("Hello?", 0, 1000).agent("Hi.", 1600, 2000).agent("And?", 3000, 3300)
    call.user("Well.", 3900, 4400).agent("Good.", 5300, 5500).closed().end()
    assert gaps(call) == [(600, "server"), (None, None), (900, "server")]
    first = call.all("output_transcription")[0]
    assert (fact(first, "unnamed_ms"), fact(first, "response_gap_from")) == (600, "speech_end")
    names = ("response_gap_count", "response_gap_p50_ms", "response_gap_basis", "user_turn_count")
    assert [fact(call.root, name) for name in names] == [2, 750, "server", 2]
    assert not any(fact(span, "response_gap_ms") for span in call.all("input_transcription"))


@pytest.mark.parametrize(
    "said",
    [
        # The agent begins by itself.
        [("agent", 0, 500)],
        # Into the user's words, and the user goes on.
        [("user", 0, 2000), ("agent", 1500, 2500)],
        # The user spoke into an answer that goes on longer than that.
        [("agent", 0, 5000), ("user", 1000, 1500), ("agent", 6000, 6500)],
        # So late that it answers nothing.
        [("user", 0, 500), ("agent", 15_000, 15_500)],
    ],
)
def test_words_that_answer_nothing_have_no_gap(call, said):
    call.started()
    for who, start, end in said:
        getattr(call, who)("Words.", start, end)
    call.closed().end()
    assert [gap for gap, _ in gaps(call) if gap is not None] == []


def test_no_turn_is_made_up(call):
    call.started().user("Hi.", 0, 300).agent("Hello.", 500, 900).closed().end()
    assert call.names == ["session.started", "input_transcription", "output_transcription", "session.closed"]
    assert fact(call.root, "turn_count") == 0


# Delegations.


def test_a_client_delegation_lasts_until_it_is_answered_and_the_application_nests_in_it(call):
    call.started().user("Is it sunny?", 0, 1500).delegated("client")
    with call.tracer.start_as_current_span("agent"):
        call.clock.advance(2)
    append = {"content": "It is sunny.", "delegation_id": "item_1", "event_id": "mine"}
    call.client("session.commentary.append", **append)
    call.server("session.commentary.appended", start_ms=4000, end_ms=4000, client_event_id="mine", after=0.25)
    with call.tracer.start_as_current_span("afterwards"):
        pass
    call.closed().end()
    delegation = call.named("delegation: client")
    assert seconds(delegation) == 2
    assert delegation.attributes[semconv.SPAN_KIND] == "tool"
    assert content(delegation, "in") == {"messages": [{"role": "user", "content": "Is it sunny?"}]}
    assert content(delegation, "out") == {"messages": [{"role": "assistant", "content": "It is sunny."}]}
    assert (fact(delegation, "input"), fact(delegation, "offset_ms")) == ("inferred", 2000)
    assert call.named("agent").parent.span_id == delegation.context.span_id
    assert call.named("afterwards").parent.span_id == call.root.context.span_id
    context = call.named("context: commentary")
    assert (seconds(context), fact(context, "start_ms")) == (0.25, 4000)


def test_words_that_come_after_the_delegation_but_were_said_before_are_part_of_its_task(call):
    call.started().user("Book a", 0, 1000).delegated("client", offset_ms=2000).user(" table.", 1100, 1900)
    call.client("session.commentary.append", content="Done.", delegation_id="item_1")
    call.server("session.commentary.appended", start_ms=3000, end_ms=3000)
    call.user("Thanks.", 6000, 6500).delegated("client", "item_2", 7000).closed().end()
    first, second = [span for span in call.spans if span.name == "delegation: client"]
    assert messages(first)[0]["content"] == "Book a table."
    assert messages(second)[0]["content"] == "Thanks."


def test_a_delegation_that_nobody_answered_is_an_error(call):
    call.started().delegated("client").closed().end()
    delegation = call.named("delegation: client")
    assert delegation.attributes["error.type"] == "never_answered"


def test_an_answer_that_was_refused_is_none(call):
    call.started().delegated("client")
    call.client("session.commentary.append", content="Yes.", delegation_id="item_1", event_id="mine")
    call.server("error", error={"code": "invalid", "message": "No.", "client_event_id": "mine"})
    call.closed().end()
    assert call.named("delegation: client").attributes["error.type"] == "never_answered"
    assert call.named("context: commentary").attributes["error.type"] == "invalid"
    assert call.named("error").attributes["error.type"] == "invalid"


def test_exactly_a_delegation_can_be_named_when_several_are_open(call):
    call.started().delegated("client", "item_1").delegated("client", "item_2")
    with call.tracer.start_as_current_span("either"):
        pass
    with call.conversation.tool_call("item_2"), call.tracer.start_as_current_span("second"):
        pass
    call.closed().end()
    (second,) = [s for s in call.spans if fact(s, "delegation_id") == "item_2"]
    assert call.named("either").parent.span_id == call.root.context.span_id
    assert call.named("second").parent.span_id == second.context.span_id


def test_responses_are_llm_spans_with_usage_and_functions_have_real_durations(call):
    call.started(delegation={"type": "responses", "responses": {"model": "gpt-5"}})
    call.user("Weather in Rome?", 0, 1500).delegated("responses", response_id="resp_1")
    call.response("created", after=0.5).nested("response.output_text.delta", delta="x", item_id="m")
    call.calls("call_1", "weather", '{"city":"Rome"}').response("completed", usage=USAGE, after=1)
    with call.tracer.start_as_current_span("look up"):
        pass
    call.answers("call_1", "sunny", after=3).client("response.create")
    call.response("created", "resp_2", after=0.5)
    call.nested("response.output_text.done", item_id="m2", text="It is sunny.", after=1)
    call.response("completed", "resp_2", usage=USAGE).agent("It is sunny.", 9000, 10000).closed().end()
    delegation, function = call.named("delegation: responses"), call.named("function_call: weather")
    first, second = [span for span in call.spans if span.name == "delegated_response"]
    assert {span.parent.span_id for span in (function, first, second)} == {delegation.context.span_id}
    assert call.named("look up").parent.span_id == function.context.span_id
    assert (seconds(function), seconds(first), seconds(second), seconds(delegation)) == (4, 1, 1, 6)
    assert first.attributes[semconv.SPAN_KIND] == "llm"
    assert first.attributes[semconv.REQUEST_MODEL] == "gpt-5"
    assert first.attributes[semconv.USAGE + "input_tokens"] == 120
    assert content(first, "out")["messages"][0]["tool_calls"][0]["function"]["name"] == "weather"
    assert fact(first, "input") == "built by the service"
    assert content(second, "in")["messages"][0]["content"] == "sunny"
    assert content(second, "out")["messages"][0]["content"] == "It is sunny."
    assert content(delegation, "out")["messages"][0]["content"] == "It is sunny."
    assert fact(call.root, "input_tokens") == 240
    assert "response.output_text.delta" not in str(call.names)
    assert len(call.names) == 10


def test_the_delegation_can_be_told_after_its_response_began(call):
    call.started().response("created").delegated("responses", offset_ms=700)
    call.nested("response.output_text.done", item_id="m", text="Yes.").response("completed").closed().end()
    delegation = call.named("delegation: responses")
    assert fact(delegation, "offset_ms") == 700
    assert call.named("delegated_response").parent.span_id == delegation.context.span_id


def test_a_failed_response_drops_its_calls(call):
    call.started().delegated("responses").response("created").calls("call_1", "weather")
    call.response("failed", error={"code": "server_error", "message": "Down."}).closed().end()
    assert call.named("function_call: weather").attributes["error.type"] == "cancelled"
    failed = call.named("delegated_response")
    assert failed.attributes["error.type"] == "server_error"
    assert failed.attributes["gen_ai.response.finish_reasons"] == ("failed",)
    assert json.loads(failed.attributes["gen_ai.output.messages"])[0]["finish_reason"] == "error"
    assert call.named("delegation: responses").attributes["error.type"] == "server_error"


def test_a_response_that_the_application_began_has_no_delegation(call):
    snapshot = {"id": "resp_9", "status": "completed", "model": "gpt-5"}
    call.started().nested("response.created", None, response=snapshot)
    call.nested("response.completed", None, response=snapshot).closed().end()
    assert call.named("delegated_response").parent.span_id == call.root.context.span_id


def test_a_tool_that_the_service_runs_is_a_span_of_its_own_type(call):
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    call.started().delegated("responses").response("created")
    call.nested("response.output_item.added", item=item).nested(
        "response.output_item.done", item=item, after=2
    )
    call.response("completed").closed().end()
    search = call.named("web_search_call")
    assert seconds(search) == 2
    assert search.attributes["gen_ai.operation.name"] == "execute_tool"
    assert search.attributes["gen_ai.tool.name"] == "web_search_call"
    assert "ws_1" in search.attributes["gen_ai.tool.call.result"]


def test_an_output_for_a_call_that_nobody_made_did_not_happen(call):
    call.started().answers("call_x", "nothing").closed().end()
    assert not [name for name in call.names if name.startswith("function")]


def test_an_output_that_the_service_refused_leaves_the_call_open_until_the_next(call):
    call.started().delegated("responses", response_id="resp_1").response("created")
    call.calls("call_1", "weather").response("completed")
    item = {"type": "function_call_output", "call_id": "call_1", "output": "x" * 9}
    call.client("response.item.create", item=item, event_id="mine", after=1)
    error = {"type": "invalid_request_error", "code": "too_long", "message": "no", "client_event_id": "mine"}
    call.server("error", error=error, after=1)
    call.answers("call_1", "sunny", after=1)
    call.response("created", "resp_2").response("completed", "resp_2").closed().end()
    refused, taken = (span for span in call.spans if span.name == "function_response: weather")
    assert refused.status.status_code is StatusCode.ERROR
    assert fact(refused, "refused") is True
    assert taken.status.status_code is not StatusCode.ERROR
    weather = call.named("function_call: weather")
    # From the request to the output that the service took.
    assert weather.end_time - weather.start_time == 3_000_000_000
    assert "sunny" in str(content(weather, "out"))


def test_keys_that_are_pressed_are_words_of_the_user(make_call, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    monkeypatch.setenv("VOICESPAN_HIDE", "user_text")
    call = make_call()
    call.started().server("transport.dtmf.received", event="7").server("transport.dtmf.sent", event="7")
    call.client("transport.dtmf.send", event="7").closed().end()
    for kind in ("received", "sent", "send"):
        assert '"7"' not in call.named(f"transport.dtmf.{kind}").to_json()


def test_decisions(call):
    decision = {"id": "dec_1", "model": "gpt-decide", "answers": [{"choice": "yes"}], "usage": USAGE}
    event = {"type": "decision.completed", "decision": decision}
    call.started().delegated("decisions").server(
        "decision.event", delegation_id="item_1", event=event, after=1
    )
    call.server("session.input_transcript.delta", delta="No!", start_ms=5000, end_ms=5300, event_id="words")
    call.server("decision.event", source_event_id="words", trigger_id="t", event=event, after=0.5)
    call.closed().end()
    delegation = call.named("delegation: decisions")
    first, second = [span for span in call.spans if span.name == "decision"]
    assert first.parent.span_id == delegation.context.span_id
    assert second.parent.span_id == call.root.context.span_id
    assert (seconds(first), seconds(second), seconds(delegation)) == (1, 0.5, 1)
    assert content(second, "out") == {"answers": [{"choice": "yes"}]}
    assert second.attributes[semconv.RESPONSE_MODEL] == "gpt-decide"


# Everything else.


def test_what_the_session_is_stands_on_the_root(call):
    call.started(
        store=True, input=[{"role": "user", "content": [{"type": "input_text", "text": "I am Ann."}]}]
    )
    call.server("session.usage.updated", usage={"seconds": 10}, context_window={"usage_ratio": 0.5})
    call.closed(seconds=12.5).end()
    root = call.root
    assert fact(root, "usage_seconds") == 12.5
    assert fact(root, "context_window_usage_ratio") == 0.5
    assert fact(root, "session_close_reason") == "close_requested"
    assert (fact(root, "voice"), fact(root, "stored"), fact(root, "delegation")) == ("marin", True, "client")
    assert root.attributes[semconv.REQUEST_MODEL] == "gpt-live-1"
    assert call.transcript == [("user", "I am Ann.")]
    assert call.names == ["session.started", "session.closed"]


def test_context_that_came_too_late_is_no_error_after_our_own_close(call):
    call.started().client("session.thinking.append", content="Hm.", delegation_id=None, event_id="mine")
    call.client("session.close")
    error = {"code": "context_injection_incomplete", "message": "Closed.", "client_event_id": "mine"}
    call.server("error", error=error).closed().end()
    assert call.named("error").status.is_unset
    assert fact(call.named("context: thinking"), "placed") is False
    assert fact(call.root, "error_count") == 0


@pytest.mark.parametrize("reason", ["content", "connection_lost"])
def test_a_session_that_the_service_ended_is_an_error(call, reason):
    call.started().closed(reason).end()
    assert call.named("error").attributes["error.type"] == reason


def test_a_fixture_lasts_until_it_was_played(call):
    call.started().client("session.output_audio.fixture.play", audio="AAAA" * 100, event_id="mine")
    call.server("session.output_audio.fixture.played", client_event_id="mine", after=3).closed().end()
    fixture = call.named("audio_fixture")
    assert (seconds(fixture), fact(fixture, "audio_bytes")) == (3, 300)


def test_an_unknown_type_passes_under_its_own_name_and_a_delta_does_not(call):
    call.started().server("session.hologram.shown", shape="cube").server("session.smell.delta", delta="x")
    call.closed().end()
    assert call.names == ["session.started", "session.hologram.shown", "session.closed"]


def test_a_second_session_on_the_same_connection_is_part_of_the_conversation(call):
    call.started().user("Hello.", 0, 500).delegated("client").server(
        "session.usage.updated", usage={"seconds": 5}
    )
    call.started(id="live_2").user("Again.", 0, 500).closed(seconds=7).end()
    assert call.named("delegation: client").attributes["error.type"] == "never_answered"
    assert call.transcript == [("user", "Hello."), ("user", "Again.")]
    assert fact(call.root, "usage_seconds") == 12
    assert fact(call.root, "realtime_session_id") == "live_1,live_2"


def test_the_end_without_a_close_frame_is_a_clean_end(call):
    call.started().closed()
    error = ConnectionError("dropped")
    call.connection.lost(error, 1006, None)
    call.connection.closed(1006, error)
    assert call.root.status.is_ok or call.root.status.is_unset
    assert (fact(call.root, "status"), fact(call.root, "close_code")) == ("completed", None)


def test_a_drop_without_session_closed_is_an_error(call):
    call.started().user("Hello", 0, 500)
    call.connection.lost(ConnectionError("dropped"), 1006, None)
    call.connection.closed(1006)
    assert not call.root.status.is_ok
    assert fact(call.root, "close_code") == 1006
    assert call.transcript == [("user", "Hello")]


def test_frames_that_make_no_sense_disturb_nothing(make_call, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    call = make_call()
    odd = [None, 3, "x", [], {}, [{}], {"id": 3}, 1e300]
    kinds = ["session.started", "session.updated", "session.closed", "session.delegation.created",
             "response.event", "decision.event", "session.usage.updated", "error", "transport.failed",
             "session.commentary.appended", "session.input_transcript.delta"]  # fmt: skip
    for kind in kinds:
        for value in odd:
            fields = dict.fromkeys(
                ("session", "usage", "delegation", "event", "delta", "start_ms", "end_ms", "error",
                 "delegation_id", "offset_ms", "client_event_id", "reason", "context_window"), value,
            )  # fmt: skip
            call.server(kind, **fields)
            call.nested("response.output_item.done", item=value).nested("response.completed", response=value)
            call.client("response.item.create", item=value).client("session.commentary.append", content=value)
    call.connection.received(b"not JSON")
    call.connection.received(b"[1]")
    call.end()
    assert call.root is not None


def test_levels_of_events_under_their_own_name():
    frames = [
        {"type": kind} for kind in ("session.input_audio.muted", "session.usage.updated", "session.started")
    ]
    told = {
        level: [
            each.event_type
            for frame in frames
            for each in Protocol(level).receive(frame, at=0)
            if isinstance(each, events.ProviderEvent)
        ]
        for level in (Level.ESSENTIAL, Level.STANDARD, Level.ALL)
    }
    assert told[Level.ESSENTIAL] == ["session.started"]
    assert told[Level.STANDARD] == ["session.input_audio.muted", "session.started"]
    assert len(told[Level.ALL]) == 3
