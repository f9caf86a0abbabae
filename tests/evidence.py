"""Everything that comes out of a traced process, in one place, to be searched for what must not be there."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from voicespan.delivery.processor import LangSmithSpanProcessor
from voicespan.testing.exporter import UpToDateSpanExporter

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

#: The client libraries log their own headers and frames, if they are asked to.
_NOT_OURS = ("websockets", "openai", "httpx", "httpcore", "google", "asyncio", "hypothesis")


class Relay:
    """Stands before a server and keeps what comes by: the bodies of the requests, without their headers."""

    def __init__(self, server) -> None:
        self.bodies: list[bytes] = []
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                relay.bodies.append(
                    gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                )
                behind = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
                try:
                    behind.request("POST", self.path, body, dict(self.headers))
                    answer = behind.getresponse()
                    status, words = answer.status, answer.read()
                except OSError:
                    status, words = 503, b""
                finally:
                    behind.close()
                self.send_response(status)
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(_NOT_OURS):
            self.lines.append(self.format(record))


class Evidence:
    """A provider with an exporter of its own and the road to a LangSmith server, and all that was written."""

    def __init__(self, server, spool_dir: Path, **arguments) -> None:
        """`arguments`: more of the processor's."""
        self.server = server
        self.spool_dir = spool_dir
        self.exporter = UpToDateSpanExporter()
        #: What commands printed, and errors said.
        self.said: list[str] = []
        #: What stood in the spool when it was looked at.
        self.spooled: dict[str, bytes] = {}
        self.relay = Relay(server)
        self._log = _Log()
        self._arguments = arguments

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._level = root.level
        root.addHandler(self._log)
        root.setLevel(logging.DEBUG)
        self.relay.__enter__()
        self.processor = LangSmithSpanProcessor(
            **{
                "endpoint": self.relay.url,
                "api_key": self.server.api_key,
                "spool_dir": self.spool_dir,
                **self._arguments,
            }
        )
        self.provider = TracerProvider(shutdown_on_exit=False, resource=Resource.create({}))
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider.add_span_processor(self.processor)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.clear_failures()
        self.server.up()
        self.processor.shutdown()
        self.relay.__exit__()
        root = logging.getLogger()
        root.removeHandler(self._log)
        root.setLevel(self._level)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    @property
    def logged(self) -> str:
        return "\n".join(self._log.lines)

    def look_into_spool(self) -> None:
        """Keep what every file holds now."""
        for path in self.spool_dir.rglob("*"):
            if path.is_file():
                self.spooled[f"{path.name} {len(self.spooled)}"] = path.read_bytes()

    def deliver(self) -> None:
        assert self.processor.force_flush(20_000)
        assert self.relay.bodies

    def places(self) -> dict[str, bytes]:
        """All that was written, by where."""
        self.look_into_spool()
        spans = {
            f"span {span.name}": (
                span.to_json() + repr(span.links) + repr([dict(event.attributes) for event in span.events])
            ).encode()
            for span in self.spans
        }
        # Several spans can have one name.
        everything = "".join(span.to_json(indent=None) for span in self.spans).encode()
        said = "\n".join(self.said).encode()
        return {
            **spans,
            "spans": everything,
            "log": self.logged.encode(),
            "said": said,
            "sent": b"".join(self.relay.bodies),
            **self.spooled,
        }

    def where(self, *words: str) -> dict[str, list[str]]:
        """In which places each of `words` stands, in whatever spelling; without those that stand nowhere."""
        places = self.places()
        forms = {word: [form.encode() for form in spellings(word)] for word in words}
        found = {
            word: [name for name, written in places.items() if any(form in written for form in forms[word])]
            for word in words
        }
        return {word: where for word, where in found.items() if where}

    def assert_without(self, *words: str) -> None:
        found = self.where(*words)
        assert not found, found

    def assert_with(self, *words: str) -> None:
        """Each word is on a span, and was sent."""
        found = self.where(*words)
        assert not [word for word in words if not {"spans", "sent"} <= set(found.get(word, ()))]


def spellings(word: str) -> set[str]:
    """As it is, in a URL, in JSON once and twice, in base64."""
    once = json.dumps(word)[1:-1]
    encoded = base64.b64encode(word.encode()).decode().rstrip("=")
    return {word, quote(word, safe=""), once, json.dumps(once)[1:-1], encoded}
