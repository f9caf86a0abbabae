"""Failed, empty, rejected and incomplete answers can be found from the root, and calls in which nobody was answered."""

from __future__ import annotations

import json

import pytest

from voicespan.gemini_live.protocol import Protocol as GeminiProtocol
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol as OpenAIProtocol
from voicespan.tracing.conversation import Conversation

METADATA = "langsmith.metadata."
OUTCOMES = ("completed", "cancelled", "failed", "incomplete", "rejected", "empty")
FAILED = {"type": "failed", "error": {"type": "insufficient_quota", "code": "insufficient_quota"}}
CUT_SHORT = {"type": "incomplete", "reason": "max_output_tokens"}
CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look_up", "arguments": "{}"}


class Played:
    """A call whose frames are all ours, and what its root and its turns say."""

    def __init__(self, tracer_provider, span_exporter, clock):
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock)
        self.exporter = span_exporter

    def frame(self, frame):
        self.connection.received(json.dumps(frame))
        return self

    def end(self):
        self.connection.closed(1000)
        return self

    @property
    def root(self):
        (root,) = [span for span in self.exporter.get_finished_spans() if span.parent is None]
        return root

    @property
    def counts(self):
        said = {name: self.root.attributes.get(f"{METADATA}answers_{name}") for name in OUTCOMES}
        return {name: count for name, count in said.items() if count is not None}

    @property
    def status(self):
        return self.root.attributes[METADATA + "status"]

    @property
    def outcomes(self):
        turns = [span for span in self.exporter.get_finished_spans() if span.name == "turn_complete"]
        turns.sort(key=lambda span: span.start_time)
        return [turn.attributes.get(METADATA + "outcome") for turn in turns]


class OpenAI(Played):
    def __init__(self, *given):
        super().__init__(*given)
        self.connection = self.conversation.connect(OpenAIProtocol(), {}, kind=RealtimeConnection)
        self.numbers = iter(range(100))

    def server(self, kind, **fields):
        return self.frame({"type": kind, "event_id": "event_1", **fields})

    def user(self):
        item = f"u{next(self.numbers)}"
        self.server("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        self.server("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=500)
        return self.server("input_audio_buffer.committed", item_id=item, previous_item_id=None)

    def begins(self, words=None, **fields):
        """A response begins, and says `words`. Returns its id."""
        number = next(self.numbers)
        self.server("response.created", response={"id": f"r{number}", "output": [], **fields})
        if words is not None:
            place = {"response_id": f"r{number}", "item_id": f"a{number}", "content_index": 0}
            self.server("response.output_audio_transcript.done", **place, transcript=words)
        return f"r{number}"

    def answer(self, status="completed", words=None, details=None, **fields):
        response = {"id": self.begins(words, **fields), "status": status, "output": [], **fields}
        return self.server("response.done", response={**response, "status_details": details})


class Gemini(Played):
    def __init__(self, *given):
        super().__init__(*given)
        self.connection = self.conversation.connect(GeminiProtocol(), {})
        self.frame({"setupComplete": {}})

    def server(self, **fields):
        return self.frame({"serverContent": fields})

    def user(self):
        return self.server(inputTranscription={"text": " Hello?"})

    def said(self, words=" Good morning."):
        return self.server(outputTranscription={"text": words})

    def complete(self, reason=None):
        return self.server(turnComplete=True, **({"turnCompleteReason": reason} if reason else {}))


@pytest.fixture
def openai(tracer_provider, span_exporter, fake_clock):
    return OpenAI(tracer_provider, span_exporter, fake_clock)


@pytest.fixture
def gemini(tracer_provider, span_exporter, fake_clock):
    return Gemini(tracer_provider, span_exporter, fake_clock)


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        ({"words": "Hello."}, "completed", "completed"),
        ({"output": [CALL]}, "completed", "completed"),
        ({"status": "failed", "details": FAILED}, "failed", "unanswered"),
        ({"status": "cancelled", "details": {"reason": "client_cancelled"}}, "cancelled", "unanswered"),
        ({"status": "cancelled", "words": "Hel"}, "cancelled", "completed"),
        ({"status": "incomplete", "details": CUT_SHORT}, "incomplete", "unanswered"),
        ({"status": "incomplete", "details": CUT_SHORT, "words": "Hel"}, "incomplete", "completed"),
        ({}, "empty", "unanswered"),
        ({"words": ""}, "empty", "unanswered"),
        ({"words": " "}, "empty", "unanswered"),
        ({"output": [{"type": "message", "id": "a9", "content": []}]}, "empty", "unanswered"),
    ],
)
def test_how_an_answer_of_openai_came_out(openai, answer, outcome, status):
    openai.user().answer(**answer).end()
    assert (openai.outcomes, openai.counts) == ([outcome], {outcome: 1})
    assert openai.status == status
    assert openai.root.status.status_code.name == "UNSET"


def test_an_answer_that_the_connection_cuts_off_is_incomplete(openai):
    openai.user().begins("Good mor")
    openai.end()
    assert (openai.outcomes, openai.counts) == (["incomplete"], {"incomplete": 1})


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("RESPONSE_REJECTED", "rejected"),
        ("PROHIBITED_INPUT_CONTENT", "rejected"),
        ("GENERATED_AUDIO_SAFETY", "rejected"),
        ("MALFORMED_FUNCTION_CALL", "failed"),
        ("NEED_MORE_INPUT", "empty"),
        (None, "empty"),
    ],
)
def test_how_an_answer_of_gemini_came_out(gemini, reason, outcome):
    for _ in range(3):
        gemini.user().complete(reason)
    gemini.end()
    assert (gemini.outcomes, gemini.counts) == ([outcome] * 3, {outcome: 3})
    assert gemini.status == "unanswered"


def test_gemini_answers_and_is_cut_off(gemini):
    gemini.user().said().complete()
    gemini.user().said().server(interrupted=True).complete()
    gemini.user().said().end()
    assert gemini.outcomes == ["completed", "cancelled", "incomplete"]
    assert gemini.counts == {"completed": 1, "cancelled": 1, "incomplete": 1}
    assert gemini.status == "completed"


def test_a_service_that_does_not_say_how_it_came_out_has_no_outcome(openai):
    openai.user().answer(status=None, words="Hello.").end()
    assert (openai.outcomes, openai.counts, openai.status) == ([None], {}, "completed")


def test_an_answer_out_of_band_is_none_to_the_user(openai):
    openai.user().answer(words="angry", conversation_id=None, metadata={"topic": "mood"})
    openai.answer("failed", details=FAILED).end()
    assert openai.outcomes == ["completed", "failed"]
    assert (openai.counts, openai.status) == ({"failed": 1}, "unanswered")


def test_one_answered_turn_is_enough(openai):
    openai.user().answer("failed", details=FAILED).user().answer(words="Hello.").end()
    assert (openai.counts, openai.status) == ({"completed": 1, "failed": 1}, "completed")


def test_a_greeting_answers_nobody(openai):
    openai.answer(words="Hello, how can I help?").user().answer("failed", details=FAILED).end()
    assert (openai.counts, openai.status) == ({"completed": 1, "failed": 1}, "unanswered")


def test_a_user_whom_no_answer_was_even_begun_for_is_unanswered(openai):
    openai.user().end()
    assert (openai.counts, openai.status) == ({}, "unanswered")


def test_where_the_user_said_nothing_nothing_is_unanswered(openai):
    openai.answer("failed", details=FAILED).end()
    assert (openai.counts, openai.status) == ({"failed": 1}, "completed")


@pytest.mark.parametrize(
    ("kind", "session"),
    [
        ("session.created", {"type": "transcription"}),
        ("transcription_session.created", {"object": "realtime.transcription_session"}),
    ],
)
def test_a_session_that_only_transcribes_answers_nobody(openai, kind, session):
    openai.server(kind, session={"id": "sess_1", **session}).user().end()
    assert openai.status == "completed"


def test_whoever_ends_it_says_how(openai):
    openai.user().answer("failed", details=FAILED)
    openai.conversation.end(status="untraced")
    assert openai.status == "untraced"
