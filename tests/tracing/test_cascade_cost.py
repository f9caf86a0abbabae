"""What the blocks of a cascade cost, beside the same spans written by hand with the SDK, in instructions."""

from __future__ import annotations

import json

import pytest
from instruction_count import instructions
from opentelemetry.sdk.trace import TracerProvider

from voicespan.runtime.settings import Settings
from voicespan.tracing.cascade import messages
from voicespan.tracing.cascade.messages import PromptHistory
from voicespan.tracing.conversation import Conversation

HISTORY = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When is a table free?"}]
ANSWER = "At half past eight."


@pytest.fixture
def provider():
    made = TracerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def conversation(provider, fake_clock):
    made = Conversation(tracer_provider=provider, clock=fake_clock, settings=Settings(), scoped=True)
    with made.use():
        yield made
    made.end()


def turn(conversation, deltas=20):
    """As an application says it, with the answer in pieces."""
    with conversation.stt(model="whisper-1", language="en", provider="openai") as stt:
        stt.output(HISTORY[-1]["content"])
    with conversation.llm(model="gpt-5", messages=HISTORY, provider="openai") as llm:
        for _ in range(deltas):
            llm.delta("piece ")
        llm.usage(input_tokens=20, output_tokens=20)
    with conversation.tts(ANSWER, model="tts-1", voice="nova", provider="openai") as tts:
        tts.first_byte()
        tts.output(seconds=1.0)
    conversation.lifecycle.flush()


def by_hand(tracer):
    """The same three spans, with what can be known of them without voicespan."""
    spoken = json.dumps([{"role": "user", "parts": [{"type": "text", "content": HISTORY[-1]["content"]}]}])
    for operation in ("speech_to_text", "chat", "text_to_speech"):
        with tracer.start_as_current_span(operation) as span:
            span.set_attribute("gen_ai.operation.name", operation)
            span.set_attribute("gen_ai.provider.name", "openai")
            span.set_attribute("gen_ai.request.model", "model")
            span.set_attribute("gen_ai.input.messages", spoken)
            span.set_attribute("gen_ai.output.messages", spoken)
            span.set_attribute("gen_ai.usage.input_tokens", 20)
            span.set_attribute("gen_ai.usage.output_tokens", 20)


@pytest.fixture
def three_spans(provider):
    """What the spans of a turn cost by hand."""
    return instructions(by_hand, provider.get_tracer("by hand"))


def test_a_turn_costs_no_more_than_five_times_its_spans_by_hand(conversation, three_spans):
    """Those know nothing of the transcript, the response gap, the usage of the call, or what may be stored."""
    turn(conversation)
    assert three_spans < instructions(turn, conversation) < 5 * three_spans


def test_a_piece_of_an_answer_costs_a_twentieth_of_a_span(conversation, three_spans):
    turn(conversation)
    without = instructions(lambda _: turn(conversation, deltas=0), None)
    with_pieces = instructions(lambda _: turn(conversation, deltas=100), None)
    assert 0 < (with_pieces - without) / 100 < three_spans / 3 / 20


def test_a_turn_costs_as_much_after_hundreds(conversation):
    turn(conversation)
    early = instructions(turn, conversation)
    for _ in range(300):
        turn(conversation, deltas=1)
    assert instructions(turn, conversation) < 1.1 * early


def test_blocks_of_a_conversation_that_is_not_traced_cost_a_tenth(conversation, provider):
    untraced = Conversation(settings=Settings(enabled=False), tracer_provider=provider)
    turn(conversation)
    assert instructions(turn, untraced) < instructions(turn, conversation) / 8


def test_of_a_history_that_grows_its_end_alone_is_looked_at(monkeypatch):
    marked = []
    mark = messages._mark
    monkeypatch.setattr(messages, "_mark", lambda message: marked.append(message) or mark(message))
    history, said = PromptHistory(), []
    for turn in range(200):
        said.append({"role": "user", "content": f"question {turn}"})
        assert history.new(said) == said[-1:]
        said.append({"role": "assistant", "content": f"answer {turn}"})
    assert len(marked) <= 200 * (messages._MOST_COMPARED + 3)
