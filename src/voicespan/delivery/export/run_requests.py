"""The bodies of requests to LangSmith's REST API: runs that are created and completed, `POST /runs/multipart`.

A part for each run (`post.ID`, or `patch.ID` where it was created before), one for each of its large fields
(`post.ID.inputs`), the recording as it is (`attachment.ID.conversation`), and scores (`feedback.ID`): as the
`langsmith` package's client writes it. That client is not used for it: it swallows what the server answers, sends
another body each time, waits 129 s for a server that is silent, and keeps what it has not sent in memory.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding import runs
from voicespan.delivery.encoding.protobuf import File, Message
from voicespan.delivery.export import requests
from voicespan.delivery.export.live_runs import Tree

if TYPE_CHECKING:
    from voicespan.delivery.encoding.protobuf import Part
    from voicespan.delivery.export.delivery_state import Batch, DeliveryState
    from voicespan.delivery.export.live_state import LiveRuns
    from voicespan.delivery.spool.folder import Folder, RecordingResult

#: What stands in parts of their own.
_FIELDS = ("inputs", "outputs", "extra", "error")


class RunsBody:
    """Collects parts; `message` is the request."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, str, Part]] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._parts

    @property
    def size(self) -> int:
        """In bytes, about."""
        return sum(len(content) for _, _, content in self._parts)

    def add(self, what: str, run: dict[str, Any]) -> None:
        """`what`: `post` or `patch`."""
        at = f"{what}.{run['id']}"
        self._json(at, {name: value for name, value in run.items() if name not in _FIELDS})
        for name in _FIELDS:
            if run.get(name):
                self._json(f"{at}.{name}", run[name])

    def score(self, feedback: dict[str, Any]) -> None:
        """Feedback on a run."""
        self._json(f"feedback.{feedback['id']}", feedback)

    def attach(self, run_id: str, file: File, mime_type: str) -> None:
        """Have the recording go along."""
        self._parts.append((f"attachment.{run_id}.{requests.ATTACHMENT_NAME}", mime_type, file))

    def add_batch(self, folder: Folder, live: LiveRuns, batch: Batch) -> None:
        """The runs of an opening, or of spans that have ended, parents first."""
        if batch.opens:
            for span_id in batch.opens:
                self.add("post", live.opened[span_id])
            return
        spans = [(envelope, Span.FromString(span)) for envelope, span in requests.spans_of(folder, batch)]
        tree = Tree(folder, live, batch, [span for _, span in spans])
        ended = [
            (runs.ended(span, tree.place(span), envelope.resource, live.project), span.span_id.hex())
            for envelope, span in spans
        ]
        ended.sort(key=lambda each: (each[0]["dotted_order"].count("."), each[0]["dotted_order"]))
        for run, span_id in ended:
            was_opened = span_id in batch.completes and span_id in live.opened
            self.add("patch" if was_opened else "post", run)

    def message(self) -> Message:
        """The request: the same bytes for the same parts."""
        # Found in no part: what a caller says is not known beforehand.
        digest = hashlib.sha256()
        for name, _, content in self._parts:
            digest.update(name.encode())
            digest.update(content if isinstance(content, bytes) else str(len(content)).encode())
        boundary = digest.hexdigest()[:32]
        parts: list[Part] = []
        for name, kind, content in self._parts:
            head = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'
                f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            parts += [head.encode(), content, b"\r\n"]
        parts.append(f"--{boundary}--\r\n".encode())
        return Message(parts, f"multipart/form-data; boundary={boundary}")

    def _json(self, name: str, content: Any) -> None:
        self._parts.append((name, "application/json", json.dumps(content).encode()))


def batch_body(folder: Folder, live: LiveRuns, batch: Batch) -> Message:
    """The request of one batch."""
    body = RunsBody()
    body.add_batch(folder, live, batch)
    return body.message()


def root_body(
    folder: Folder,
    progress: DeliveryState,
    live: LiveRuns,
    settled: RecordingResult,
    *,
    hide_metadata: bool = False,
) -> Message:
    """The request that completes the root, with the recording if `progress` says so.

    Raises:
        OSError: the recording cannot be read.
    """
    envelope, span = requests.root_span(folder, progress, settled, hide_metadata=hide_metadata)
    order = live.order_of(live.root) or runs.segment(span)
    run = runs.ended(span, runs.Place(live.root, None, order), envelope.resource, live.project)
    body = RunsBody()
    body.add("patch", run)
    recording = requests.recording_of(progress, settled)
    if recording is not None:
        size = folder.files.size(recording)
        folder.files.open(recording).close()
        file = File(size, lambda: folder.files.open(recording))
        body.attach(run["id"], file, settled.mime_type)
    return body.message()


def opening_of(envelope_resource: bytes, root: Span, project: str) -> dict[str, Any]:
    """The root's run, as it is created when its conversation opens."""
    place = runs.Place(root.span_id.hex(), None, runs.segment(root))
    return runs.opened(root, place, envelope_resource, project)
