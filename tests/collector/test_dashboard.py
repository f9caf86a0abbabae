"""Metrics of the demo's calls through the real Collector to Prometheus, and the dashboard that reads them there."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from ports import LOOPBACK, free_port

from voicespan.cli.main import main
from voicespan.recording.timeline.track import MS
from voicespan.recording.timeline.user_track import UserTrack
from voicespan.tracing.metrics import provider as meters

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"
#: Metric names, and those of labels, in a query.
_METRIC = re.compile(r"\b(?:(?<=sum \()|(?<=label_values\()|(?=\w+[\[{]))((?:voicespan|gen_ai)_[a-zA-Z_]+)")
_BY = re.compile(r"\b(?:by|ignoring) \(([a-z_, ]*)\)")
_MATCHER = re.compile(r"([a-z_]+)(?:=~|!=|=)\"")


def queries():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return found + [each["definition"] for each in dashboard["templating"]["list"] if "definition" in each]


@contextlib.contextmanager
def demo_calls(url):
    """One with a voice model, one with a cascade, and a stream of audio that stalls."""
    exporter = OTLPMetricExporter(endpoint=f"{url}/v1/metrics")
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], shutdown_on_exit=False)
    meters.name_provider(provider)
    try:
        for kind in ("openai", "cascade"):
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(["demo", "--fast", "--json", "--provider", kind]) == 0
        side = UserTrack(0)
        for at in [n * 20 for n in range(10)] + [500] * 15 + [n * 20 for n in range(26, 40)]:
            side.place(at * MS, 320, 8_000, "pcm16")
        assert provider.force_flush()
        # Not after the end: each export has the exemplars since the one before.
        yield
    finally:
        meters.name_provider(None)
        meters.look()
        provider.shutdown()


def scraped(address):
    """Every series that Prometheus would read: the metric's name, and its labels."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    deadline = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{address}/metrics", headers=accept)
        ) as page:
            text = page.read().decode()
        if "voicespan_call_duration" in text:
            break
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    series = []
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"([a-zA-Z_:]+)(?:{([^}]*)})? ", line).groups()
            series.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))))
    return text, series


@pytest.fixture
def read(gateway, agent):
    """What Prometheus reads after the calls: the agent passes metrics on, and so does the gateway."""
    address = f"{LOOPBACK}:{free_port()}"
    running = agent(gateway("prometheus.yaml", PROMETHEUS_ENDPOINT=address))
    with demo_calls(running.url):
        return scraped(address)


def test_every_query_of_the_dashboard_finds_its_metrics_and_labels(read):
    text, series = read
    names = {name for name, _ in series}
    labels = {name: {label for each, found in series if each == name for label in found} for name in names}
    asked = queries()
    assert len(asked) > 20
    for query in asked:
        metrics = _METRIC.findall(query)
        assert metrics, query
        wanted = {label for part in _BY.findall(query) for label in part.split(", ")} | set(
            _MATCHER.findall(query)
        )
        known = set().union(*(labels.get(metric, ()) for metric in metrics))
        assert [metric for metric in metrics if metric not in names] == [], query
        assert wanted - known - {""} == (wanted & {"error_type"}), query
    # From a slow answer to its trace.
    assert re.search(r'voicespan_response_gap_seconds_bucket{.*} \S+ # {.*trace_id="[0-9a-f]{32}"', text)
    # No series is of one conversation.
    assert not {label for found in labels.values() for label in found if label.endswith("_id")}
