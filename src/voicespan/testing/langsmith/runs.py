"""What the server shows of what it was sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: The metadata keys that name a run's thread; the first that is present wins.
_THREAD_KEYS = ("session_id", "conversation_id", "thread_id")


@dataclass(frozen=True)
class Attachment:
    """A file that came with a run.

    Attributes:
        name: As sent; LangSmith takes no period in it.
        mime_type: As sent.
        size: Bytes.
        sha256: Hexadecimal digest of the content.
        content: The bytes, when the server keeps attachments in memory.
        path: The file, when the server was given a folder to save them in.
    """

    name: str
    mime_type: str
    size: int
    sha256: str
    content: bytes | None = field(default=None, repr=False)
    path: Path | None = None

    @classmethod
    def of(cls, name: str, mime_type: str, content: bytes) -> Attachment:
        """An attachment held in memory."""
        return cls(name, mime_type, len(content), hashlib.sha256(content).hexdigest(), content)

    def read(self) -> bytes:
        """The whole content, wherever it is kept."""
        if self.content is not None:
            return self.content
        if self.path is None:
            raise FileNotFoundError(f"the content of attachment {self.name!r} was not kept")
        return self.path.read_bytes()


@dataclass(frozen=True)
class Feedback:
    """Feedback on a run.

    Attributes:
        id: UUID; what comes again under it replaces what came before.
        key: What is measured.
        score: A number, or true or false; None: there is a value only.
        comment: In words.
        source: Who says so: `api`, `model` or `app`.
        project_id: The run's project, if it was named.
    """

    id: str
    run_id: str
    key: str
    score: float | None = None
    value: Any = None
    comment: str | None = None
    source: str = "api"
    project_id: str | None = None


@dataclass(eq=False)
class Run:
    """A run as LangSmith would show it: one node of a trace.

    Runs are live objects: a child that arrives later joins `children`, an update changes the rest.

    Attributes:
        id: UUID. Of a span: eight zero bytes and the span id, unless `langsmith.span.id` said otherwise.
        trace_id: The id of the root run, not OpenTelemetry's trace id.
        parent_run_id: None on a root.
        dotted_order: Start times and ids from the root down to this run.
        status: `success`, `error`, or `pending` while a run that was posted has no end yet.
        start_ns: Nanoseconds since the Unix epoch.
        end_ns: The same; None while pending.
        usage: LangSmith's `usage_metadata`; absent where the run has no outputs.
        feedback: By its id.
        children: In the order of their start.
    """

    id: str
    name: str
    run_type: str = "chain"
    trace_id: str = ""
    parent_run_id: str | None = None
    dotted_order: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    status: Literal["success", "error", "pending"] = "success"
    metadata: dict[str, Any] = field(default_factory=dict)
    invocation_params: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int | None = None
    attachments: dict[str, Attachment] = field(default_factory=dict)
    project: str = "default"
    project_id: str | None = None
    reference_example_id: str | None = None
    otel_trace_id: str | None = None
    otel_span_id: str | None = None
    feedback: dict[str, Feedback] = field(default_factory=dict)
    children: list[Run] = field(default_factory=list, repr=False)

    @property
    def scores(self) -> dict[str, float | None]:
        """Its feedback's scores by their keys."""
        return {each.key: each.score for each in self.feedback.values()}

    @property
    def thread_id(self) -> str | None:
        """The thread that LangSmith groups this run under."""
        return next((str(self.metadata[key]) for key in _THREAD_KEYS if key in self.metadata), None)

    @property
    def duration_ns(self) -> int | None:
        """Nanoseconds from start to end."""
        return None if self.end_ns is None else self.end_ns - self.start_ns

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Run]]:
        """This run and everything below it, depth first, each with its depth."""
        stack = [(depth, self)]
        while stack:
            level, run = stack.pop()
            yield level, run
            stack.extend((level + 1, child) for child in reversed(run.children))


@dataclass(frozen=True)
class Request:
    """One HTTP request, without its key.

    Attributes:
        path: With the query, as it was asked for.
        headers: With lower-case names; those that carry a secret are left out.
        length: Bytes that the client announced; None for a chunked body.
        body_bytes: Bytes of the body that were read, as they came over the wire.
        status: What was answered; None when nothing was: the connection was reset or left hanging, or
            the client went away.
        at: Seconds, by the server's clock, from the server's start to the request's.
        seconds: Seconds, by the same clock, from the request's first line to the answer.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    length: int | None = None
    body_bytes: int = 0
    status: int | None = None
    at: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Dropped:
    """Something that was accepted with a friendly answer and then never shown.

    Attributes:
        reason: `orphan`: its parent did not come within the window.
            `over_limit`: its trace already had as many runs as LangSmith takes.
            `trace_id`, `dotted_order`: an explicit id contradicts the tree.
            `attachment_name`: the attachment's name has a period.
            `feedback`: its run had not been received.
            `attachment_unreadable`: no JSON array of name, content and mime_type, or no base64.
        run_id: The run.
        name: The run's or the attachment's name.
    """

    reason: Literal[
        "orphan",
        "over_limit",
        "trace_id",
        "dotted_order",
        "attachment_name",
        "attachment_unreadable",
        "feedback",
    ]
    run_id: str
    name: str
