"""The vocabulary that both providers speak: what happened in a conversation, and when.

A protocol turns wire frames into moments; the conversation turns moments into spans. `at` and the other
times are monotonic nanoseconds, `event_type` is the wire type of the frame that showed it first.
What is not known is None.

Nobody changes a moment. That it cannot be changed would cost 1 µs for each: a frozen dataclass sets its fields
through a function.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

# Part of the vocabulary: a pure protocol imports nothing of the settings.
from voicespan.runtime.settings import Level as Level  # noqa: PLC0414, TC001  re-exported, for use

Role: TypeAlias = Literal["user", "assistant", "system", "developer", "tool"]


class LocalId(str):
    """An id that voicespan made up where the wire has none: it keeps things apart and is never shown as a fact."""

    __slots__ = ()
    # Of the whole process: several connections share one conversation.
    _numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    @classmethod
    def new(cls, kind: str) -> LocalId:
        """One that nothing else has; `kind` is for who debugs."""
        return cls(f"{kind} {next(cls._numbers)}")


@dataclass(slots=True, eq=False, repr=False)
class Event:
    """Something that happened."""

    at: int
    event_type: str

    # Written once: what a dataclass makes of its own is compiled for each class, when it is imported.
    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, each.name) == getattr(other, each.name) for each in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        values = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return f"{type(self).__name__}({values})"


@dataclass(slots=True, eq=False, repr=False)
class SessionDescribed(Event):
    """The server described the session; repeated when it changes or is reconnected."""

    session_id: str | None
    model: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    #: Of the agent's audio, in Hz.
    audio_rate: int | None = None
    #: It begins with this, also where it has no id.
    begins: bool = False
    #: What each generation is given besides messages, as far as this says it. Empty, or 0: it has none any more.
    instructions: str | None = None
    tools: list[Any] | None = None
    max_output_tokens: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class SessionEnded(SessionDescribed):
    """The service ended the session: however its connection closes after that says nothing."""


@dataclass(slots=True, eq=False, repr=False)
class SecondsUsed(Event):
    """How many seconds of a session the service bills so far."""

    session_id: str
    seconds: float


@dataclass(slots=True, eq=False, repr=False)
class ResumptionOffered(Event):
    """Who has the handle that the server issued can take up the session on another connection."""

    #: SHA-256 of the handle, in hexadecimal digits.
    fingerprint: str


@dataclass(slots=True, eq=False, repr=False)
class ConnectionOpened(Event):
    """A connection of a conversation that has, or can have, several."""

    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class ConnectionClosed(Event):
    """The end of such a connection."""

    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class SpeechStarted(Event):
    """The user began to speak."""

    item_id: str | None


@dataclass(slots=True, eq=False, repr=False)
class SpeechStopped(Event):
    """The user's speech ended: voice activity detection said so, or the application committed it."""

    item_id: str | None
    #: When the user was silent, by the service's own count: it says so later, when the silence has lasted.
    silent_at: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class MessageAdded(Event):
    """A message took its place in the conversation; its words may come later."""

    item_id: str
    role: Role
    after: str | None = None
    #: Whether the model has it; speech that has only begun is not part of any input yet.
    given: bool = True
    awaits_transcript: bool = False
    #: The message that was spoken after it, though it came before.
    before: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class MessageText(Event):
    """A message of text: typed by the user, written by the model, or put there by the application."""

    item_id: str
    role: Role
    text: str
    after: str | None = None
    #: The application put it into the conversation: what the user typed, or an earlier history.
    seeded: bool = False
    #: It is of an earlier history: nobody said it in this conversation.
    put_back: bool = False


@dataclass(slots=True, eq=False, repr=False)
class MessageRemoved(Event):
    """A message that had begun did not become part of the conversation."""

    item_id: str


@dataclass(slots=True, eq=False, repr=False)
class TranscriptCompleted(Event):
    """One utterance in words: `input_transcription` (user) or `output_transcription` (assistant)."""

    role: Role
    item_id: str
    started_at: int
    text: str | None
    response_id: str | None = None
    error: WireError | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    #: Its response stands beside the conversation, see `GenerationStarted`.
    out_of_band: bool = False
    #: Of a service that has no responses: when the user's speech was over that this answers, and when this began, both by
    #: the service's own times.
    answers: tuple[int, int] | None = None


@dataclass(slots=True, eq=False, repr=False)
class FunctionCalled(Event):
    """The model asks for a function, with its full arguments (JSON text as the model wrote it)."""

    call_id: str
    name: str
    arguments: str
    item_id: str | None = None
    response_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    #: The operation that it is part of.
    within: str | None = None
    #: The service runs it, not the application.
    by_service: bool = False
    #: The application put it back into the history; nobody calls it now.
    put_back: bool = False


@dataclass(slots=True, eq=False, repr=False)
class FunctionAnswerSent(Event):
    """The application sent an answer, which the service has neither taken nor refused."""

    call_id: str


@dataclass(slots=True, eq=False, repr=False)
class FunctionAnswered(Event):
    """An answer to a function call was sent to the model."""

    call_id: str
    output: str
    name: str | None = None
    item_id: str | None = None
    #: More answers to the same call are to come, so it stays open.
    more: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    #: The service did not take it, for this reason; the call stays open.
    refused: WireError | None = None
    #: What the service ran itself failed.
    error: WireError | None = None
    #: See `FunctionCalled`.
    by_service: bool = False
    put_back: bool = False


@dataclass(slots=True, eq=False, repr=False)
class FunctionCancelled(Event):
    """The model no longer wants the answer."""

    call_id: str


@dataclass(slots=True, eq=False, repr=False)
class FunctionAnswerUnseen(Event):
    """The model went on as only after an answer: it was given past everything that sees the frames."""

    call_id: str


@dataclass(slots=True, eq=False, repr=False)
class OperationStarted(Event):
    """Something that lasts and has a name of its own began: a task that the model gave away, for example."""

    key: str
    #: Of its span.
    name: str
    kind: Literal["chain", "tool", "llm"] = "chain"
    #: What it was given, as JSON.
    prompt: Any = None
    #: The operation that it is part of.
    within: str | None = None
    #: The application works on it: its own spans nest under it.
    is_current: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    #: The service runs this tool of its own; or another agent does a task.
    tool: str | None = None
    is_agents: bool = False


@dataclass(slots=True, eq=False, repr=False)
class OperationEnded(Event):
    """It is over; what is known by now and was not when it began is added."""

    key: str
    prompt: Any = None
    completion: Any = None
    model: str | None = None
    usage: Usage | None = None
    error: WireError | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class GenerationStarted(Event):
    """The model began a response."""

    response_id: str
    #: It stands beside the conversation: it answers nobody, and nothing of the conversation's input is used up by it.
    out_of_band: bool = False
    #: What it was given instead, as role and text; None where the conversation is its input.
    inputs: list[tuple[Role, str]] | None = None
    #: The user could be heard, and this service does not say when the user speaks and is silent.
    speech_unmarked: bool = False
    #: It has instructions, tools or limits of its own instead of the session's.
    own_request: bool = False


@dataclass(slots=True, eq=False, repr=False)
class FirstAudio(Event):
    """The first audio of a response was received (not yet heard)."""

    response_id: str
    #: Of one out of band, while another answer sounds: nobody can tell which of them is heard.
    beside: bool = False


@dataclass(slots=True, eq=False, repr=False)
class GenerationEnded(Event):
    """The model's response is over: `turn_complete`."""

    response_id: str
    status: str
    reason: str | None
    #: What the model said or wrote in it, in order, where known.
    text: str | None
    call_ids: tuple[str, ...]
    usage: Usage | None
    #: Milliseconds of speech it produced; None where its audio did not cross this socket.
    generated_ms: int | None
    had_speech: bool
    model: str | None = None
    error: WireError | None = None
    #: What the model thought aloud before; not part of what it said.
    thoughts: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    #: Words of it are likely to come later.
    awaits_words: bool = False
    #: The service refused to answer, or withheld the answer.
    rejected: bool = False
    #: It asks for something that is no call: for a person's approval of one.
    asks: bool = False
    #: It began by asking for functions: when it went on after their answers.
    went_on_at: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class UsageReported(Event):
    """Tokens that the server counted outside of any response."""

    usage: Usage


@dataclass(slots=True, eq=False, repr=False)
class Interrupted(Event):
    """A sign that the user cut the agent off; several signs can tell of one barge-in."""

    response_id: str | None
    item_id: str | None
    cause: str
    #: Milliseconds of this answer that the user heard, where this sign says so.
    heard_ms: int | None = None
    generated_ms: int | None = None
    #: The same for the item alone, where an answer has several.
    item_heard_ms: int | None = None
    item_generated_ms: int | None = None
    #: The application stopped the answer, and the service heard no user: it is one if the recording has a voice there.
    if_heard: bool = False


@dataclass(slots=True, eq=False, repr=False)
class ErrorReported(Event):
    """The server reported an error; the session goes on."""

    error: WireError
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class ProviderEvent(Event):
    """A frame that keeps its own wire type as its name."""

    level: Level
    payload: Any
    from_client: bool = False
    error: WireError | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class WireError:
    """An error in the provider's words."""

    type: str
    message: str


@dataclass(slots=True)
class Usage:
    """Tokens as the server counted them; totals include every detail, None is not known."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    #: By LangSmith's names: text, audio, image, cache_read, cache_read_audio, reasoning, ...
    input_details: dict[str, int] = field(default_factory=dict)
    output_details: dict[str, int] = field(default_factory=dict)


#: The names that every reader of a voice trace knows (LangSmith, "Voice tracing fundamentals").
INPUT_TRANSCRIPTION = "input_transcription"
OUTPUT_TRANSCRIPTION = "output_transcription"
FUNCTION_CALL = "function_call"
FUNCTION_RESPONSE = "function_response"
TURN_COMPLETE = "turn_complete"
INTERRUPTED = "interrupted"
ERROR = "error"
#: Of our own making: they are in no frame.
CONNECTION_OPENED = "connection_opened"
CONNECTION_CLOSED = "connection_closed"
