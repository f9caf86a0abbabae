"""What stands behind a Collector: takes OTLP over HTTP and keeps what came, as it came."""

from __future__ import annotations

import gzip
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Sink:
    """Every span and every metric that came."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.spans = []
        self.metrics = set()

    def take(self, path, body):
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        else:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}

    def wait_for(self, condition, timeout=30):
        deadline = time.monotonic() + timeout
        while not condition(self):
            assert time.monotonic() < deadline, ([span.name for span in self.spans], self.metrics)
            time.sleep(0.02)

    def named(self, name):
        return [span for span in self.spans if span.name == name]


def attributes(span):
    """Its attributes, of the kinds that we write."""
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@contextmanager
def sink():
    """A `Sink` that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            found.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Sink(server.server_port)
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield found
        finally:
            server.shutdown()
            serving.join()
