"""Joins the fragments of transcripts to messages, and decides where a turn of the model begins and ends.

1. A turn begins with the first output of the model, of whatever kind, and ends with `turnComplete`. Where it speaks,
   asks for functions and speaks again with their answers, it is two: nobody generates while a function runs.
2. The user's message is complete when the model begins, when it is marked `finished`, or when a turn ends.
   Fragments of the user that come while the model speaks are the late end of what the model answers. If the model is
   then interrupted, they are the beginning of what interrupted it.
3. The model's message is complete when it is marked `finished`, when it is interrupted, or when its turn ends.
4. What the application types with `turnComplete` is answered, not the sound of a microphone that is open meanwhile.
5. Fragments between `turnComplete` and the next sign of the user are late and belong to the turn that is over: the
   user's only if that turn has none yet, the model's unless its next turn follows them at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, values
from voicespan.gemini_live.turns import MOST_UTTERANCES, Turn, Utterance, bytes_per_ms
from voicespan.protocol import events
from voicespan.protocol.events import LocalId, WireError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from voicespan.protocol.events import Event

#: What is output of the model.
_OUTPUT = frozenset({"model_turn", "output_transcription"})
#: Reasons of a turn's end that are none of its failures.
_NO_FAILURE = frozenset({None, "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT"})
#: And those where the model did not manage to answer. With all others the answer was rejected.
_NOT_REJECTED = _NO_FAILURE | {"MALFORMED_FUNCTION_CALL", "MAX_REGENERATION_REACHED"}
#: Nanoseconds. The first words of an answer come closer than this to its audio, and pieces of one transcript
#: closer than this to each other.
_AT_ONCE = 1_000_000_000


class TurnTracker:
    """What is being said on one connection."""

    def __init__(self) -> None:
        #: The one in progress.
        self.turn: Turn | None = None
        #: The one before, and whether late words can still belong to it.
        self._last: Turn | None = None
        self._last_is_open = False
        self._user: Utterance | None = None
        self._model: Utterance | None = None
        #: Which side is transcribed at all.
        self.transcribes = True
        self.transcribes_model = True
        #: Since the model began last.
        self.user_spoke = False
        #: When something was typed that is to be answered, for the last time.
        self._typed_at: int | None = None
        #: Whether it is said when the user speaks: by the service or by the application.
        self.marks_speech = False
        self.showed_image = False
        #: Whether anything was said, typed or shown.
        self.is_empty = True

    # The user.

    def user_words(self, fragment: dict[str, Any], at: int) -> Iterator[Event]:
        """A fragment of what the user says."""
        if self._user is not None and self._is_new_speech(self._user, at):
            yield from self._end_user_words()
        if self._user is None:
            if not _has_words(fragment):
                return
            self._user = Utterance(at, None)
            if self.turn is None and self._awaits_user_words:
                self._user.late_for = self._last
            elif self.turn is None or self.turn.interrupted:
                yield from self.user_acts()
                self._user.item_id = LocalId.new("speech")
                yield events.MessageAdded(at, "input_transcription", self._user.item_id, "user", given=False)
        self._user.add(fragment, at)
        if fragment.get("finished") is True:
            yield from self._end_user_words()

    def user_acts(self) -> Iterator[Event]:
        """A sign of the user: whatever words come now are none of the last turn's."""
        self.is_empty = False
        yield from self._end_late_words()
        self._last_is_open = False

    def typed(self, at: int) -> None:
        """The application wants an answer to what it has typed."""
        self._typed_at = at

    @property
    def _awaits_user_words(self) -> bool:
        last = self._last
        return self._last_is_open and last is not None and last.user_id is not None and last.user_parts == 0

    def _is_new_speech(self, utterance: Utterance, at: int) -> bool:
        return utterance.late_for is not None and at - utterance.last_at > _AT_ONCE

    def _end_user_words(self) -> Iterator[Event]:
        user, self._user = self._user, None
        if user is None:
            return
        part = 0
        turn = user.late_for or self.turn
        if user.item_id is None and turn is not None:
            user.item_id, part = turn.user_id, turn.user_parts
            turn.user_parts += 1
        yield events.TranscriptCompleted(
            user.last_at,
            "input_transcription",
            "user",
            user.item_id or LocalId.new("speech"),
            user.started_at,
            user.words.text,
            facts={**user.facts, "content_index": part or None},
        )

    def goes_on(self, text: str, at: int, *, users: bool) -> bool:
        """Add a further piece to the words of one side. False: it may be the first, and has to be read as a whole."""
        utterance = self._user if users else self._model
        if utterance is None or self._is_new_speech(utterance, at):
            return False
        utterance.last_at = at
        utterance.words.add(text)
        return True

    # The model.

    def begin(self, at: int, event_type: str) -> Generator[Event, None, Turn]:
        """The turn in progress, begun if there is none."""
        if self.turn is not None:
            if event_type not in _OUTPUT or not self.turn.has_answers_after_speech:
                return self.turn
            return (yield from self._go_on(self.turn, at, event_type))
        self.is_empty = False
        words = self._model
        if words is not None and (at - words.last_at <= _AT_ONCE or event_type == "turn_complete"):
            # They were no late words, but the first ones of this turn.
            at, event_type, self._model = words.started_at, "output_transcription", None
        else:
            words = None
            yield from self._end_late_words()
        if self._user is not None and self._user.late_for is not None:
            yield from self._end_user_words()
        turn = self.turn = yield from self._begin(at, event_type)
        if words is not None:
            turn.had_speech = True
            yield from self._place(turn, at, event_type)
            words.item_id, self._model = turn.item_id, words
            turn.utterances.append(words)
        return turn

    def gets_answers(self) -> Iterator[Event]:
        """Functions were answered: what the model says next is none of what it said before it asked for them."""
        if self.turn is not None and self.turn.has_answers_after_speech:
            # The next audio is read and not counted only: see `Protocol.skip_server_frame`.
            self.turn.mime_type = ""
            yield from self._end_model_words(self.turn)

    def _go_on(self, turn: Turn, at: int, event_type: str) -> Generator[Event, None, Turn]:
        """The functions of a turn that spoke before have their answers: what it says with them is a turn of its own."""
        yield from self._end(turn, turn.ended_before_answers or at, "tool_call", status="completed")
        # What the user said, of which the words may still come, is before both.
        following = Turn(
            LocalId.new("turn"), LocalId.new("answer"), turn.user_id, turn.user_parts, started_at=at
        )
        turn.user_id, self._last_is_open, self.turn = None, False, following
        yield events.GenerationStarted(at, event_type, following.id)
        return following

    def _begin(self, at: int, event_type: str) -> Generator[Event, None, Turn]:
        if self._last is not None and self._last.user_id is not None and self._last.user_parts == 0:
            # Nobody said anything there, or the words are lost.
            yield events.MessageRemoved(at, event_type, self._last.user_id)
        user_id = self._user.item_id if self._user is not None else None
        spoken = int(self._user is not None)
        yield from self._end_user_words()
        if self._typed_at is not None and at - self._typed_at <= _AT_ONCE:
            self.user_spoke = False
        if user_id is None and self.user_spoke and self.transcribes:
            # The words may come during the answer, or after it: their place is before it.
            user_id = LocalId.new("speech")
            yield events.MessageAdded(at, event_type, user_id, "user", awaits_transcript=True)
        unmarked = self.user_spoke and not self.marks_speech
        self.user_spoke = self.showed_image = self._last_is_open = False
        self._typed_at = None
        turn = Turn(LocalId.new("turn"), LocalId.new("answer"), user_id, spoken, started_at=at)
        yield events.GenerationStarted(at, event_type, turn.id, speech_unmarked=unmarked)
        return turn

    def part(self, turn: Turn, part: dict[str, Any], at: int) -> Iterator[Event]:
        """A part of what the model makes: speech, text, or a thought."""
        text = values.text(part.get("text"))
        if is_audio(part):
            turn.goes_on(at)
            blob = part["inlineData"]
            first = turn.audio == 0
            turn.mime_type = values.mime_type(blob)
            turn.bytes_per_ms = bytes_per_ms(turn.mime_type)
            turn.audio += frames.size(blob.get("data"))
            turn.had_speech = True
            if first:
                yield events.FirstAudio(at, "model_turn", turn.id)
        elif text and part.get("thought") is True:
            turn.thoughts.add(text)
        elif text:
            turn.goes_on(at)
            yield from self._place(turn, at, "model_turn")
            turn.text.add(text)

    def model_words(self, fragment: dict[str, Any], at: int) -> Iterator[Event]:
        """A fragment of the words of what the model says."""
        if self._model is None and not _has_words(fragment):
            return
        if self.turn is None and self._last_is_open and self._last is not None:
            self._model = self._model or Utterance(at, self._last.item_id)
            self._model.add(fragment, at)
            return
        if _has_words(fragment):
            turn = yield from self.begin(at, "output_transcription")
            turn.had_speech = True
            turn.goes_on(at)
            yield from self._place(turn, at, "output_transcription")
            self._model = self._model or self._utterance(turn, at)
        if self._model is not None:
            self._model.add(fragment, at)
            if fragment.get("finished") is True:
                yield from self._end_model_words(self.turn)

    def _utterance(self, turn: Turn, at: int) -> Utterance:
        utterance = Utterance(at, turn.item_id)
        if len(turn.utterances) < MOST_UTTERANCES:
            turn.utterances.append(utterance)
        return utterance

    def _place(self, turn: Turn, at: int, event_type: str) -> Iterator[Event]:
        if not turn.has_place:
            turn.has_place = True
            yield events.MessageAdded(at, event_type, turn.item_id, "assistant")

    def _end_late_words(self) -> Iterator[Event]:
        if self.turn is None:
            yield from self._end_model_words(self._last)

    def _end_model_words(self, turn: Turn | None) -> Iterator[Event]:
        words, self._model = self._model, None
        if words is None or turn is None:
            return
        part = len(turn.said) or None
        if len(turn.said) < MOST_UTTERANCES:
            turn.said.append(words.words.text)
        yield events.TranscriptCompleted(
            words.last_at,
            "output_transcription",
            "assistant",
            turn.item_id,
            words.started_at,
            words.words.text,
            turn.id,
            facts={**words.facts, "content_index": part},
        )

    def generated(self, at: int) -> None:
        """All of the answer has been generated; it may be played for long before the turn is complete."""
        if self.turn is not None:
            self.turn.generated_at = at

    def interrupted(self, at: int) -> Iterator[Event]:
        """The user cut the model off."""
        turn = self.turn
        if turn is not None:
            yield from self._end_model_words(turn)
            turn.interrupted = True
            if self._user is not None and self._user.item_id is None:
                self._user.item_id = LocalId.new("speech")
                yield events.MessageAdded(at, "interrupted", self._user.item_id, "user", given=False)
        else:
            yield from self.user_acts()
        # The answer may be complete already, and be cut off while it is played.
        cut = turn or self._last
        yield events.Interrupted(
            at,
            "interrupted",
            LocalId.new("turn") if cut is None else cut.id,
            None if cut is None else cut.item_id,
            "interrupted",
            generated_ms=None if cut is None else cut.generated_ms,
        )

    def complete(self, at: int, reason: str | None, facts: dict[str, Any]) -> Iterator[Event]:
        """The turn is complete; `reason` and `facts` come from the same message."""
        turn = yield from self.begin(at, "turn_complete")
        failed = reason not in _NO_FAILURE
        error = WireError(str(reason), f"the turn ended with {reason}") if failed else None
        status = "failed" if failed else "completed"
        yield from self._end(
            turn, turn.ended_at(at), "turn_complete", status=status, reason=reason, error=error, facts=facts
        )

    def cut_off(self, at: int) -> Iterator[Event]:
        """The connection is over, whatever was being said."""
        if self.turn is not None:
            yield from self._end(self.turn, at, "connection_closed", status="incomplete")
        yield from self._end_user_words()
        yield from self._end_late_words()

    def _end(
        self,
        turn: Turn,
        at: int,
        event_type: str,
        *,
        status: str,
        reason: str | None = None,
        error: WireError | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Iterator[Event]:
        if not turn.interrupted:
            yield from self._end_user_words()
        yield from self._end_model_words(turn)
        texts = list(turn.said)
        if turn.text:
            texts.append(turn.text.text)
            item_id = LocalId.new("answer") if turn.said else turn.item_id
            yield events.MessageText(at, "model_turn", item_id, "assistant", turn.text.text)
        self.turn, self._last = None, turn
        self._last_is_open = turn.had_speech and not turn.interrupted
        yield events.GenerationEnded(
            at,
            event_type,
            turn.id,
            "interrupted" if turn.interrupted else status,
            reason,
            " ".join(texts) or None,
            tuple(turn.call_ids),
            turn.usage,
            turn.generated_ms,
            turn.had_speech,
            error=error,
            thoughts=turn.thoughts.text if turn.thoughts else None,
            facts=facts or {},
            awaits_words=self._last_is_open and self.transcribes_model and turn.lacks_words,
            rejected=reason not in _NOT_REJECTED,
            went_on_at=turn.went_on_at,
        )


def is_audio(part: dict[str, Any]) -> bool:
    """Whether a part of the model's content is speech."""
    return values.mime_type(part.get("inlineData")).startswith("audio/")


def _has_words(fragment: dict[str, Any]) -> bool:
    return bool((values.text(fragment.get("text")) or "").strip())
