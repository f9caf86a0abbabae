"""Which session of the service's a span belongs to, what the model was told in it, and when the user spoke."""

from __future__ import annotations

import json

import pytest
from span_content import came
from wire_call import fact, seconds

from voicespan.delivery import span_kinds
from voicespan.gemini_live.protocol import Protocol as Gemini
from voicespan.openai_realtime.protocol import Protocol as OpenAI
from voicespan.runtime.settings import Level, Settings
from voicespan.testing import assertions
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
TOOL = {
    "type": "function",
    "name": "find",
    "description": f"Finds a table. {KEY}",
    "parameters": {"type": "object", "properties": {"people": {"type": "integer"}}},
}
ALL_OF_IT = [semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS, semconv.REQUEST_MAX_TOKENS]


@pytest.fixture
def conversation(tracer_provider, fake_clock):
    def conversation(**settings):
        return Conversation(
            tracer_provider=tracer_provider, clock=fake_clock, settings=Settings(resume_window=0, **settings)
        )

    return conversation


@pytest.fixture
def spans(span_exporter):
    def named(name):
        return [span for span in span_exporter.get_finished_spans() if span.name == name]

    return named


def openai(conversation, session_id="sess_1", **session):
    connection = conversation.connect(OpenAI(), {semconv.PROVIDER: "openai", semconv.REQUEST_MODEL: "m"})
    receive(connection, type="session.created", session={"id": session_id, "model": "m", **session})
    return connection


def receive(connection, **frame):
    connection.received(json.dumps(frame).encode())


def answer(connection, number=1, **asked):
    if asked:
        connection.sent(json.dumps({"type": "response.create", "response": asked}))
    receive(connection, type="response.created", response={"id": f"r{number}"})
    receive(connection, type="response.done", response={"id": f"r{number}", "status": "completed"})


def session_of(span):
    return span.attributes.get(semconv.REALTIME_SESSION_ID)


# Sessions.


def test_spans_name_the_session_that_their_frames_came_in(conversation, spans, span_exporter):
    scope = conversation()
    first = openai(scope, "sess_1")
    second = openai(scope, "sess_2")
    answer(first, 1)
    answer(second, 2)
    receive(first, type="error", error={"message": "no"})
    scope.end()
    assert [session_of(span) for span in spans("session.created")] == ["sess_1", "sess_2"]
    assert {fact(span, "response_id"): session_of(span) for span in spans("turn_complete")} == {
        "r1": "sess_1",
        "r2": "sess_2",
    }
    assert [session_of(span) for span in spans("error")] == ["sess_1"]
    (root,) = spans("conversation")
    assert session_of(root) is None
    assert fact(root, "realtime_session_id") == "sess_1,sess_2"


def test_a_turn_that_waits_names_the_session_that_it_ended_in(conversation, spans):
    scope = conversation()
    first = openai(scope, "sess_1", audio={"input": {"transcription": {"model": "whisper-1"}}})
    receive(first, type="input_audio_buffer.committed", item_id="u1")
    answer(first, 1)
    assert not spans("turn_complete")
    openai(scope, "sess_2")
    scope.end()
    (turn,) = spans("turn_complete")
    assert session_of(turn) == "sess_1"


def test_a_second_connection_has_no_session_before_the_service_names_it(conversation, spans):
    scope = conversation()
    openai(scope, "sess_1")
    openai(scope, "sess_2")
    scope.end()
    assert [session_of(span) for span in spans("connection_opened")] == [None, None]


def test_the_root_has_the_only_session_and_when_it_was(conversation, spans, fake_clock):
    scope = conversation()
    connection = openai(scope)
    fake_clock.advance(2)
    connection.closed(1000)
    (root,) = spans("conversation")
    assert session_of(root) == "sess_1"
    started, ended = root.events
    assert (started.name, ended.name) == (semconv.SESSION_STARTED, semconv.SESSION_ENDED)
    expected = {semconv.PROVIDER: "openai", semconv.REQUEST_MODEL: "m", semconv.REALTIME_SESSION_ID: "sess_1"}
    assert started.attributes == ended.attributes == expected
    assert ended.timestamp - started.timestamp == 2_000_000_000


def test_a_session_on_two_connections_ends_with_the_second(conversation, spans, fake_clock):
    scope = conversation()
    first, second = openai(scope), openai(scope)
    first.closed(1000)
    fake_clock.advance(1)
    second.closed(1000)
    (root,) = spans("conversation")
    assert [event.name for event in root.events] == [semconv.SESSION_STARTED, semconv.SESSION_ENDED]
    assert root.events[1].timestamp == root.end_time


def test_a_session_without_an_id_began_as_well(conversation, spans):
    scope = conversation()
    connection = scope.connect(Gemini(), {})
    connection.sent(json.dumps({"setup": {"model": "models/g"}}))
    receive(connection, setupComplete={})
    connection.closed(1000)
    (root,) = spans("conversation")
    assert [event.name for event in root.events] == [semconv.SESSION_STARTED, semconv.SESSION_ENDED]
    assert all(semconv.REALTIME_SESSION_ID not in event.attributes for event in root.events)


def test_sessions_are_bounded(conversation, spans):
    scope = conversation()
    connection = openai(scope, "sess_0")
    for number in range(200):
        receive(connection, type="session.updated", session={"id": f"sess_{number}"})
    scope.end()
    (root,) = spans("conversation")
    assert len(root.events) == 40


@pytest.mark.parametrize("session_id", ["a session", KEY])
def test_an_id_is_kept_but_for_a_secret_and_no_hook_is_asked_under_a_lock(
    conversation, spans, span_exporter, session_id
):
    locked = []

    def redact(text, *, role, place):
        locked.append(scope.lifecycle.lock._is_owned())
        return text

    scope = conversation(redact=redact)
    answer(openai(scope, session_id, instructions="Be brief."))
    scope.end()
    assert locked
    (turn,) = spans("turn_complete")
    assert (session_of(turn) == session_id) == (session_id != KEY)
    assert KEY not in str([(span.attributes, span.events) for span in span_exporter.get_finished_spans()])
    assert locked == [False] * len(locked)


# What the model was told.


def test_a_generation_has_no_instructions_unless_they_are_wanted(conversation, spans):
    scope = conversation()
    answer(openai(scope, instructions="Be brief.", tools=[TOOL], max_output_tokens=300))
    scope.end()
    (turn,) = spans("turn_complete")
    assert not {*ALL_OF_IT} & {*turn.attributes}


def test_what_the_session_says_holds_for_each_generation_after_it(conversation, spans):
    scope = conversation(request=True)
    connection = openai(scope, instructions=f"Be brief. {KEY}", tools=[TOOL], max_output_tokens=300)
    answer(connection, 1)
    receive(
        connection,
        type="session.updated",
        session={"instructions": "Be long.", "tools": [], "max_output_tokens": "inf"},
    )
    answer(connection, 2)
    scope.end()
    first, second = spans("turn_complete")
    assert json.loads(first.attributes[semconv.SYSTEM_INSTRUCTIONS])[0]["content"].startswith("Be brief. ")
    (tool,) = json.loads(first.attributes[semconv.TOOL_DEFINITIONS])
    assert (tool["name"], tool["parameters"]) == ("find", TOOL["parameters"])
    assert first.attributes[semconv.REQUEST_MAX_TOKENS] == 300
    assert KEY not in str(first.attributes)
    parts = [{"type": "text", "content": "Be long."}]
    assert json.loads(second.attributes[semconv.SYSTEM_INSTRUCTIONS]) == parts
    assert semconv.TOOL_DEFINITIONS not in second.attributes
    assert semconv.REQUEST_MAX_TOKENS not in second.attributes


@pytest.mark.parametrize("asked", [{"instructions": "Only now."}, {"tools": []}, {"max_output_tokens": 3}])
def test_a_response_that_was_asked_for_otherwise_has_none_of_it(conversation, spans, asked):
    scope = conversation(request=True)
    answer(openai(scope, instructions="Be brief."), **asked)
    scope.end()
    (turn,) = spans("turn_complete")
    assert not {*ALL_OF_IT} & {*turn.attributes}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"hide": frozenset({"instructions"})}, ALL_OF_IT[1:]),
        ({"capture_content": False}, ALL_OF_IT[1:]),
        ({"redact": lambda text, *, role, place: f"{role} {place}"}, ALL_OF_IT),
    ],
    ids=["hidden", "no content", "redacted"],
)
def test_what_may_not_be_kept_is_not_kept_here_either(conversation, spans, settings, left):
    scope = conversation(request=True, **settings)
    answer(openai(scope, instructions="Be brief.", tools=[TOOL], max_output_tokens=300))
    scope.end()
    (turn,) = spans("turn_complete")
    assert [name for name in ALL_OF_IT if name in turn.attributes] == left
    assert "brief" not in str(turn.attributes)
    if "redact" in settings:
        assert "system event" in turn.attributes[semconv.SYSTEM_INSTRUCTIONS]


def test_gemini_says_it_in_its_setup(conversation, spans):
    scope = conversation(request=True)
    connection = scope.connect(Gemini(), {})
    setup = {
        "model": "models/g",
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "tools": [{"functionDeclarations": [{"name": "find", "parameters": {}}]}, {"googleSearch": {}}],
        "generationConfig": {"maxOutputTokens": 300},
    }
    connection.sent(json.dumps({"setup": setup}))
    receive(connection, setupComplete={})
    receive(connection, serverContent={"outputTranscription": {"text": "Hi."}})
    receive(connection, serverContent={"turnComplete": True})
    scope.end()
    (turn,) = spans("turn_complete")
    instructions, tools, limit = (turn.attributes[name] for name in ALL_OF_IT)
    assert json.loads(instructions) == [{"type": "text", "content": "Be brief.\nBe kind."}]
    assert [(each["type"], each["name"]) for each in json.loads(tools)] == [
        ("function", "find"),
        ("google_search", "google_search"),
    ]
    assert limit == 300


def test_long_instructions_leave_room_for_what_was_said(conversation, spans):
    scope = conversation(request=True)
    tools = [{**TOOL, "name": f"tool_{number}"} for number in range(300)]
    connection = openai(scope, instructions="x" * 200_000, tools=tools)
    item = {
        "id": "u",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "y" * 90_000}],
    }
    receive(connection, type="conversation.item.added", item=item)
    answer(connection)
    scope.end()
    (turn,) = spans("turn_complete")
    assert sum(len(key) + len(str(value).encode()) for key, value in turn.attributes.items()) < 64_000
    assert "yyyy" in turn.attributes[semconv.INPUT_MESSAGES]


# When the user spoke.


def test_speech_is_a_span_from_its_start_to_its_end(conversation, spans, fake_clock):
    scope = conversation()
    connection = openai(scope)
    receive(connection, type="input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    fake_clock.advance(1.5)
    receive(connection, type="input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=1500)
    scope.end()
    (speech,) = spans("user_speech")
    assert seconds(speech) == 1.5
    assert speech.attributes[semconv.OPERATION] == "user_speech"
    assert speech.attributes[semconv.PROVIDER] == "openai"
    assert session_of(speech) == "sess_1"
    assert fact(speech, "item_id") == "u1"
    assert came(speech) is None


def test_speech_of_which_one_end_is_not_known_is_none(conversation, spans):
    scope = conversation()
    connection = openai(scope)
    receive(connection, type="input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=1500)
    receive(connection, type="input_audio_buffer.speech_started", item_id="u2", audio_start_ms=1600)
    scope.end()
    assert not spans("user_speech")


# The draft's names.


@pytest.mark.parametrize(
    ("environ", "draft"),
    [
        ({}, False),
        ({"VOICESPAN_SEMCONV": "Draft "}, True),
        ({"VOICESPAN_SEMCONV": "newest"}, False),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental"}, True),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}, False),
        (
            {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental", "VOICESPAN_SEMCONV": "stable"},
            False,
        ),
    ],
)
def test_who_wants_the_drafts_names(environ, draft):
    assert Settings.from_environment(environ).draft_names is draft


def test_generations_have_the_drafts_names_if_that_is_wanted(conversation, spans):
    scope = conversation(draft_names=True, events=Level.ESSENTIAL)
    answer(openai(scope))
    scope.end()
    (turn,) = spans("realtime_inference m")
    assert turn.attributes[semconv.OPERATION] == "realtime_inference"
    assert turn.kind.name == "CLIENT"
    assert not spans("turn_complete")


def test_who_reads_spans_by_their_names_knows_the_drafts(conversation, span_exporter):
    scope = conversation(draft_names=True)
    connection = openai(scope)
    receive(connection, type="response.created", response={"id": "r1"})
    said = {
        "id": "a1",
        "type": "message",
        "content": [{"type": "output_audio", "transcript": "Good evening"}],
    }
    receive(connection, type="response.done", response={"id": "r1", "status": "completed", "output": [said]})
    scope.end()
    spans = span_exporter.get_finished_spans()
    assertions.assert_said(spans, "agent", "good evening")
    assertions.assert_all_answered(spans)
    (turn,) = [span for span in spans if span.name.startswith("realtime_inference")]
    assert span_kinds.is_essential(turn)
