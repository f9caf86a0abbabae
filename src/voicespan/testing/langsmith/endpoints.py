"""LangSmith's endpoints: who may ask, what is taken in, and what is answered.

A 200 or 202 means that the request was understood, never that a run appears: what has no parent waits, and
what is too much is dropped.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from voicespan.testing.langsmith import feedback, multipart, otlp
from voicespan.testing.langsmith.attachments import Attachments, UnreadableError, in_json, piecewise
from voicespan.testing.langsmith.body import ZSTD_SUPPORTED, Body, BodyError, BodyTooLargeError, decoded
from voicespan.testing.langsmith.connections import Answer
from voicespan.testing.langsmith.mapping import to_run
from voicespan.testing.langsmith.runs import Attachment, Dropped, Request, Run
from voicespan.testing.langsmith.store import RunStore, Update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicespan.testing.langsmith.multipart import Operation
    from voicespan.testing.langsmith.otlp import Text, View

    _Take = Callable[[Request, Body], Answer]

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_TRACES_PATHS = frozenset({"/otel/v1/traces", "/api/v1/otel/v1/traces", "/v1/traces"})
_MULTIPART_PATHS = frozenset({"/runs/multipart", "/api/v1/runs/multipart"})
_FEEDBACK_PATHS = frozenset({"/feedback", "/api/v1/feedback"})
_PROJECTS_PATHS = frozenset({"/sessions", "/api/v1/sessions"})
_INFO_PATHS = frozenset({"/info", "/api/v1/info"})

_TRACES_ENCODINGS = frozenset({"identity", "gzip"})
_MULTIPART_ENCODINGS = _TRACES_ENCODINGS | ({"zstd"} if ZSTD_SUPPORTED else set())

_LONG_AGO = "2026-01-01T00:00:00"
_ALREADY_RECEIVED = Answer.refusal(409, "payloads already received")


class Endpoints:
    """Answers requests and fills the store.

    Args:
        store: Where runs go.
        attachments: Where files go.
    """

    def __init__(self, store: RunStore, attachments: Attachments) -> None:
        self._store = store
        self._attachments = attachments

    def answer(self, request: Request, body: Body, *, authorized: bool, tenant: bool, limit: int) -> Answer:
        """Take the request in.

        Args:
            request: Its head.
            body: Its body, as it came.
            authorized: Whether it has a key that is known.
            tenant: Whether it names the workspace that its key needs, if the key needs one.
            limit: The most bytes that the body may have after decompression.
        """
        path = request.path.partition("?")[0]
        if request.method == "GET" and path in _INFO_PATHS:
            return _info(limit)
        take, encodings = self._endpoint(request.method, path)
        encoding = request.headers.get("content-encoding", "identity")
        if take is None:
            refusal = Answer.refusal(404, "Not Found")
        elif not authorized:
            refusal = Answer.refusal(401, "Invalid token")
        elif not tenant:
            refusal = Answer.refusal(403, "org_scoped_key_requires_workspace")
        elif encoding not in encodings:
            refusal = Answer.refusal(415, f"Content-Encoding {encoding} is not supported")
        else:
            return _plain(take, request, body, encoding, limit)
        return refusal

    def _endpoint(self, method: str, path: str) -> tuple[_Take | None, frozenset[str]]:
        if method == "POST" and path in _TRACES_PATHS:
            return self._traces, _TRACES_ENCODINGS
        if method == "POST" and path in _MULTIPART_PATHS:
            return self._multipart, _MULTIPART_ENCODINGS
        if method == "POST" and path in _FEEDBACK_PATHS:
            return self._feedback, _TRACES_ENCODINGS
        if method == "GET" and path in _PROJECTS_PATHS:
            return self._projects, _TRACES_ENCODINGS
        return None, frozenset()

    def _traces(self, request: Request, body: Body) -> Answer:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if content_type not in (_PROTOBUF, _JSON):
            return Answer.refusal(415, f"Content-Type {content_type or 'of nothing'} is not supported")
        if {"langsmith-project", "langsmith-agent-id"} <= set(request.headers):
            return Answer.refusal(400, "Langsmith-Project and Langsmith-Agent-Id exclude each other")
        try:
            spans = otlp.from_json(body.view()) if content_type == _JSON else otlp.from_protobuf(body.view())
        except otlp.MalformedError as error:
            return Answer.refusal(400, str(error))
        project = request.headers.get("langsmith-project", "default")
        received = [(to_run(span, project), span.attachments) for span in spans]
        if not self._store.take(("post", run.id) for run, _ in received):
            return _ALREADY_RECEIVED
        for run, text in received:
            if text is not None:
                run.attachments = self._from_text(run, text)
        self._store.add(run for run, _ in received)
        # An empty ExportTraceServiceResponse.
        return Answer(200, b"{}" if content_type == _JSON else b"", content_type)

    def _from_text(self, run: Run, text: Text) -> dict[str, Attachment]:
        kept: dict[str, Attachment] = {}
        try:
            for name, mime_type, content in in_json(text):
                self._keep(run.id, name, mime_type, content, kept)
        except UnreadableError:
            self._store.drop(Dropped("attachment_unreadable", run.id, otlp.ATTACHMENTS))
        return kept

    def _keep(
        self, run_id: str, name: str, mime_type: str, content: Iterator[bytes], kept: dict[str, Attachment]
    ) -> None:
        if "." in name:
            self._store.drop(Dropped("attachment_name", run_id, name))
            return
        kept[name] = self._attachments.keep(run_id, name, mime_type, content)

    def _multipart(self, request: Request, body: Body) -> Answer:
        view = body.view()
        try:
            operations, said = multipart.operations(view, request.headers.get("content-type", ""))
        except multipart.MalformedError as error:
            return Answer.refusal(error.status, str(error))
        if not self._store.take((operation.kind, operation.run_id) for operation in operations):
            return _ALREADY_RECEIVED
        for operation in operations:
            self._carry_out(operation, view)
        for each in said:
            if not self._store.hear(each):
                # It is taken, and nobody sees it.
                self._store.drop(Dropped("feedback", each.run_id, each.key))
        return Answer(202, b'{"message": "Runs batch ingested"}')

    def _feedback(self, request: Request, body: Body) -> Answer:  # noqa: ARG002  as all that take a request
        view = body.view()
        try:
            said = feedback.of(json.loads(view[:]))
        except ValueError as error:
            return Answer.refusal(422, str(error))
        if not self._store.hear(said):
            return Answer.refusal(404, f"Run {said.run_id} not found")
        return Answer(200, json.dumps({"id": said.id, "run_id": said.run_id, "key": said.key}).encode())

    def _projects(self, request: Request, body: Body) -> Answer:  # noqa: ARG002  as all that take a request
        wanted = parse_qs(urlsplit(request.path).query).get("name")
        names = {run.project for run in self._store.shown.values()}
        found = [
            {
                "id": feedback.project_id(name),
                "name": name,
                "tenant_id": feedback.project_id(""),
                "start_time": _LONG_AGO,
                "reference_dataset_id": None,
            }
            for name in sorted(names)
            if wanted is None or name in wanted
        ]
        return Answer(200, json.dumps(found).encode())

    def _carry_out(self, operation: Operation, view: View) -> None:
        kept: dict[str, Attachment] = {}
        for file in operation.files:
            content = piecewise(view, file.start, file.end)
            self._keep(operation.run_id, file.name, file.mime_type, content, kept)
        if operation.kind == "post":
            run = multipart.to_run(operation)
            run.attachments = kept
            self._store.add([run])
        else:
            self._store.update(Update(operation.run_id, operation.fields, kept))


def _plain(take: _Take, request: Request, body: Body, encoding: str, limit: int) -> Answer:
    if encoding == "identity":
        return take(request, body)
    try:
        with contextlib.closing(decoded(body, encoding, limit)) as plain:
            return take(request, plain)
    except BodyError as error:
        return Answer.refusal(400, str(error))
    except BodyTooLargeError:
        return Answer.refusal(413, f"the body has more than {limit} bytes")


def _info(limit: int) -> Answer:
    return Answer(
        200,
        json.dumps(
            {
                "version": "0.0.0",
                "instance_flags": {"zstd_compression_enabled": ZSTD_SUPPORTED},
                "batch_ingest_config": {
                    "use_multipart_endpoint": True,
                    "size_limit": 100,
                    "size_limit_bytes": min(limit, 20_971_520),
                    "scale_up_nthreads_limit": 16,
                    "scale_up_qsize_trigger": 1000,
                    "scale_down_nempty_trigger": 4,
                },
            }
        ).encode(),
    )
