"""The example, with an exporter that writes each span of it to the server's log."""

from __future__ import annotations

import json
import sys

from fastapi_app import app, provider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

__all__ = ["app"]


class Lines(SpanExporter):
    def export(self, spans):
        for span in spans:
            told = {
                "name": span.name,
                "scope": span.instrumentation_scope.name,
                "trace": span.context.trace_id,
                "id": span.context.span_id,
                "parent": span.parent and span.parent.span_id,
                "links": [[link.context.trace_id, link.context.span_id] for link in span.links],
            }
            sys.stderr.write(f"span: {json.dumps(told)}\n")
        sys.stderr.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


provider.add_span_processor(SimpleSpanProcessor(Lines()))
