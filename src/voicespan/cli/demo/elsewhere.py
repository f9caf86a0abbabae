"""Where the demo's call goes besides: to a backend of one's own (any that takes OTLP over HTTP), and into a browser."""

from __future__ import annotations

import importlib
import importlib.util
import webbrowser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from voicespan.report import find, page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

_PACKAGE = "opentelemetry-exporter-otlp-proto-http"
_MODULE = "opentelemetry.exporter.otlp.proto.http"
_PATH = "/v1/traces"
#: Seconds for a request.
_TIMEOUT = 10.0


def why_not(url: str) -> str | None:
    """Why nothing can be sent to `url`; None: it can be tried."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        return f"--to takes an http or https URL, and not {url}"
    try:
        missing = importlib.util.find_spec(_MODULE) is None
    except ModuleNotFoundError:
        missing = True
    return f"--to needs OpenTelemetry's exporter: pip install {_PACKAGE}" if missing else None


class Backend(SpanExporter):
    """Sends spans there, and knows what became of them."""

    def __init__(self, url: str) -> None:
        self.url = _traces_url(url)
        # Only who asks for it has the package.
        exporters: Any = importlib.import_module(f"{_MODULE}.trace_exporter")
        self._exporter: SpanExporter = exporters.OTLPSpanExporter(self.url, timeout=_TIMEOUT)
        self._taken = self._lost = 0

    def processor(self) -> BatchSpanProcessor:
        """What a provider is given."""
        return BatchSpanProcessor(self)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the base class."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._taken += len(spans)
        else:
            self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """See the base class."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See the base class."""
        return bool(self._exporter.force_flush(timeout_millis))

    @property
    def took_all(self) -> bool:
        """Whether everything that was sent was taken."""
        return self._taken > 0 and not self._lost

    @property
    def outcome(self) -> str:
        """What became of it, in one sentence."""
        if self.took_all:
            return f"{self._taken} spans are at {self.url}."
        return f"{self.url} did not take {self._lost} of {self._taken + self._lost} spans."


def _traces_url(url: str) -> str:
    split = urlsplit(url)
    return urlunsplit(split._replace(path=_PATH)) if split.path in ("", "/") else url


def open_call(folder: Path) -> None:
    """Open the newest call of `folder` in a browser: as one file, which stays when the demo is over."""
    written = folder / "call.html"
    written.write_bytes(page.report(find.read(find.find("last", folder))))
    webbrowser.open(written.as_uri())
