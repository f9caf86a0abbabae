"""What a test asks of a conversation: was it called, said, quick enough, answered?

Each takes the root of a `LangSmithServer`, or the spans of an exporter (an `InMemorySpanExporter`'s, say). Each fails
with the part of the tree that shows why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from voicespan.tracing.messages import contents, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.testing.langsmith import Run

    Conversation: TypeAlias = "Run | Iterable[ReadableSpan]"

_METADATA = "langsmith.metadata."
_CALL = "function_call: "
_ROLES = {"user": "user", "agent": "assistant"}
_LONGEST_LINE = 160


@dataclass(frozen=True)
class _Node:
    name: str
    depth: int
    #: Nanoseconds, from the root's start.
    start: int
    end: int
    metadata: Mapping[str, Any]
    inputs: Any
    outputs: Any
    error: str | None

    def line(self) -> str:
        """As it stands in a message."""
        facts = "".join(
            f" {name}={self.metadata[name]}"
            for name in ("response_gap_ms", "barge_in_ms", "outcome", "cause")
            if name in self.metadata
        )
        held = "".join(f" {_short(each)}" for each in (self.inputs, self.outputs) if each)
        failed = f" ERROR {self.error}" if self.error else ""
        return f"{'  ' * self.depth}{self.start / 1e9:7.3f} s  {self.name}{facts}{failed}{held}"[
            :_LONGEST_LINE
        ]


def assert_called(conversation: Conversation, name: str, **arguments: Any) -> None:
    """The function `name` was called, with at least these arguments.

    Raises:
        AssertionError: it was not; the message shows every function that was called.
    """
    calls = [node for node in _nodes(conversation) if node.name.startswith(_CALL)]
    for call in calls:
        given = call.inputs if isinstance(call.inputs, dict) else {}
        if (
            call.name == _CALL + name
            and arguments.items() <= {key: given.get(key) for key in arguments}.items()
        ):
            return
    wanted = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    _fail(f"{name}({wanted}) was not called", calls or _nodes(conversation))


def assert_said(conversation: Conversation, who: Literal["agent", "user"], text: str) -> None:
    """The agent, or the user, said something that has `text` in it, whatever the case of its letters.

    Raises:
        AssertionError: neither a transcript nor an answer of theirs has it; the message shows what they said.
    """
    nodes = _nodes(conversation)
    said = [node for node in nodes if any(_spoken(node, _ROLES[who]))]
    if not any(text.lower() in words.lower() for node in said for words in _spoken(node, _ROLES[who])):
        _fail(f"the {who} did not say {text!r}", said or nodes)


def assert_gap_below(conversation: Conversation, ms: float) -> None:
    """Every answer to speech was heard within `ms` milliseconds of the end of that speech.

    Raises:
        AssertionError: one was not, or none has a response gap, so that nothing is known.
    """
    _assert_below(conversation, "response_gap_ms", ms, "no answer has a response gap", "was heard after")


def assert_stopped_within(conversation: Conversation, ms: float) -> None:
    """The agent fell silent within `ms` milliseconds of every barge-in.

    Raises:
        AssertionError: it did not, or no barge-in says how long it took, so that nothing is known.
    """
    _assert_below(conversation, "barge_in_ms", ms, "no barge-in says how long it took", "fell silent after")


def assert_all_answered(conversation: Conversation) -> None:
    """No answer failed, was rejected or was empty, and the user was answered.

    Raises:
        AssertionError: one was, or nobody ever answered; the message shows the answers.
    """
    nodes = _nodes(conversation)
    answers = [node for node in nodes if node.name == "turn_complete"]
    wrong = [node for node in answers if node.metadata.get("outcome") not in ("completed", "cancelled")]
    if wrong:
        _fail("an answer did not come", wrong)
    if not answers or nodes[0].metadata.get("status") == "unanswered":
        _fail("nothing was answered", nodes)


def assert_figure(
    conversation: Conversation, name: str, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """A figure of the whole call is between these, both included; the names are those of `docs/figures.md`.

    Raises:
        AssertionError: it is not, or the root has none of that name, so that nothing is known.
    """
    root = _nodes(conversation)[0]
    value = root.metadata.get(name)
    if not isinstance(value, (int, float)):
        basis = root.metadata.get("figures_basis")
        _fail(f"the call has no {name}; its figures rest on: {basis}", [root])
    if (at_least is not None and value < at_least) or (at_most is not None and value > at_most):
        limits = [f"at least {at_least:g}"] if at_least is not None else []
        limits += [f"at most {at_most:g}"] if at_most is not None else []
        _fail(f"{name} is {value:g}, not {' and '.join(limits)}", [root])


def _assert_below(conversation: Conversation, figure: str, ms: float, unknown: str, late: str) -> None:
    nodes = _nodes(conversation)
    known = [node for node in nodes if isinstance(node.metadata.get(figure), (int, float))]
    if not known:
        _fail(unknown, nodes)
    slow = [node for node in known if node.metadata[figure] >= ms]
    if slow:
        _fail(f"it {late} {slow[0].metadata[figure]:g} ms, not within {ms:g}", slow)


def _fail(why: str, shown: Iterable[_Node]) -> NoReturn:
    raise AssertionError("\n".join([why, *(node.line() for node in shown)]))


def _spoken(node: _Node, role: str) -> list[str]:
    """What somebody said, as a transcript or as an answer tells it; not what stands in a prompt again."""
    name = "input_transcription" if role == "user" else "output_transcription"
    if node.name not in (name, "turn_complete", "stt", "llm", "tts"):
        return []
    held = [node.outputs] if node.name in ("turn_complete", "llm") else [node.inputs, node.outputs]
    messages = [message for each in held if isinstance(each, dict) for message in each.get("messages", ())]
    return [
        str(message.get("content") or "")
        for message in messages
        if isinstance(message, dict) and message.get("role") == role
    ]


def _nodes(conversation: Conversation) -> list[_Node]:
    """The root first, then everything below it."""
    walk: Callable[[], Iterable[tuple[int, Run]]] | None = getattr(conversation, "walk", None)
    return _of_spans(conversation) if walk is None else _of_runs(walk())  # type: ignore[arg-type]


def _of_runs(runs: Iterable[tuple[int, Run]]) -> list[_Node]:
    found = list(runs)
    began = found[0][1].start_ns
    return [
        _Node(
            run.name,
            depth,
            run.start_ns - began,
            (run.end_ns or run.start_ns) - began,
            run.metadata,
            run.inputs,
            run.outputs,
            run.error,
        )
        for depth, run in found
    ]


def _of_spans(spans: Iterable[ReadableSpan]) -> list[_Node]:
    found = sorted(spans, key=lambda span: span.start_time or 0)
    roots = [span for span in found if (span.attributes or {}).get(_METADATA + "ls_modality") == "audio"]
    if len(roots) != 1:
        raise AssertionError(f"these are the spans of {len(roots)} conversations, not of one")
    [root] = roots
    began = root.start_time or 0
    return [_of_span(root, 0, began), *(_of_span(span, 1, began) for span in found if span is not root)]


def _of_span(span: ReadableSpan, depth: int, began: int) -> _Node:
    attributes = dict(span.attributes or {})
    return _Node(
        own_name(span.name),
        depth,
        (span.start_time or 0) - began,
        (span.end_time or 0) - began,
        {
            key.removeprefix(_METADATA): value
            for key, value in attributes.items()
            if key.startswith(_METADATA)
        },
        *contents(attributes),
        None if span.status.is_ok or span.status.is_unset else span.status.description or "error",
    )


def _short(held: object) -> str:
    return json.dumps(held, ensure_ascii=False, default=str)
