"""The exporters that people have: conversations through OpenTelemetry's own, HTTP and gRPC, into a real Collector.

The processes end without a flush: what they have not sent by then, the SDK sends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otlp_sink import attributes, sink
from ports import LOOPBACK

from voicespan.delivery.encoding import cost
from voicespan.openai_realtime.protocol import Protocol
from voicespan.testing import OpenAIRealtimeServer
from voicespan.tracing.conversation import Conversation

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "otlp_exporter.py"
AGENT = ROOT / "tests" / "distro" / "programs" / "openai_agent.py"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

#: Behind a Collector as people have it, with the limits that it has by default.
BEHIND = """
  pipelines:
    traces:
      exporters: [otlp_http/sink]
    metrics:
      exporters: [otlp_http/sink]
extensions:
  health_check: {endpoint: "127.0.0.1:0"}
exporters:
  otlp_http/sink:
    endpoint: ${env:SINK}
    sending_queue: {enabled: false}
"""
METRICS = {"gen_ai.client.operation.duration", "voicespan.call.duration", "voicespan.answers"}
#: What only a processor of ours knows, with the package of the prices.
PRICED = {"voicespan.call.cost"} if cost.is_available() else set()


@pytest.fixture
def arrived():
    with sink() as found:
        yield found


@pytest.fixture
def existing(collector, arrived):
    return collector("existing", "existing.yaml", overlay=BEHIND, SINK=arrived.url)


@pytest.fixture(scope="session")
def distro(tmp_path_factory):
    """A folder with OpenTelemetry's distribution in it, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("distro")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, "opentelemetry-distro"], check=True)
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs a program in an environment in which nothing is set but what is said."""

    def run(*command, **environ):
        with OpenAIRealtimeServer.conversational(timeout=20) as openai:
            clean = {
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "VOICESPAN_SPOOL_DIR": str(tmp_path / "spool"),
                "OPENAI_API_KEY": "sk-test",
                "OPENAI_BASE_URL": openai.url.replace("ws://", "http://"),
            }
            finished = subprocess.run(
                command, env=clean | environ, capture_output=True, text=True, check=False, timeout=50
            )
        assert finished.returncode == 0, finished.stderr
        assert "Traceback" not in finished.stderr, finished.stderr
        return finished

    return run


def of(kind, running):
    """The variables that name the exporter and where it sends to."""
    if kind == "grpc":
        return {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:{running.grpc}",
        }
    return {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": running.url}


def check(arrived, key):
    """Everything of one conversation came once, under the names that anybody reads."""
    arrived.wait_for(
        lambda found: found.named("conversation") and found.metrics >= METRICS | (PRICED if key else set())
    )
    [root] = arrived.named("conversation")
    children = [span for span in arrived.spans if span is not root]
    assert {span.trace_id for span in children} == {root.trace_id}
    assert {span.parent_span_id for span in children} == {root.span_id}
    assert len({span.span_id for span in arrived.spans}) == len(arrived.spans)
    [generation] = [span for span in children if "gen_ai.usage.input_tokens" in attributes(span)]
    said = attributes(generation)
    assert (said["gen_ai.provider.name"], said["gen_ai.request.model"]) == ("openai", "gpt-realtime")
    # The recording is no matter of theirs.
    assert "langsmith.attachments" not in attributes(root)


@pytest.fixture(params=[False, True], ids=["alone", "beside-ours"])
def key(request, langsmith):
    """With a key of LangSmith's, voicespan's own processor stands beside the exporter."""
    url = {"LANGSMITH_API_KEY": langsmith.api_key, "LANGSMITH_ENDPOINT": langsmith.url}
    return url if request.param else {}


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_set_up_by_hand_and_by_variables(run, existing, arrived, key, kind, langsmith, tmp_path):  # noqa: PLR0917  fixtures
    text = EXAMPLE.read_text(encoding="utf-8").replace("otlp.proto.http", f"otlp.proto.{kind}")
    if key:
        ours = "import voicespan\nprovider.add_span_processor(voicespan.LangSmithSpanProcessor())\n"
        before, after = text.split("trace.set_tracer_provider(")
        text = f"{before}{ours}trace.set_tracer_provider({after}"
    program = tmp_path / "app.py"
    program.write_text(text, encoding="utf-8")
    run(sys.executable, str(program), **key, **of(kind, existing))
    check(arrived, key)
    assert [root.name for root in langsmith.roots] == (["conversation"] if key else [])
    assert (tmp_path / "spool").exists() == bool(key)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_set_up_by_a_distribution(run, existing, arrived, distro, key, kind, langsmith):  # noqa: PLR0917  fixtures
    said = run(
        INSTRUMENT, sys.executable, str(AGENT), PYTHONPATH=str(distro), OTEL_LOGS_EXPORTER="none",
        OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="otlp", **key, **of(kind, existing),
    )  # fmt: skip
    check(arrived, key)
    assert [root.name for root in langsmith.roots] == (["conversation"] if key else [])
    assert ("own span exporters only" in said.stderr) == (not key)


#: A transcript as long as a root keeps it, in pieces that fit a span.
PIECES, CHARACTERS = 60, 55_000


def hold_long_call(exporter, **limits):
    """A call of which hours are said, and a span of the application's."""
    limit = SpanLimits(**limits) if limits else None
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limit)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.get_tracer("theirs").start_span("a small span").end()
    conversation = Conversation(tracer_provider=provider)
    connection = conversation.connect(Protocol(), {})
    for number in range(PIECES):
        said = {"item_id": f"i{number}", "content_index": 0, "transcript": "a word " * (CHARACTERS // 7)}
        frame = {"type": "conversation.item.input_audio_transcription.completed", **said}
        connection.received(json.dumps(frame).encode())
    conversation.end()
    provider.shutdown()


def root_size(arrived):
    arrived.wait_for(lambda found: found.named("conversation"))
    [root] = arrived.named("conversation")
    return root.ByteSize()


def test_a_long_root_arrives_over_http(existing, arrived):
    hold_long_call(HttpExporter(endpoint=f"{existing.url}/v1/traces"))
    assert root_size(arrived) > 2_900_000
    assert len(arrived.spans) == PIECES + 2


def test_over_grpc_what_is_larger_than_a_message_is_lost_with_all_beside_it(existing, arrived, caplog):
    """Why the page says what to set: 4 MiB is what a receiver takes, and nobody cuts a batch in two."""
    exporter = GrpcExporter(endpoint=f"http://{LOOPBACK}:{existing.grpc}", timeout=1)
    hold_long_call(exporter)
    assert arrived.spans == []
    assert "RESOURCE_EXHAUSTED" in caplog.text


def test_over_grpc_it_arrives_where_texts_are_limited(existing, arrived):
    exporter = GrpcExporter(endpoint=f"http://{LOOPBACK}:{existing.grpc}")
    hold_long_call(exporter, max_span_attribute_length=30_000)
    assert 20_000 < root_size(arrived) < 80_000
    assert len(arrived.spans) == PIECES + 2
    [root] = arrived.named("conversation")
    # Cut inside its structure: it is JSON still.
    texts = [
        text for text in attributes(root).values() if isinstance(text, str) and text.startswith(("{", "["))
    ]
    assert texts
    assert all(json.loads(text) for text in texts)


def test_over_grpc_it_arrives_whole_at_the_agent_that_is_shipped(collector, arrived):
    running = collector("agent", "agent.yaml", GATEWAY_ENDPOINT=arrived.url)
    hold_long_call(GrpcExporter(endpoint=f"http://{LOOPBACK}:{running.grpc}"))
    assert root_size(arrived) > 2_900_000
    assert len(arrived.spans) == PIECES + 2
