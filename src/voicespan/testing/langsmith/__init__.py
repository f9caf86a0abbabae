"""LangSmith's ingest for tests: a real HTTP server on 127.0.0.1.

    with LangSmithServer() as server:
        exporter = OTLPSpanExporter(server.traces_url, headers={"x-api-key": server.api_key})
        ...
        (root,) = server.wait_for(lambda server: server.roots)
        print(server.render(root))

A request goes through these modules: `connections` (HTTP), `failures` (what was ordered for it), `body`
(read and decompressed), `endpoints` (who may ask, what is answered), `otlp` or `multipart` (taken apart),
`mapping` and `messages` (a span becomes a run), `attachments` (its files), `store` (its place in a tree).
"""

from __future__ import annotations

from voicespan.testing.langsmith.render import render
from voicespan.testing.langsmith.runs import Attachment, Dropped, Request, Run
from voicespan.testing.langsmith.server import LangSmithServer

__all__ = ["Attachment", "Dropped", "LangSmithServer", "Request", "Run", "render"]
