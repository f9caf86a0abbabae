"""What happens in a cascade: calls of a speech-to-text model, of a language model and of a text-to-speech model.

In a cascade nothing crosses a socket that would tell of a turn. The application, or the framework that it uses, says
when each model is called; so these events come from there, and not from a provider's protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from voicespan.protocol.events import Event

if TYPE_CHECKING:
    from voicespan.protocol.events import FunctionCalled, Usage, WireError

StageName: TypeAlias = Literal["stt", "llm", "tts"]


@dataclass(slots=True, eq=False, repr=False)
class StageStarted(Event):
    """A model is called."""

    key: str
    stage: StageName
    model: str | None = None
    provider: str | None = None
    #: What a language model is given: the messages since the call before.
    messages: list[Any] | None = None
    #: What is to be said.
    text: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    #: The span that it is part of; None: the conversation's root.
    parent: Any = None
    #: What it says is part of the conversation, and not beside it.
    spoken: bool = True
    #: Another instrumentation's span stands for it: none is written, and what the model says is not known.
    elsewhere: bool = False
    #: Of a synthesis: the answer that it speaks, by the key of the language model's call, or its own.
    answer: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class StageFirstOutput(Event):
    """The first words, the first token or the first byte of audio is there."""

    key: str
    #: Nothing of the same answer was audible before.
    begins_answer: bool = False


@dataclass(slots=True, eq=False, repr=False)
class StageEnded(Event):
    """The call is over."""

    key: str
    text: str | None = None
    calls: tuple[FunctionCalled, ...] = ()
    usage: Usage | None = None
    #: Of audio, generated or transcribed.
    seconds: float | None = None
    model: str | None = None
    error: WireError | None = None
    #: Somebody stopped it: a barge-in, or the caller hung up.
    cancelled: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    #: Tokens that another instrumentation's spans inside count, so that this one must not.
    counted_inside: Usage | None = None
    #: Those have the messages as well.
    messages_inside: bool = False


@dataclass(slots=True, eq=False, repr=False)
class ToolStarted(Event):
    """The application begins to run a function that a language model asked for."""

    call_id: str
    #: Where the model is still at it, so that nobody has said yet what it asks for.
    name: str | None = None
    arguments: str = ""


@dataclass(slots=True, eq=False, repr=False)
class ToolEnded(Event):
    """It has run. What it gave back is often known only from the next call of the model."""

    call_id: str
    output: str | None = None
    error: WireError | None = None
    cancelled: bool = False
