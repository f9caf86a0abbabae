"""One HTTP request and what came of it."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, NamedTuple

import requests
from google.protobuf.message import DecodeError
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from requests import exceptions

from voicespan.content.masking import spellings, without_secrets
from voicespan.delivery.encoding.protobuf import PROTOBUF
from voicespan.delivery.export import tls
from voicespan.delivery.export.collector_answers import answer_behind, words_of
from voicespan.delivery.export.responses import Answer, retry_after
from voicespan.delivery.export.safe_text import printable
from voicespan.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.encoding.protobuf import Message
    from voicespan.runtime.clock import Clock

_JSON = "application/json"
_CONNECT_SECONDS = 10.0
#: How long the server may think about a small request, and how much more about each megabyte.
_ANSWER_SECONDS = 30.0
_ANSWER_SECONDS_PER_MEGABYTE = 2.0
_ANSWER_SECONDS_AT_MOST = 600.0
#: Of an answer so many bytes are read.
_WORDS_READ = 4096
#: What is said of a project has a few kilobytes.
_PROJECT_READ = 1 << 20
_SHORTEST_SECRET = 4


class Project(NamedTuple):
    """A project of LangSmith's, by its id, and the workspace that it is in."""

    id: str
    workspace: str | None


class HttpClient:
    """Sends requests to one destination; each thread that calls has its own connection, which is kept alive."""

    def __init__(self, destination: Destination, clock: Clock) -> None:
        self._destination = destination
        self._clock = clock
        # By thread. Not in a `threading.local`, which an interpreter that ends takes apart so early that Python
        # still warns of an open socket.
        self._sessions: dict[int, requests.Session] = {}
        self._under_way: set[_Upload] = set()
        self._lock = threading.RLock()

    def __call__(self, body: Message) -> Answer:
        """Send `body`; whatever goes wrong on the way is an answer too.

        Raises:
            OSError: a file that is part of the body cannot be read.
        """
        # Our own requests are not for anybody's traces.
        with suppress_instrumentation():
            return self._send(_Upload(body))

    def progress(self) -> tuple[int, int]:
        """Bytes of the requests that are under way, and how many of them are gone."""
        under_way = self._under_way.copy()
        return sum(map(len, under_way)), sum(upload.sent for upload in under_way)

    def close(self) -> None:
        """Close all connections; nothing may be under way."""
        while self._sessions:
            self._sessions.popitem()[1].close()

    def reset_after_fork(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._sessions = {}
        self._under_way = set()
        self._lock = threading.RLock()

    def _close_those_of_ended_threads(self) -> None:
        """Threads come and go for days, and each leaves a connection open."""
        alive = {thread.ident for thread in threading.enumerate()}
        for ident in [ident for ident in list(self._sessions) if ident not in alive]:
            ended = self._sessions.pop(ident, None)
            if ended is not None:
                ended.close()

    @property
    def _session(self) -> requests.Session | None:
        return self._sessions.get(threading.get_ident())

    def project_id(self) -> str | None:
        """LangSmith's id of the destination's project; None: it does not say."""
        found = self.project()
        return None if found is None else found.id

    def project(self) -> Project | None:
        """What LangSmith says of the destination's project; None: it does not say."""
        trusted = tls.bundle(self._destination)
        try:
            with (
                suppress_instrumentation(),
                self._open_session().get(
                    self._destination.projects_url,
                    params={"name": self._destination.project or "", "limit": "1"},
                    headers=self._headers("application/json"),
                    timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                    allow_redirects=False,
                    stream=True,
                    verify=True if trusted is None else trusted[1],
                ) as response,
            ):
                found = json.loads(next(response.iter_content(_PROJECT_READ), b""))
        except (OSError, ValueError):  # RequestException is an OSError
            return None
        first = found[0] if isinstance(found, list) and found else None
        named = first if isinstance(first, dict) else {}
        project, workspace = named.get("id"), named.get("tenant_id")
        if not isinstance(project, str):
            return None
        return Project(project, workspace if isinstance(workspace, str) else None)

    def _open_session(self) -> requests.Session:
        own = self._session
        if own is None:
            self._close_those_of_ended_threads()
            own = self._sessions[threading.get_ident()] = tls.open_session(self._destination)
        return own

    def _headers(self, content_type: str) -> dict[str, str | bytes]:
        return {
            **self._destination.request_headers(),
            "Content-Type": content_type,
            "User-Agent": f"voicespan/{__version__}",
        }

    def _send(self, upload: _Upload) -> Answer:
        own = self._open_session()
        with self._lock:
            self._under_way.add(upload)
        trusted = tls.bundle(self._destination)
        headers = self._headers(upload.content_type)
        seconds = _ANSWER_SECONDS + len(upload) / 1e6 * _ANSWER_SECONDS_PER_MEGABYTE
        try:
            # A redirect is not followed: the key and the conversation are for this host.
            response = own.post(
                self._destination.url if upload.content_type == PROTOBUF else self._destination.runs_url,
                data=upload,
                headers=headers,
                timeout=(_CONNECT_SECONDS, min(seconds, _ANSWER_SECONDS_AT_MOST)),
                allow_redirects=False,
                stream=True,
                # Not as the session's: `requests` would let the environment have its way all the same.
                verify=True if trusted is None else trusted[1],
            )
        except OSError as error:  # RequestException is one, and what is wrong with a file of certificates
            upload.raise_if_unreadable()
            self._sessions.pop(threading.get_ident(), None)
            own.close()
            return Answer(None, tls.safe_message(error, trusted), reached=upload.sent > 0)
        finally:
            with self._lock:
                self._under_way.discard(upload)
        with response:
            return self._answer(response)

    def _answer(self, response: requests.Response) -> Answer:
        content = b""
        with contextlib.suppress(exceptions.RequestException):
            content = next(response.iter_content(_WORDS_READ), b"")
        kind = response.headers.get("Content-Type", "").split(";", 1)[0].strip().lower()
        partial = _partial_success(kind, content)
        status = response.status_code
        words = content.decode(errors="replace")
        if kind == PROTOBUF:
            words = "" if response.ok else words_of(content)
        if self._destination.through_collector:
            status, words = answer_behind(status, words)
        if partial is None and response.ok:
            words = f"not the answer of a server that takes traces ({kind or 'of no type'}): {words}"
        rejected, reason = partial or (0, "")
        return Answer(
            status,
            self._without_secrets(reason or words),
            retry_after(response.headers.get("Retry-After"), self._clock.time_ns() / 1e9),
            rejected,
            is_otlp=partial is not None,
        )

    def _without_secrets(self, words: str) -> str:
        # Some proxies answer with the request that they did not like.
        secrets = sorted(self._secrets(), key=len, reverse=True)
        written = [spelling for secret in secrets for spelling in (secret, *spellings(secret))]
        return printable(without_secrets(words, written))

    def _secrets(self) -> set[str]:
        secrets = self._destination.secrets
        own = self._session
        if own is not None:
            secrets.update(tls.proxy_secrets(own, self._destination.url))
        # A shorter one is no secret, and would be found in words that have nothing to do with it.
        return {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}


class _Upload:
    """A body that `requests` streams: it has a length and is iterated."""

    def __init__(self, body: Message) -> None:
        self._body = body
        self.sent = 0
        self._unreadable: OSError | None = None

    @property
    def content_type(self) -> str:
        """What the body is."""
        return self._body.content_type

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._body)
        while True:
            try:
                piece = next(pieces, None)
            except OSError as error:
                # To `requests` it would look like a broken connection.
                self._unreadable = error
                raise
            if piece is None:
                return
            yield piece
            self.sent += len(piece)

    def raise_if_unreadable(self) -> None:
        """Raise what kept the body from being read."""
        if self._unreadable is not None:
            raise self._unreadable


def _partial_success(kind: str, content: bytes) -> tuple[int, str] | None:
    """How many spans the server did not take, and why (OTLP 1.0, "Partial Success"); None: it is no OTLP answer.

    `kind`: the content's type, which may be missing.
    """
    if not content:
        return 0, ""
    if kind == _JSON:
        return _partial_success_json(content)
    if kind not in ("", PROTOBUF):
        return None
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return None
    return partial.rejected_spans, partial.error_message


def _partial_success_json(content: bytes) -> tuple[int, str] | None:
    try:
        decoded = json.loads(content)
    except ValueError:
        # Only the beginning was read, perhaps.
        return (0, "") if content.lstrip()[:1] == b"{" and len(content) >= _WORDS_READ else None
    partial = decoded.get("partialSuccess") if isinstance(decoded, dict) else None
    if not isinstance(partial, dict):
        return 0, ""
    rejected, words = str(partial.get("rejectedSpans") or 0), partial.get("errorMessage")
    return int(rejected) if rejected.isdecimal() else 0, words if isinstance(words, str) else ""
