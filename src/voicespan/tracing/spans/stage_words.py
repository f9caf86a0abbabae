"""The words of a cascade: what its models are given and say, each text once in the transcript.

The user's words come from a transcription, and again, perhaps with more around them, among the messages of the
language model. The agent's come from the language model, and again, in sentences and made easier to speak, in the
syntheses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicespan.tracing.cascade.messages import is_answer, results_of, role_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicespan.content.policy import Content
    from voicespan.protocol.stages import StageEnded, StageStarted
    from voicespan.tracing.spans.transcript import Entry, Transcript
    from voicespan.tracing.spans.turns import Turns
    from voicespan.tracing.spans.usage import Counters

#: The share of the words of a text that have to stand in another one, for the two to be the same.
_ALIKE = 0.5
#: So many characters of a text are compared.
_MOST_COMPARED = 20_000
#: And so many texts of one turn are kept for that.
_MOST_TEXTS = 16


class StageWords:
    """Of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(self, transcript: Transcript, content: Content, counts: Counters, turns: Turns) -> None:
        self._transcript = transcript
        self._content = content
        self._counts = counts
        self._turns = turns
        #: What the user said since a language model answered last.
        self._said: tuple[str, ...] = ()
        #: What the language model whose answer is spoken wrote; None: it still writes. "": nobody says what.
        self._written: dict[str, str | None] = {}

    # The messages of a language model.

    def results(self, started: StageStarted) -> Iterable[tuple[str | None, str | None, str]]:
        """What functions gave back, as the model is given it."""
        for message in started.messages or ():
            yield from results_of(message)

    def given(self, started: StageStarted) -> None:
        """A language model begins to answer: what it is given and nobody said was written."""
        self._take_typed(started)
        self._written = {started.key: "" if started.elsewhere else None}

    def _take_typed(self, started: StageStarted) -> None:
        """What the user wrote instead of saying it is part of the conversation; an earlier history is not."""
        messages = started.messages or []
        last = max((index for index, message in enumerate(messages) if is_answer(message)), default=-1)
        for message in messages[last + 1 :]:
            words = words_of(message) if role_of(message) == "user" else ""
            if words.strip() and not any(_alike(said, words) or _alike(words, said) for said in self._said):
                self._remember(words)
                entry = self._transcript.place(f"typed {id(message)} {len(self._transcript)}", "user")
                self._transcript.write(entry, self._content.text(words, role="user", place="transcript"))
                self._counts.text_messages += 1
                self._turns.figures.turns.add("typed", started.at)

    # What is said.

    def place(self, started: StageStarted) -> Entry:
        """Its message takes its place in the transcript; the words come later."""
        return self._transcript.place(started.key, "user" if started.stage == "stt" else "assistant")

    def user_said(self, started: StageStarted, text: str | None) -> None:
        """A transcription is over."""
        # Silence that was transcribed is no message.
        if text:
            self._remember(text)
            stored = self._content.text(text, role="user", place="transcript")
            self._transcript.write(self.place(started), stored)

    def model_said(self, started: StageStarted, ended: StageEnded) -> tuple[Entry | None, str | None]:
        """A language model has answered. Returns its message, if it is part of the talk, and its words."""
        stored = self._content.text(ended.text, role="assistant", place="transcript")
        if not started.spoken:
            return None, stored
        if ended.error is None:
            self._said = ()
        self._written = {started.key: ended.text or ""}
        if not ended.text and not ended.calls:
            return None, stored
        entry = self.place(started)
        if ended.text:
            self._transcript.write(entry, stored)
        return entry, stored

    def agent_says(self, started: StageStarted, *, spoken: bool) -> None:
        """A synthesis is over: words that no language model wrote are a message of their own."""
        if spoken and started.text and self._is_own(started):
            stored = self._content.text(started.text, role="assistant", place="transcript")
            self._transcript.write(self.place(started), stored)

    def entry_of(self, started: StageStarted) -> str:
        """The message of the transcript that a synthesis speaks."""
        return started.key if self._is_own(started) else started.answer or started.key

    def _is_own(self, started: StageStarted) -> bool:
        if started.answer is None or started.answer == started.key:
            # Unless a model on a socket wrote it, which this one speaks for.
            written = self._turns.wrote()
            return written is not None and not (written and _alike(started.text or "", written))
        written = self._written.get(started.answer, "")
        return written is not None and started.text is not None and not _alike(started.text, written)

    def _remember(self, text: str) -> None:
        self._said = (*self._said, text)[-_MOST_TEXTS:]


def _alike(part: str, whole: str) -> bool:
    """Whether the words of `part` are those of a part of `whole`."""
    words = _words(part)
    if not words:
        return True
    among = set(_words(whole))
    return sum(word in among for word in words) >= _ALIKE * len(words)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text[:_MOST_COMPARED].casefold())
