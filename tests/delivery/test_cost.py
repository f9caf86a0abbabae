"""What a conversation costs, against arithmetic by hand with the prices that the vendors publish."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding import cost
from voicespan.delivery.encoding.cost import ConversationCost
from voicespan.delivery.encoding.langsmith_spans import get_attribute, set_attributes
from voicespan.gemini_live.protocol import Protocol

genai_prices = pytest.importorskip("genai_prices")

#: Dollars a million: input text, audio, cached text, cached audio, output text, audio. No price for what is cached
#: means that it costs what everything else costs.
TOKENS = {
    ("openai", "gpt-realtime"): ("4", "32", "0.4", "0.4", "16", "64"),
    ("openai", "gpt-realtime-2"): ("4", "32", "0.4", "0.4", "24", "64"),
    ("openai", "gpt-realtime-mini"): ("0.6", "10", "0.06", "0.3", "2.4", "20"),
    ("openai", "gpt-4o-realtime-preview"): ("5", "40", "2.5", "2.5", "20", "80"),
    ("openai", "gpt-4o-mini-realtime-preview"): ("0.6", "10", "0.3", "0.3", "2.4", "20"),
    ("google", "gemini-3.8-live"): ("0.75", "3", "0.75", "3", "4.5", "12"),
    ("google", "gemini-3.1-flash-live-preview"): ("0.75", "3", "0.75", "3", "4.5", "12"),
    ("google", "gemini-live-2.5-flash"): ("0.5", "3", "0.5", "3", "2", "12"),
    # Text alone: what they say is billed by the hour.
    ("elevenlabs", "eleven_realtime_v1_max"): ("1.8", None, "0.18", None, "9", None),
    ("elevenlabs", "eleven_realtime_v1_mini"): ("0.2", None, "0.2", None, "6", None),
}
#: Dollars an hour, and a thousand texts.
HOURS = {
    ("openai", "gpt-live-1"): ("3", "0"),
    ("openai", "gpt-live-transcribe"): ("1.02", "0"),
    ("openai", "gpt-realtime-translate"): ("2.04", "0"),
    ("openai", "gpt-realtime-whisper"): ("1.02", "0"),
    ("x-ai", "grok-voice-latest"): ("4.8", "4"),
    ("x-ai", "grok-voice-think-fast-1.0"): ("3", "4"),
    ("x-ai", "grok-voice-think-fast-2.0"): ("4.8", "4"),
    ("mistral", "voxtral-mini-transcribe-realtime-2602"): ("0.36", "0"),
    ("mistral", "voxtral-mini-transcribe-realtime-3-0"): ("0.48", "0"),
}
PROVIDERS = {"google": "gcp.gemini", "x-ai": "x_ai", "mistral": "mistral_ai"}
MILLION = Decimal(1_000_000)


def span(provider: str, model: str, **attributes: float | str) -> Span:
    made = Span()
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    provider = PROVIDERS.get(provider, provider)
    set_attributes(made, {"gen_ai.provider.name": provider, "gen_ai.request.model": model, **named})
    return made


def generation(provider: str, model: str, **tokens: int) -> Span:
    usage = {f"gen_ai.usage.{name.replace('__', '.')}_tokens": count for name, count in tokens.items()}
    return span(provider, model, **usage, **{"langsmith.usage_metadata": '{"total_tokens": 1}'})


def priced(made: Span) -> dict[str, float]:
    return json.loads(get_attribute(made, "langsmith.usage_metadata"))


def test_every_voice_model_that_the_package_lists_is_checked_here():
    from genai_prices.data import providers

    words = ("realtime", "live", "voice")
    listed = {(p.id, m.id) for p in providers for m in p.models if any(word in m.id for word in words)}
    assert listed == TOKENS.keys() | HOURS.keys()


@pytest.mark.parametrize(("provider", "model"), TOKENS)
def test_tokens(provider, model):
    text, audio, cached_text, cached_audio, text_out, audio_out = (
        None if price is None else Decimal(price) for price in TOKENS[provider, model]
    )
    sounds = {} if audio is None else {"audio__input": 3000, "audio__output": 600}
    cached = {"cache_read__input": 500} if audio is None else {"cache_read__input": 1500}
    if audio is not None:
        cached["audio__cache_read__input"] = 1000
    made = generation(
        provider, model, input=2000 + sounds.get("audio__input", 0), output=1000, **sounds, **cached
    )
    whole = ConversationCost()
    whole.add(made)

    spent_in = 1500 * text + 500 * cached_text
    spent_out = 1000 * text_out if audio is None else 400 * text_out + 600 * audio_out
    if audio is not None:
        spent_in += 2000 * audio + 1000 * cached_audio
    assert priced(made)["input_cost"] == pytest.approx(float(spent_in / MILLION))
    assert priced(made)["output_cost"] == pytest.approx(float(spent_out / MILLION))
    assert priced(made)["total_cost"] == pytest.approx(float((spent_in + spent_out) / MILLION))
    root = span(provider, model, langsmith__metadata__duration_s=120.0)
    whole.add_to_root(root)
    total = float((spent_in + spent_out) / MILLION)
    assert get_attribute(root, "langsmith.metadata.cost") == pytest.approx(total)
    assert get_attribute(root, "langsmith.metadata.cost_per_minute") == pytest.approx(total / 2, abs=1e-6)
    assert get_attribute(root, "langsmith.metadata.cost_prices_version") == genai_prices.__version__


@pytest.mark.parametrize(("provider", "model"), HOURS)
def test_hours(provider, model):
    hour, thousand = map(Decimal, HOURS[provider, model])
    seconds = {"langsmith__metadata__duration_s": 600.0}
    if provider != "x-ai":
        # Who reports the time is billed by that, and not by how long the connection was open.
        seconds = {"langsmith__metadata__duration_s": 900.0, "langsmith__metadata__usage_seconds": 600.0}
    root = span(provider, model, **seconds, langsmith__metadata__text_message_count=5)
    ConversationCost().add_to_root(root)
    expected = hour / 6 + 5 * thousand / 1000
    assert get_attribute(root, "langsmith.metadata.cost") == pytest.approx(float(expected))


def test_the_late_turn_that_was_told_eleven_times_too_dear():
    made = generation(
        "openai",
        "gpt-realtime",
        input=9000,
        output=0,
        audio__input=7600,
        cache_read__input=8300,
        audio__cache_read__input=7000,
    )
    ConversationCost().add(made)
    # 100 texts and 600 of audio that were not cached, and 8300 that were.
    assert priced(made)["total_cost"] == pytest.approx((100 * 4 + 600 * 32 + 8300 * 0.4) / 1e6)


@pytest.mark.parametrize(
    "made",
    [
        generation("openai", "nobody-knows-it", input=1, output=1),
        generation("a-gateway", "gpt-realtime", input=1, output=1),
        # Of which kind the cached ones were is not known.
        generation("openai", "gpt-realtime", input=9, output=1, audio__input=5, cache_read__input=4),
        generation("openai", "gpt-realtime", input=1),
    ],
)
def test_what_is_not_known_has_no_cost(made):
    whole = ConversationCost()
    whole.add(generation("openai", "gpt-realtime", input=1, output=1))
    whole.add(made)
    root = span("openai", "gpt-realtime", langsmith__metadata__duration_s=60.0)
    whole.add_to_root(root)
    assert priced(made) == {"total_tokens": 1}
    assert get_attribute(root, "langsmith.metadata.cost") is None


def test_without_the_package_there_is_no_cost(monkeypatch):
    monkeypatch.setattr(cost, "is_available", lambda: False)
    made = generation("openai", "gpt-realtime", input=1, output=1)
    ConversationCost().add(made)
    assert priced(made) == {"total_tokens": 1}


def test_a_conversation_is_priced(agent, langsmith_server):
    voice = agent()
    conversation = voice.conversation()
    attributes = {"gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "gemini-3.8-live"}
    connection = conversation.connect(Protocol(), attributes)
    usage = {
        "promptTokenCount": 1000,
        "responseTokenCount": 100,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 1100,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 600}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}],
    }
    for _ in range(2):
        connection.received({"serverContent": {"outputTranscription": {"text": "Hello."}}})
        connection.received({"serverContent": {"turnComplete": True}, "usageMetadata": usage})
    connection.closed(1000)
    conversation.end()
    assert voice.deliver()

    [root] = langsmith_server.roots
    turns = [run for run in root.children if run.name == "turn_complete"]
    # 400 texts and 600 of audio in; 20 of thoughts and 100 of audio out.
    spent = (400 * 0.75 + 600 * 3) / 1e6, (20 * 4.5 + 100 * 12) / 1e6
    for each in turns:
        usage = each.usage
        assert (usage["input_cost"], usage["output_cost"]) == pytest.approx(spent)
        assert usage["total_cost"] == pytest.approx(sum(spent))
    assert root.metadata["cost"] == pytest.approx(2 * sum(spent))
    assert root.metadata["cost_per_minute"] > 0
