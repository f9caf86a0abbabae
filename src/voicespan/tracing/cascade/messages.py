"""The messages that a language model is given and the functions that it asks for, in the shapes of the SDKs.

An application gives the whole history with each call. A trace that repeats it grows with the square of the
conversation, so a call has only the messages since the one before.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from voicespan.protocol.events import FunctionCalled, LocalId
from voicespan.protocol.json_values import json_text, safe_str

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    #: Hashes of the last messages of a call, how many it had, and that of its instructions.
    _Given: TypeAlias = tuple[tuple[int, ...], int, int | None]

#: So many calls are compared: beside the one that answers there may be one that judges, or sums up.
_MOST_EARLIER = 4
#: And so many messages of each, from its end.
_MOST_COMPARED = 32
#: The last message may have grown since: the user spoke on, or an answer was cut to what was heard.
_MOST_REWRITTEN = 4
#: Messages of one call.
_MOST_MESSAGES = 1_000
#: Functions of one answer.
_MOST_CALLS = 128
_ASSISTANT = frozenset({"assistant", "model"})
_INSTRUCTIONS = frozenset({"system", "developer"})
#: Items of OpenAI's Responses API that the model itself wrote.
_MODELS_OWN = frozenset({"function_call", "reasoning"})


class PromptHistory:
    """What the language models of one conversation were given. Not thread-safe: the lifecycle's lock is held."""

    def __init__(self) -> None:
        self._earlier: tuple[_Given, ...] = ()

    def new(self, messages: Sequence[Any]) -> list[Any]:
        """Those that no call before had, without what the model answered itself."""
        messages = messages[-_MOST_MESSAGES:]
        marks = _Marks(messages)
        instructions = marks.at(0) if messages and role_of(messages[0]) in _INSTRUCTIONS else None
        known, before = 0, None
        for earlier in self._earlier:
            count = _known(earlier, marks)
            if count > known:
                known, before = count, earlier
        first = max(len(messages) - _MOST_COMPARED, 0)
        last = tuple(marks.at(index) for index in range(first, len(messages)))
        given = (last, len(messages), instructions)
        others = [each for each in self._earlier if each is not before or not known]
        self._earlier = (given, *others)[:_MOST_EARLIER]
        new = list(messages[known:])
        while known and new and is_answer(new[0]):
            del new[0]
        if known and before is not None and instructions is not None and instructions != before[2]:
            new.insert(0, messages[0])
        return new


class _Marks:
    """The hashes of messages, each made when it is asked for: of a long history nearly none is."""

    def __init__(self, messages: Sequence[Any]) -> None:
        self._messages = messages
        self._made: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def at(self, index: int) -> int:
        """That of the message at this place."""
        mark = self._made.get(index)
        if mark is None:
            mark = self._made[index] = _mark(self._messages[index])
        return mark


def _known(given: _Given, marks: _Marks) -> int:
    """How many of the messages an earlier call was `given`; 0: it has nothing to do with this one."""
    earlier, count, _ = given
    for rewritten in range(min(_MOST_REWRITTEN, len(earlier) - 1) + 1):
        tail = earlier[: len(earlier) - rewritten]
        # Mostly the history has only grown; else its beginning was left out.
        for end in chain((count - rewritten,), range(len(marks), 0, -1)):
            if 0 < end <= len(marks) and tail[-1] == marks.at(end - 1) and _ends_alike(tail, marks, end):
                return end
    return 0


def _ends_alike(tail: tuple[int, ...], marks: _Marks, end: int) -> bool:
    """Whether the messages before `end`, whose last is that of `tail`, end as it does: in two, if both have as many."""
    return min(len(tail), end) < 2 or tail[-2] == marks.at(end - 2)  # noqa: PLR2004  the last is asked for by the caller


def _mark(message: Any) -> int:
    content = field(message, "content")
    if content is None:
        content = field(message, "parts") or field(message, "output")
    body = content if isinstance(content, str) else json_text(content)
    calls = field(message, "tool_calls")
    ids = tuple(safe_str(field(call, "id")) for call in calls) if isinstance(calls, (list, tuple)) else ()
    name = field(message, "tool_call_id") or field(message, "call_id") or field(message, "id")
    return hash((role_of(message), body, ids, safe_str(name) if name is not None else None))


def field(message: Any, name: str) -> Any:
    """A member of a message, which is a dict or an object of an SDK."""
    return message.get(name) if isinstance(message, dict) else getattr(message, name, None)


def role_of(message: Any) -> str:
    """Whose message it is, in the words of the chat APIs."""
    role = field(message, "role")
    if isinstance(role, str):
        return str.__str__(role)
    return "tool" if field(message, "type") == "function_call_output" else ""


def is_answer(message: Any) -> bool:
    """Whether the model wrote it."""
    return role_of(message) in _ASSISTANT or field(message, "type") in _MODELS_OWN


def words_of(message: Any) -> str:
    """The texts of a message, without what else is in it."""
    content = field(message, "content")
    if content is None:
        content = field(message, "parts")
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return ""
    texts = (part if isinstance(part, str) else field(part, "text") for part in content)
    return " ".join(text for text in texts if isinstance(text, str))


def results_of(message: Any) -> Iterable[tuple[str | None, str | None, str]]:
    """What functions gave back: of each the id of its call, its name and its output."""
    if role_of(message) == "tool":
        call_id = field(message, "tool_call_id") or field(message, "call_id")
        output = field(message, "output") if field(message, "content") is None else field(message, "content")
        yield _text_or_none(call_id), _text_or_none(field(message, "name")), _as_text(output)
        return
    content = field(message, "content") or field(message, "parts")
    for part in content if isinstance(content, (list, tuple)) else ():
        if field(part, "type") == "tool_result":
            yield _text_or_none(field(part, "tool_use_id")), None, _as_text(field(part, "content"))
        answer = field(part, "function_response") or field(part, "functionResponse")
        if answer is not None:
            named = _text_or_none(field(answer, "name"))
            yield _text_or_none(field(answer, "id")), named, _as_text(field(answer, "response"))


def _text_or_none(value: Any) -> str | None:
    return str.__str__(value) if isinstance(value, str) else None


def _as_text(output: Any) -> str:
    if isinstance(output, str):
        return output
    texts = (
        [words for part in output if (words := words_of({"content": [part]}))]
        if isinstance(output, list)
        else []
    )
    return " ".join(texts) if texts else json_text(plain(output))


def plain(odd: Any) -> Any:
    """A message, or a part of one, as JSON has it, whatever SDK it is an object of."""
    dump = getattr(odd, "model_dump", None)
    if callable(dump) and not isinstance(odd, type):
        return dump(exclude_none=True, warnings=False)
    if isinstance(odd, (dict, list, tuple, str, int, float, bool)) or odd is None:
        return odd
    known = {name: field(odd, name) for name in ("role", "content", "tool_calls", "tool_call_id", "name")}
    return {name: value for name, value in known.items() if value is not None} or safe_str(odd)


def function_calls(calls: Iterable[Any], at: int) -> tuple[FunctionCalled, ...]:
    """What the model asked for. `at`: monotonic nanoseconds.

    Understood are the `tool_calls` of chat completions, `function_call` items of the Responses API, Anthropic's
    `tool_use` blocks and Gemini's `functionCall`, as objects and as dicts.
    """
    found: list[FunctionCalled] = []
    for call in calls:
        if len(found) >= _MOST_CALLS:
            break
        inner = field(call, "function") or field(call, "function_call") or field(call, "functionCall") or call
        name = field(inner, "name")
        if not isinstance(name, str):
            continue
        arguments = next(
            (value for key in ("arguments", "input", "args") if (value := field(inner, key)) is not None), ""
        )
        found.append(
            FunctionCalled(
                at,
                "llm",
                _id_of(call, inner),
                str.__str__(name),
                arguments if isinstance(arguments, str) else json_text(arguments),
            )
        )
    return tuple(found)


def _id_of(call: Any, inner: Any) -> str:
    for holder, key in ((call, "call_id"), (call, "id"), (inner, "id")):
        value = field(holder, key)
        if value is not None and value != "":
            return safe_str(value)
    return LocalId.new("call")
