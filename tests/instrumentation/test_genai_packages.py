"""The GenAI instrumentations of others, unchanged, in a pipeline of one's own: outside of a block and inside of one."""

from __future__ import annotations

import http.server
import importlib
import json
import threading

import pytest
from span_content import came, given

from voicespan.runtime.settings import Settings
from voicespan.testing.cascade import CascadeServer
from voicespan.tracing.scope import ConversationScope

META = "langsmith.metadata."
ASKED = [{"role": "user", "content": "What is the weather?"}]
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Sunny."}],
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
GOOGLE = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Sunny."}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
}


@pytest.fixture
def answering():
    """Starts a server whose every answer is this one; returns its URL."""
    servers = []

    def answering(answer):
        body = json.dumps(answer).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield answering
    for server in servers:
        server.shutdown()
        server.server_close()


def openai(_answering):
    from openai import OpenAI

    with CascadeServer(["Sunny."]) as server, OpenAI(api_key="t", base_url=server.url) as client:
        client.chat.completions.create(model="gpt-5", messages=ASKED)


def anthropic(answering):
    from anthropic import Anthropic

    with Anthropic(api_key="t", base_url=answering(ANTHROPIC)) as client:
        client.messages.create(model="claude", max_tokens=10, messages=ASKED)


def google(answering):
    from google import genai

    client = genai.Client(api_key="t", http_options={"base_url": answering(GOOGLE)})
    client.models.generate_content(model="gemini-2.5-flash", contents="What is the weather?")


PACKAGES = {
    "opentelemetry.instrumentation.openai_v2": ("OpenAIInstrumentor", openai),
    "opentelemetry.instrumentation.genai.openai": ("OpenAIInstrumentor", openai),
    "openinference.instrumentation.openai": ("OpenAIInstrumentor", openai),
    # Behind the others: it leaves patches behind.
    "opentelemetry.instrumentation.openai": ("OpenAIInstrumentor", openai),
    "opentelemetry.instrumentation.genai.anthropic": ("AnthropicInstrumentor", anthropic),
    "opentelemetry.instrumentation.anthropic": ("AnthropicInstrumentor", anthropic),
    "openinference.instrumentation.anthropic": ("AnthropicInstrumentor", anthropic),
    "opentelemetry.instrumentation.google_genai": ("GoogleGenAiSdkInstrumentor", google),
    "openinference.instrumentation.google_genai": ("GoogleGenAIInstrumentor", google),
}


@pytest.fixture(params=list(PACKAGES))
def ask(request, tracer_provider, answering):
    """Asks a language model, with its client instrumented by one of the packages."""
    package = pytest.importorskip(
        request.param, reason="in an environment of its own: tests/compat/run.py genai"
    )
    name, ask = PACKAGES[request.param]
    instrumentor = getattr(package, name)()
    instrumentor.instrument(tracer_provider=tracer_provider)
    importlib.import_module("google.genai" if ask is google else ask.__name__)
    yield lambda: ask(answering)
    instrumentor.uninstrument()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside"])
def test_the_tokens_of_a_call_stand_once(ask, tracer_provider, span_exporter, block):
    with ConversationScope(tracer_provider=tracer_provider, settings=Settings()) as conversation:
        with conversation.stt() as stt:
            stt.output("What is the weather?")
        if block:
            with conversation.llm(messages=ASKED) as llm:
                ask()
                llm.output("Sunny.")
        else:
            ask()
        with conversation.tts("Sunny.") as tts:
            tts.first_byte()
            tts.output(seconds=1.0)
    spans = span_exporter.get_finished_spans()
    (root,) = (span for span in spans if span.name == "conversation")
    said = [each["content"] for of in (given, came) for each in of(root)["messages"]]
    assert said == ["What is the weather?", "Sunny."]
    facts = {name.removeprefix(META): value for name, value in root.attributes.items()}
    assert (facts["turn_count"], facts["answers_completed"]) == (1, 1)
    assert facts["total_tokens"] > 2
    llms = [span for span in spans if span.name == "llm"]
    assert len(llms) == block
    assert not any("usage" in name for span in llms for name in span.attributes)
    # Its own span is where it would be, and counts what the root does.
    parent = llms[0] if block else root
    (call,) = (span for span in spans if span.parent and span.parent.span_id == parent.context.span_id
               and span.name not in ("stt", "llm", "tts"))  # fmt: skip
    counts = (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "llm.token_count.prompt",
        "llm.token_count.completion",
    )
    assert sum(call.attributes.get(name, 0) for name in counts) == facts["total_tokens"]
    (tts,) = (span for span in spans if span.name == "tts")
    assert tts.attributes[META + "llm_ms"] > 0
