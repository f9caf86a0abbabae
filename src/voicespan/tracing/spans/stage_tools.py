"""The function calls of a cascade: announced by a language model, run by the application, answered in the next call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import FunctionCalled, LocalId
from voicespan.runtime.bounded import put
from voicespan.tracing.spans.function_calls import call_message

if TYPE_CHECKING:
    from voicespan.content.policy import Content
    from voicespan.protocol.stages import ToolEnded, ToolStarted
    from voicespan.tracing.spans.function_calls import FunctionCalls
    from voicespan.tracing.spans.stage_gap import StageGap
    from voicespan.tracing.spans.transcript import Entry, Transcript
    from voicespan.tracing.spans.usage import Counters


@dataclass(slots=True)
class _Tool:
    call: FunctionCalled
    #: As they may be stored.
    arguments: str
    #: Its span has begun.
    begun: bool
    #: When the application was done with it, if it said so.
    ended_at: int | None = None
    answered: bool = False
    #: It ran before the model was through with its answer.
    is_early: bool = False


class StageTools:
    """Those of one conversation. Not thread-safe: the lock of the event queue is held."""

    def __init__(
        self, calls: FunctionCalls, transcript: Transcript, content: Content, counts: Counters, gap: StageGap
    ) -> None:
        self._calls = calls
        self._transcript = transcript
        self._content = content
        self._counts = counts
        self._gap = gap
        self._known: dict[str, _Tool] = {}

    def announce(self, called: tuple[FunctionCalled, ...], entry: Entry | None) -> list[dict[str, Any]]:
        """A language model asks for functions. Returns the calls as messages have them.

        A single one is open from now on, and the application's spans nest in it. With several nobody can know which
        of them runs, so each opens when the application says that it runs.
        """
        messages = []
        for call in called:
            early = self._known.get(call.call_id)
            if early is not None and early.is_early:
                early.is_early = False
                message = call_message(early.call, early.arguments)
                if entry is not None:
                    self._transcript.call(entry, message)
                messages.append(message)
                continue
            self._counts.function_calls += 1
            arguments = self._content.text(call.arguments, role="assistant", place="arguments") or ""
            message = call_message(call, arguments)
            put(self._known, call.call_id, _Tool(call, arguments, begun=False))
            if len(called) == 1:
                self._begin(self._known[call.call_id], call.at)
            if entry is not None:
                self._transcript.call(entry, message)
            messages.append(message)
        return messages

    def started(self, event: ToolStarted) -> None:
        """The application runs it."""
        tool = self._known.get(event.call_id)
        if (tool is None or (tool.answered and not tool.is_early)) and event.name is not None:
            tool = self._announced_early(event, event.name)
        if tool is not None:
            self._begin(tool, event.at)

    def _announced_early(self, event: ToolStarted, name: str) -> _Tool:
        call = FunctionCalled(event.at, event.event_type, event.call_id, name, event.arguments)
        arguments = self._content.text(event.arguments, role="assistant", place="arguments") or ""
        tool = _Tool(call, arguments, begun=False, is_early=True)
        put(self._known, event.call_id, tool)
        self._counts.function_calls += 1
        return tool

    def ended(self, event: ToolEnded) -> None:
        """It has run."""
        tool = self._known.get(event.call_id)
        if tool is None or tool.answered or tool.ended_at is not None:
            return
        tool.ended_at = event.at
        self._gap.ended(event.call_id, event.at)
        if event.output is None and event.error is None and not event.cancelled:
            # What it gave back comes with the next call of the model; meanwhile nothing nests in it.
            self._calls.answer_sent(event.call_id)
            return
        tool.answered = True
        output = self._content.text(event.output, role="tool", place="result") or ""
        facts = {"status": "cancelled"} if event.cancelled else None
        self._calls.answer(event.call_id, event.at, output, self._content.error(event.error), facts)

    def answer(self, call_id: str | None, name: str | None, output: str, at: int) -> None:
        """The model is given what a function gave back."""
        key = self._key_of(call_id, name)
        tool = self._known.get(key) if key is not None else None
        if key is None or tool is None:
            return
        text = self._content.text(output, role="tool", place="result") or ""
        entry = self._transcript.place(f"answer {key}", "tool")
        entry.answers(key, tool.call.name)
        self._transcript.write(entry, text)
        if tool.answered:
            return
        self._begin(tool, tool.call.at)
        tool.answered = True
        self._gap.ended(key, at)
        self._calls.answer(key, at if tool.ended_at is None else tool.ended_at, text)

    def finish(self) -> None:
        """The conversation is over: what ran and whose result nobody saw ended when it ended."""
        for call_id, tool in self._known.items():
            if not tool.begun:
                self._begin(tool, tool.call.at)
            if tool.ended_at is not None and not tool.answered:
                self._calls.answer_unseen(call_id, tool.ended_at)

    def _begin(self, tool: _Tool, at: int) -> None:
        if tool.begun:
            return
        tool.begun = True
        self._gap.began("tool", tool.call.call_id, at)
        self._calls.begin(replace(tool.call, at=at), tool.arguments)

    def _key_of(self, call_id: str | None, name: str | None) -> str | None:
        if call_id is not None and call_id in self._known:
            return call_id
        # A service that gives no ids.
        return next(
            (
                key
                for key, tool in self._known.items()
                if isinstance(key, LocalId) and tool.call.name == name and not tool.answered
            ),
            None,
        )
