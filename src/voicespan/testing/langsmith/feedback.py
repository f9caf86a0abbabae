"""Feedback on runs: what LangSmith takes for it, and the ids of the projects that it can name."""

from __future__ import annotations

import uuid
from typing import Any

from voicespan.testing.langsmith.runs import Feedback

_SOURCES = frozenset({"api", "model", "app"})
_PROJECTS = uuid.UUID("5f0c2d1e-8b57-4a0c-9d3a-6f6d3c1b2a90")


class FeedbackError(ValueError):
    """It is not what LangSmith takes; says why."""


def of(fields: Any, feedback_id: str | None = None) -> Feedback:
    """The feedback that a JSON object is. `feedback_id`: where it came as a part, the id that the part names.

    Raises:
        FeedbackError: it lacks something, or has something of another kind.
    """
    if not isinstance(fields, dict):
        raise FeedbackError("feedback is a JSON object")
    for name in ("id", "run_id"):
        _check_uuid(fields.get(name), name)
    if feedback_id is not None:
        # In the background it is found by its trace.
        _check_uuid(fields.get("trace_id"), "trace_id")
        if fields["id"] != feedback_id:
            raise FeedbackError(f"part feedback.{feedback_id} holds feedback {fields['id']}")
    key, score, source = fields.get("key"), fields.get("score"), fields.get("feedback_source")
    if not isinstance(key, str) or not key:
        raise FeedbackError("feedback has a key")
    # NaN and the infinities are no JSON, though Python reads them.
    if score is not None and (not isinstance(score, (bool, int, float)) or score - score != 0):
        raise FeedbackError("a score is a number, true or false")
    if not isinstance(source, dict) or source.get("type") not in _SOURCES:
        raise FeedbackError(f"the type of a feedback_source is one of {', '.join(sorted(_SOURCES))}")
    if fields.get("session_id") is not None:
        _check_uuid(fields["session_id"], "session_id")
    comment = fields.get("comment")
    return Feedback(
        fields["id"],
        fields["run_id"],
        key,
        score,
        fields.get("value"),
        None if comment is None else str(comment),
        source["type"],
        fields.get("session_id"),
    )


def project_id(name: str) -> str:
    """The id of the project with that name."""
    return str(uuid.uuid5(_PROJECTS, name))


def _check_uuid(value: object, name: str) -> None:
    try:
        uuid.UUID(str(value))
    except ValueError:
        raise FeedbackError(f"{name} of feedback is no UUID") from None
