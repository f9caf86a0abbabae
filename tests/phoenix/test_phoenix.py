"""Arize Phoenix, a backend that knows nothing of voicespan: what it reads of a call, through its own APIs."""

from __future__ import annotations

import json
import time

import pytest
from demo_call import hold
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

#: The demo's providers, by one exporter or the other.
KINDS = {"openai": "http", "openai-live": "grpc", "gemini": "http", "cascade": "grpc"}
ASKED = "table for four"
COSTS = """{ projects { edges { node { name
    sessions(first: 5) { edges { node { sessionId numTraces tokenUsage { total } } } }
    spans(first: 100) { edges { node { name costSummary { total { cost } } } } } } } } }"""


class Read:
    """What Phoenix has of one call."""

    def __init__(self, phoenix, project):
        self.spans = phoenix.get(f"projects/{project}/spans?limit=1000")
        [self.root] = [span for span in self.spans if span["name"] == "conversation"]
        found = phoenix.ask(COSTS)["projects"]["edges"]
        [own] = [edge["node"] for edge in found if edge["node"]["name"] == project]
        self.sessions = [edge["node"] for edge in own["sessions"]["edges"]]
        self.costs = [
            edge["node"]["costSummary"]["total"]["cost"]
            for edge in own["spans"]["edges"]
            if edge["node"]["costSummary"]
        ]

    def of_kind(self, kind):
        return [span for span in self.spans if span["span_kind"] == kind]

    @property
    def generations(self):
        return [span for span in self.of_kind("LLM") if said(span, "llm.token_count.total")]

    def tokens(self, name):
        return sum(said(span, name) or 0 for span in self.generations)


def said(span, name):
    return span["attributes"].get(name)


def messages(span, side):
    """The texts of its messages, as Phoenix shows them."""
    beginning = f"llm.{side}_messages."
    return [
        str(value) for name, value in span["attributes"].items()
        if name.startswith(beginning) and name.endswith("message.content")
    ]  # fmt: skip


@pytest.fixture(scope="session")
def calls(phoenix):
    """Holds a call with a provider, once, and reads what came of it."""
    held = {}

    def call(kind):
        if kind not in held:
            provider = TracerProvider(resource=Resource.create({"openinference.project.name": kind}))
            exporter = (
                HttpExporter(endpoint=f"{phoenix.url}/v1/traces")
                if KINDS[kind] == "http"
                else GrpcExporter(endpoint=f"http://127.0.0.1:{phoenix.grpc}")
            )
            provider.add_span_processor(BatchSpanProcessor(exporter))
            hold(kind, provider)
            provider.shutdown()
            held[kind] = whole(phoenix, kind)
        return held[kind]

    return call


def whole(phoenix, kind):
    """Phoenix writes spans, and then what they cost, in the background."""
    deadline = time.monotonic() + 30
    while True:
        known = {project["name"] for project in phoenix.get("projects")}
        spans = phoenix.get(f"projects/{kind}/spans?limit=1000") if kind in known else []
        if any(span["name"] == "conversation" for span in spans):
            read = Read(phoenix, kind)
            if len(read.costs) == len(read.generations):
                return read
        assert time.monotonic() < deadline, [span["name"] for span in spans]
        time.sleep(0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_one_trace_of_one_session(calls, kind):
    read = calls(kind)
    assert read.root["span_kind"] == "AGENT"
    assert {span["context"]["trace_id"] for span in read.spans} == {read.root["context"]["trace_id"]}
    [session] = read.sessions
    assert session["sessionId"] == said(read.root, "session.id") == said(read.root, "gen_ai.conversation.id")
    assert (session["numTraces"], session["tokenUsage"]["total"]) == (1, read.tokens("llm.token_count.total"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_said_is_its_input_and_output(calls, kind):
    read = calls(kind)
    assert any(ASKED in text for text in messages(read.root, "input"))
    assert any("half past eight" in text for text in messages(read.root, "output"))
    for side in ("input", "output"):
        assert any(messages(span, side) for span in read.generations), side


@pytest.mark.parametrize("kind", KINDS)
def test_functions_are_tools_with_their_arguments_and_results(calls, kind):
    read = calls(kind)
    tools = {said(span, "tool.name"): span for span in read.of_kind("TOOL")}
    assert set(tools) == {"find_tables", "book_table"}
    found = tools["find_tables"]
    assert (said(found, "tool.parameters.people"), said(found, "tool.parameters.time")) == (4, "20:00")
    assert json.loads(said(found, "output.value"))["free"][0]["time"] == "20:30"
    # What the application did in it stands below it.
    [query] = [span for span in read.spans if span["name"] == "SELECT tables"]
    assert query["parent_id"] == found["context"]["span_id"]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_counted_and_those_of_sound_apart(calls, kind):
    read = calls(kind)
    for side, name in (("prompt", "input"), ("completion", "output")):
        assert read.tokens(f"llm.token_count.{side}") == read.tokens(f"gen_ai.usage.{name}_tokens") > 0
        priced = read.tokens(f"llm.token_count.{side}_details.audio")
        heard = read.tokens(f"gen_ai.usage.audio.{name}_tokens")
        # The voice models hear and speak; what a cascade's language model and Live's backend read is text.
        assert (priced > 0) == (heard > 0) == (kind in {"openai", "gemini"})
        assert priced <= heard


def test_what_it_costs_is_what_voicespan_says_without_the_transcription(calls):
    """By hand, with OpenAI's prices a million tokens: text 4, audio 32, cached 0.4; output 16 and 64."""
    read = calls("openai")
    dollars = 0.0
    for span in read.generations:
        usage = {name: said(span, f"gen_ai.usage.{name}") or 0 for name in (
            "text.input_tokens", "audio.input_tokens", "cache_read.input_tokens", "text.cache_read.input_tokens",
            "audio.cache_read.input_tokens", "text.output_tokens", "audio.output_tokens",
        )}  # fmt: skip
        dollars += 4 * (usage["text.input_tokens"] - usage["text.cache_read.input_tokens"])
        dollars += 32 * (usage["audio.input_tokens"] - usage["audio.cache_read.input_tokens"])
        dollars += 0.4 * usage["cache_read.input_tokens"]
        dollars += 16 * usage["text.output_tokens"] + 64 * usage["audio.output_tokens"]
    assert sum(read.costs) == pytest.approx(dollars / 1e6, rel=0.001)
