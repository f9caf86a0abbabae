"""What a conversation costs, against arithmetic by hand with the prices that the vendors publish."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding import cost, prices
from voicespan.delivery.encoding.cost import ConversationCost
from voicespan.delivery.encoding.langsmith_spans import get_attribute, get_attributes, set_attributes, split
from voicespan.delivery.spool import recovery
from voicespan.delivery.spool.folder import ROOT
from voicespan.gemini_live.protocol import Protocol
from voicespan.openai_live.protocol import Protocol as LiveProtocol
from voicespan.openai_realtime.protocol import Protocol as RealtimeProtocol

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


#: Dollars a million tokens, input text, audio, output; or an hour.
TRANSCRIPTIONS = {
    "gpt-4o-transcribe": ("2.5", "6", "10"),
    "gpt-4o-mini-transcribe": ("1.25", "3", "5"),
    "gpt-transcribe": "0.27",
    "whisper-1": "0.36",
    "gpt-realtime-whisper": "1.02",
    "gpt-live-transcribe": "1.02",
}


def transcription(model: str, **usage: float) -> Span:
    used = {f"langsmith__metadata__usage_{name}": count for name, count in usage.items()}
    named = {"langsmith__metadata__transcription_model": model, "langsmith__metadata__event_type": "x"}
    made = span("openai", "", **used, **named)
    made.name = "input_transcription"
    return made


@pytest.mark.parametrize("model", TRANSCRIPTIONS)
def test_what_the_user_says_is_transcribed_at_another_models_price(model):
    whole = ConversationCost()
    whole.add(generation("openai", "gpt-realtime", input=100, output=0))
    price = TRANSCRIPTIONS[model]
    if isinstance(price, str):
        spent = 2 * Decimal(36) * Decimal(price) / 3600
        used = {"seconds": 36.0}
    else:
        text, audio, out = map(Decimal, price)
        spent = 2 * (30 * text + 270 * audio + 40 * out) / MILLION
        used = {"input_tokens": 300, "input_audio_tokens": 270, "output_tokens": 40}
    for _ in range(2):
        made = transcription(model, **used)
        assert cost.has_cost(made.name, get_attributes(made))
        whole.add(made)
    root = span("openai", "gpt-realtime", langsmith__metadata__duration_s=60.0)
    whole.add_to_root(root)
    expected = float(spent + 100 * Decimal(4) / MILLION)
    assert get_attribute(root, "langsmith.metadata.cost") == pytest.approx(expected)


@pytest.mark.parametrize(
    "made",
    [
        transcription("nobody-knows-it", seconds=4),
        transcription("gpt-4o-transcribe", input_tokens=300, output_tokens=40),
        transcription("gpt-4o-transcribe", seconds=3),
    ],
    ids=["a model that is not listed", "how much was sound is not said", "another unit"],
)
def test_a_transcription_that_cannot_be_priced_leaves_the_rest_as_it_is(made):
    whole = ConversationCost()
    whole.add(generation("openai", "gpt-realtime", input=100, output=0))
    whole.add(made)
    root = span("openai", "gpt-realtime", langsmith__metadata__duration_s=60.0)
    whole.add_to_root(root)
    assert get_attribute(root, "langsmith.metadata.cost") == pytest.approx(100 * 4 / 1e6)


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-live-1"), ("x-ai", "grok-voice-latest")])
def test_a_model_that_is_billed_by_the_hour_has_its_cost_on_the_root_alone(provider, model):
    whole, made = ConversationCost(), generation(provider, model, input=100, output=50)
    whole.add(made)
    assert priced(made) == {"total_tokens": 1}
    root = span(provider, model, langsmith__metadata__usage_seconds=360.0)
    whole.add_to_root(root)
    assert get_attribute(root, "langsmith.metadata.cost") == pytest.approx(
        {"gpt-live-1": 0.3, "grok-voice-latest": 0.48}[model]
    )


def test_an_hour_with_answers_of_an_unknown_model_has_no_cost():
    whole = ConversationCost()
    whole.add(generation("openai", "nobody-knows-it", input=1, output=1))
    root = span("openai", "gpt-live-1", langsmith__metadata__usage_seconds=360.0)
    whole.add_to_root(root)
    assert get_attribute(root, "langsmith.metadata.cost") is None


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


def test_the_transcription_of_a_call_and_a_root_that_was_rebuilt_are_priced(manual):
    """The process died after it had written its spans."""
    voice = manual()
    conversation = voice.conversation()
    attributes = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-realtime"}
    connection = conversation.connect(RealtimeProtocol(), attributes)
    audio = {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}
    tokens = {
        "total_tokens": 40,
        "input_tokens": 30,
        "input_token_details": {"text_tokens": 10, "audio_tokens": 20},
        "output_tokens": 10,
    }
    usage = {
        "total_tokens": 1100,
        "input_tokens": 1000,
        "input_token_details": {"text_tokens": 400, "audio_tokens": 600, "cached_tokens": 0},
        "output_tokens": 100,
        "output_token_details": {"text_tokens": 20, "audio_tokens": 80},
    }
    done = {"id": "r", "status": "completed", "usage": usage, "output": []}
    for event in (
        {"type": "session.updated", "session": {"id": "s", "audio": audio}},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "i",
            "transcript": "A table.",
            "usage": {"type": "tokens", **tokens},
        },
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.done", "response": done},
    ):
        connection.received(json.dumps(event))
    conversation.flush()
    voice.clock.advance(30)
    voice.write()
    [entry] = voice.pipeline.writer._entries.values()
    recovery.finish(entry.folder, hide_recording=False)
    [(_, root)] = split(entry.folder.files.read(ROOT))
    spent = (400 * 4 + 600 * 32 + 20 * 16 + 80 * 64 + 10 * 2.5 + 20 * 6 + 10 * 10) / 1e6
    assert get_attribute(root, "langsmith.metadata.status") == "process ended"
    assert get_attribute(root, "langsmith.metadata.cost") == pytest.approx(spent)
    assert get_attribute(root, "langsmith.metadata.cost_per_minute") == pytest.approx(spent * 2, rel=0.02)


def test_a_conversation_that_is_billed_by_the_hour_is_priced_by_the_seconds_that_the_service_told(
    agent, langsmith_server
):
    """The service that answers in the background is billed by its tokens."""
    voice = agent()
    conversation = voice.conversation()
    attributes = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-live-1"}
    connection = conversation.connect(LiveProtocol(), attributes)
    usage = {
        "total_tokens": 1100,
        "input_tokens": 1000,
        "input_token_details": {"text_tokens": 1000, "cached_tokens": 0},
        "output_tokens": 100,
    }
    backend = {"id": "r1", "model": "gpt-realtime", "status": "completed", "output": [], "usage": usage}
    session = {"id": "live_1", "model": "gpt-live-1"}
    delegation = {"id": "d1", "type": "delegation", "target": "response"}
    for event in (
        {"type": "session.started", "session": session},
        {"type": "session.delegation.created", "delegation": delegation},
        {
            "type": "response.event",
            "delegation_id": "d1",
            "event": {"type": "response.created", "response": {"id": "r1"}},
        },
        {
            "type": "response.event",
            "delegation_id": "d1",
            "event": {"type": "response.completed", "response": backend},
        },
        {"type": "session.usage.updated", "usage": {"seconds": 60}},
        {"type": "session.closed", "reason": "close_requested", "usage": {"seconds": 90}},
    ):
        connection.received(json.dumps(event))
    connection.closed(1000)
    conversation.end()
    assert voice.deliver()
    [root] = langsmith_server.roots
    assert root.metadata["usage_seconds"] == 90
    assert root.metadata["cost"] == pytest.approx(3 * 90 / 3600 + (1000 * 4 + 100 * 16) / 1e6)


@pytest.mark.parametrize(("provider", "model"), TOKENS)
def test_what_is_calculated_here_is_what_the_package_calculates(provider, model):
    usages = random.Random(model)
    kinds = list(prices._SAMPLE)
    found = set()
    for _ in range(200):
        usage = {
            kind: usages.choice((0, usages.randrange(1, 5_000)))
            for kind in usages.sample(kinds, usages.randrange(2, 9))
        }
        usage["input_tokens"] = usages.randrange(20_000)
        usage["output_tokens"] = usages.randrange(6_000)
        expected = prices._asked(provider, model, usage)
        assert prices.price(provider, model, usage) == expected
        found.add(expected is None)
    assert False in found


def test_the_package_is_asked_once_for_many_generations(monkeypatch):
    asked = []
    calculated = prices._calculated
    monkeypatch.setattr(prices, "_calculated", lambda *given: asked.append(given) or calculated(*given))
    prices._tables.clear()
    usage = {"input_tokens": 100, "input_audio_tokens": 90, "output_tokens": 50}
    first = prices.price("openai", "gpt-realtime", usage)
    questions = len(asked)
    for count in range(100, 200):
        assert prices.price("openai", "gpt-realtime", {**usage, "input_tokens": count}) >= first
    assert len(asked) == questions == 1 + len(usage)
    assert (
        prices.price("openai", "no such model", usage)
        is prices.price("openai", "no such model", usage)
        is None
    )
    assert len(asked) == questions + 1


def test_a_price_that_depends_on_how_many_there_are_is_asked_for_each_time():
    few, many = ({"input_tokens": count, "output_tokens": 1} for count in (1_000, 400_000))
    each = [prices.price("google", "gemini-2.5-pro", usage) for usage in (few, many)]
    assert each == [prices._asked("google", "gemini-2.5-pro", usage) for usage in (few, many)]
    assert each[1].input_price > 400 * each[0].input_price


def test_a_price_is_asked_for_again_after_a_minute(monkeypatch):
    prices._tables.clear()
    usage = {"input_tokens": 100, "output_tokens": 50}
    now = 1_000.0
    monkeypatch.setattr(prices.time, "monotonic", lambda: now)
    assert prices.price("openai", "gpt-realtime", usage) is not None
    monkeypatch.setattr(prices, "_calculated", lambda *_: (_ for _ in ()).throw(LookupError))
    now += 59
    assert prices.price("openai", "gpt-realtime", usage) is not None
    now += 2
    assert prices.price("openai", "gpt-realtime", usage) is None
