"""Conversations and their metrics through OpenTelemetry's own exporters, to a Collector or any backend that takes OTLP.

Needs voicespan[openai,otlp] and OPENAI_API_KEY. OTEL_EXPORTER_OTLP_ENDPOINT says where to: http://localhost:4318 by
default. For gRPC import from `opentelemetry.exporter.otlp.proto.grpc` instead; the default is then localhost:4317.
"""

from __future__ import annotations

from openai import OpenAI
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
# A voicespan.LangSmithSpanProcessor() may stand beside it: it adds the recording, and a spool on disk.
trace.set_tracer_provider(provider)
OpenAIRealtimeInstrumentor().instrument()

with OpenAI().realtime.connect(model="gpt-realtime") as connection:
    connection.response.create()
    for event in connection:
        if event.type == "response.output_audio_transcript.done":
            print(event.transcript)
        elif event.type == "response.done":
            break
# Nothing is flushed here: at the end of the process the SDK sends what is left.
