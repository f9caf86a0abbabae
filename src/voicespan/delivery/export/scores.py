"""The figures of a conversation as LangSmith's feedback: scores on its root run (VOICESPAN_FEEDBACK).

They go in one request of LangSmith's REST API (`POST /runs/multipart`, a part `feedback.ID` each), as the `langsmith`
package's client sends them in the background. An id is made of the run's and the figure's name, so what is sent again is
the same feedback.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from voicespan.delivery.encoding import langsmith_spans, runs
from voicespan.delivery.export.run_requests import RunsBody
from voicespan.delivery.spool.folder import ROOT
from voicespan.runtime.version import __version__
from voicespan.tracing import semconv
from voicespan.tracing.spans.figures import SCORES

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from voicespan.delivery.encoding.protobuf import Message
    from voicespan.delivery.spool.folder import Folder

_BASIS = f"{semconv.METADATA}figures_basis"


def body_of(folder: Folder, project_id: str | None = None) -> Message | None:
    """The request that scores a conversation; None: there is nothing to say of it.

    Args:
        folder: The conversation's; its root is delivered.
        project_id: LangSmith's id of the project, as far as it is known: the run is found faster by it.

    Raises:
        OSError: the folder cannot be read.
    """
    [(_, root)] = langsmith_spans.split(folder.files.read(ROOT) or b"")
    body = RunsBody()
    for feedback in _feedback(root):
        body.score(feedback if project_id is None else {**feedback, "session_id": project_id})
    return None if body.is_empty else body.message()


def _feedback(root: Span) -> list[dict[str, Any]]:
    attributes = langsmith_spans.get_attributes(root)
    run_id = runs.run_id(root.span_id.hex())
    ended = datetime.fromtimestamp(root.end_time_unix_nano // 1_000_000_000, timezone.utc).isoformat()
    return [
        {
            "id": str(uuid.uuid5(uuid.UUID(run_id), name)),
            "run_id": run_id,
            "trace_id": run_id,
            "key": name,
            "score": score,
            "comment": f"measured by voicespan; basis: {attributes.get(_BASIS)}",
            "feedback_source": {"type": "api", "metadata": {"library": "voicespan", "version": __version__}},
            "created_at": ended,
            "modified_at": ended,
        }
        for name in SCORES
        if isinstance(score := attributes.get(semconv.METADATA + name), (bool, int, float))
    ]
