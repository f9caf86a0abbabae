"""The multipart requests of LangSmith's REST API, taken apart into operations on runs.

Parts are named `post.ID` and `patch.ID` (the core of a run, JSON), `post.ID.inputs` and the like (one field
of it, JSON), `attachment.ID.NAME` (the file itself, with its MIME type) and `feedback.ID` (JSON).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.message import Message
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any, Literal, cast

from voicespan.testing.langsmith import feedback
from voicespan.testing.langsmith.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.testing.langsmith.otlp import View
    from voicespan.testing.langsmith.runs import Feedback

    Kind = Literal["post", "patch"]

_PART_NAME = re.compile(r"(post|patch)\.([^.]+)(?:\.(inputs|outputs|events|extra|error|serialized))?")
_ATTACHMENT_NAME = re.compile(r"attachment\.([^.]+)\.(.+)")
_FEEDBACK_NAME = re.compile(r"feedback\.([^.]+)")
_TEXTS = ("name", "run_type", "parent_run_id", "session_name", "session_id", "reference_example_id", "error")
_ID_LENGTH = 36
_MOST_HEADER_BYTES = 1 << 14
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class MalformedError(Exception):
    """The request is not what LangSmith takes; says why."""

    def __init__(self, reason: str, status: Literal[400, 422] = 422) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class File:
    """An attachment where it lies in the body."""

    name: str
    mime_type: str
    start: int
    end: int


@dataclass
class Operation:
    """A run to be created (`post`) or updated (`patch`), with the files that came along.

    Attributes:
        fields: The core with its parts joined in.
    """

    kind: Kind
    run_id: str
    fields: dict[str, Any]
    files: list[File] = field(default_factory=list)


def operations(view: View, content_type: str) -> tuple[list[Operation], list[Feedback]]:
    """What the body asks for: operations on runs, and feedback.

    Raises:
        MalformedError: It is no multipart body of that content type, or a run lacks what it must have.
    """
    found: dict[tuple[Kind, str], Operation] = {}
    files: dict[str, list[File]] = {}
    said: list[Feedback] = []
    for name, mime_type, start, end in _parts(view, _boundary(content_type)):
        if match := _PART_NAME.fullmatch(name):
            kind, run_id, part = cast("Kind", match[1]), match[2], match[3]
            operation = found.setdefault((kind, run_id), Operation(kind, run_id, {}))
            content = _json(view[start:end], name)
            if part is not None:
                operation.fields[part] = content
            elif isinstance(content, dict):
                operation.fields = {**content, **operation.fields}
        elif match := _FEEDBACK_NAME.fullmatch(name):
            said.append(_feedback(_json(view[start:end], name), match[1]))
        elif match := _ATTACHMENT_NAME.fullmatch(name):
            files.setdefault(match[1], []).append(File(match[2], mime_type, start, end))
    for run_id, of_run in files.items():
        operation = found.get(("post", run_id)) or _required(found.get(("patch", run_id)), run_id)
        operation.files = of_run
    for operation in found.values():
        _check(operation)
    return list(found.values()), said


def _feedback(fields: Any, feedback_id: str) -> Feedback:
    try:
        return feedback.of(fields, feedback_id)
    except feedback.FeedbackError as error:
        raise MalformedError(str(error)) from error


def _required(operation: Operation | None, run_id: str) -> Operation:
    if operation is None:
        raise MalformedError(f"an attachment of {run_id}, but no run")
    return operation


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary:
        raise MalformedError("no multipart/form-data with a boundary", 400)
    return b"--" + boundary.encode()


def _parts(view: View, boundary: bytes) -> Iterator[tuple[str, str, int, int]]:
    """Name, MIME type, and where the content lies."""
    position = view.find(boundary)
    while position >= 0:
        position += len(boundary)
        if view[position : position + 2] == b"--":
            return
        head_end = view.find(b"\r\n\r\n", position, position + _MOST_HEADER_BYTES)
        start = head_end + 4
        end = view.find(b"\r\n" + boundary, start)
        if head_end < 0 or end < 0:
            break
        head = HeaderParser().parsestr(view[position + 2 : head_end].decode("utf-8", "replace"))
        name = head.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise MalformedError("a part without a name", 400)
        yield name, head.get_content_type(), start, end
        position = end + 2
    raise MalformedError("the multipart body is cut off", 400)


def _json(text: bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedError(f"part {name} is no JSON") from error


def _check(operation: Operation) -> None:
    fields, run_id = operation.fields, operation.run_id
    missing = [name for name in ("id", "trace_id", "dotted_order") if not isinstance(fields.get(name), str)]
    if missing:
        raise MalformedError(f"run {run_id} has no {', '.join(missing)}")
    if fields["id"] != run_id:
        raise MalformedError(f"part {operation.kind}.{run_id} holds run {fields['id']}")
    segments = fields["dotted_order"].split(".")
    if not fields.get("parent_run_id") and run_id == fields["trace_id"] and len(segments) != 1:
        raise MalformedError("dotted_order must contain a single part for root runs", 400)
    if segments[-1][-_ID_LENGTH:] != run_id or segments[0][-_ID_LENGTH:] != fields["trace_id"]:
        raise MalformedError("dotted_order must lead from trace_id to id", 400)
    for name in ("start_time", "end_time"):
        _ns(fields.get(name))
    wrong = [name for name in _TEXTS if not isinstance(fields.get(name) or "", str)]
    if wrong:
        raise MalformedError(f"run {run_id} has a {wrong[0]} that is no text")


def to_run(operation: Operation) -> Run:
    """The run that a `post` creates, without its place in a tree."""
    fields = operation.fields
    run = Run(
        id=operation.run_id,
        name=fields.get("name") or "Unnamed",
        run_type=fields.get("run_type") or "chain",
        trace_id=fields["trace_id"],
        parent_run_id=fields.get("parent_run_id") or _parent_in(fields["dotted_order"]),
        dotted_order=fields["dotted_order"],
        start_ns=_ns(fields.get("start_time")) or 0,
        project=fields.get("session_name") or "default",
        project_id=fields.get("session_id"),
        reference_example_id=fields.get("reference_example_id"),
        status="pending",
    )
    update(run, fields)
    return run


def update(run: Run, fields: dict[str, Any]) -> None:
    """Change what `fields` has; what is absent or null stays."""
    run.name = fields.get("name") or run.name
    run.inputs = _object(fields, "inputs") or run.inputs
    run.outputs = _object(fields, "outputs") or run.outputs
    tags = fields.get("tags")
    run.tags = [str(tag) for tag in tags] if isinstance(tags, list) else run.tags
    run.error = fields.get("error") or run.error
    extra = _object(fields, "extra")
    run.metadata.update(_object(extra, "metadata"))
    run.invocation_params.update(_object(extra, "invocation_params"))
    run.usage = _object(run.outputs, "usage_metadata") or run.usage
    run.end_ns = _ns(fields.get("end_time")) or run.end_ns
    if run.end_ns is not None:
        run.status = "error" if run.error else "success"


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _parent_in(dotted_order: str) -> str | None:
    segments = dotted_order.split(".")
    return segments[-2][-_ID_LENGTH:] if len(segments) > 1 else None


def _ns(written: Any) -> int | None:
    """Nanoseconds since the epoch of an ISO time (UTC where it names no zone)."""
    if not isinstance(written, str):
        return None
    try:
        time = datetime.fromisoformat(written.replace("Z", "+00:00"))
    except ValueError as error:
        raise MalformedError("a time is not in ISO format") from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    passed = time - _EPOCH
    return ((passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds) * 1_000
