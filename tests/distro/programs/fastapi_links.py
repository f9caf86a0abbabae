"""The example, with each span of it in the server's log."""

from __future__ import annotations

from fastapi_app import app, provider
from span_lines import write_spans_of

__all__ = ["app"]

write_spans_of(provider)
