"""Who says what: the user's words, and the turns of the model.

Three rules put the fragments together:

1. A turn begins with the first sign of the model, whatever that is, and ends with `turnComplete`.
2. The user's words are over when the model begins, when they are marked `finished`, or when a turn ends.
   Words that come while the model speaks are the late end of what it answers; if it is interrupted, they
   are what interrupted it, and go on.
3. The model's words are over when they are marked `finished`, when it is interrupted, or when its turn ends.
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

#: Reasons of a turn's end that are none of its failures.
_NO_FAILURE = frozenset({None, "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT"})


class TurnTracker:
    """What is being said on one connection."""

    def __init__(self) -> None:
        #: The one in progress.
        self.turn: Turn | None = None
        self._last: Turn | None = None
        self._user: Utterance | None = None
        self._model: Utterance | None = None
        #: Whether there will be words of what the user says.
        self.transcribes = True
        #: Since the model began last.
        self.user_spoke = False
        self.showed_image = False

    # The user.

    def user_words(self, fragment: dict[str, Any], at: int) -> Iterator[Event]:
        """A fragment of what the user says."""
        if self._user is None:
            if not fragment.get("text"):
                return
            item_id = None
            if self.turn is None or self.turn.interrupted:
                item_id = LocalId.new("speech")
                yield events.MessageAdded(at, "input_transcription", item_id, "user", given=False)
            self._user = Utterance(at, item_id)
        self._user.add(fragment, at)
        if fragment.get("finished") is True:
            yield from self._end_user_words()

    def _end_user_words(self) -> Iterator[Event]:
        user, self._user = self._user, None
        if user is None:
            return
        part = 0
        if user.item_id is None and self.turn is not None:
            user.item_id, part = self.turn.user_id, self.turn.user_parts
            self.turn.user_parts += 1
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
        """Add a further piece to the words of one side. False: the words begin with it, so it has to be read as a whole."""
        utterance = self._user if users else self._model
        if utterance is None:
            return False
        utterance.last_at = at
        utterance.words.add(text)
        return True

    # The model.

    def begin(self, at: int, event_type: str) -> Generator[Event, None, Turn]:
        """The turn in progress, begun if there is none."""
        if self.turn is not None:
            return self.turn
        user_id = self._user.item_id if self._user is not None else None
        spoken = int(self._user is not None)
        yield from self._end_user_words()
        if user_id is None and self.user_spoke and self.transcribes:
            # The words may come during the answer: their place is before it.
            user_id = LocalId.new("speech")
            yield events.MessageAdded(at, event_type, user_id, "user")
        self.user_spoke = self.showed_image = False
        turn = self.turn = Turn(LocalId.new("turn"), LocalId.new("answer"), user_id, spoken)
        yield events.GenerationStarted(at, event_type, turn.id)
        return turn

    def part(self, turn: Turn, part: dict[str, Any], at: int) -> Iterator[Event]:
        """A part of what the model makes: speech, text, or a thought."""
        text = values.text(part.get("text"))
        if is_audio(part):
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
            yield from self._place(turn, at, "model_turn")
            turn.text.add(text)

    def model_words(self, fragment: dict[str, Any], at: int) -> Iterator[Event]:
        """A fragment of the words of what the model says."""
        if fragment.get("text"):
            turn = yield from self.begin(at, "output_transcription")
            turn.had_speech = True
            yield from self._place(turn, at, "output_transcription")
            self._model = self._model or Utterance(at, turn.item_id)
        if self._model is not None:
            self._model.add(fragment, at)
            if fragment.get("finished") is True:
                yield from self._end_model_words()

    def _place(self, turn: Turn, at: int, event_type: str) -> Iterator[Event]:
        if not turn.has_place:
            turn.has_place = True
            yield events.MessageAdded(at, event_type, turn.item_id, "assistant")

    def _end_model_words(self) -> Iterator[Event]:
        words, self._model = self._model, None
        turn = self.turn
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

    def interrupted(self, at: int) -> Iterator[Event]:
        """The user cut the model off."""
        turn = self.turn
        if turn is not None:
            yield from self._end_model_words()
            turn.interrupted = True
            if self._user is not None and self._user.item_id is None:
                self._user.item_id = LocalId.new("speech")
                yield events.MessageAdded(at, "interrupted", self._user.item_id, "user", given=False)
        # The answer may be complete already, and be cut off while it is played.
        cut = turn or self._last
        if cut is not None and cut.has_output:
            yield events.Interrupted(
                at, "interrupted", cut.id, cut.item_id, "interrupted", generated_ms=cut.generated_ms
            )

    def complete(self, at: int, reason: str | None, facts: dict[str, Any]) -> Iterator[Event]:
        """The turn is complete; `reason` and `facts` come from the same message."""
        turn = yield from self.begin(at, "turn_complete")
        failed = reason not in _NO_FAILURE
        status = "interrupted" if turn.interrupted else "failed" if failed else "completed"
        error = WireError(str(reason), f"the turn ended with {reason}") if failed else None
        yield from self._end(
            turn, at, "turn_complete", status=status, reason=reason, error=error, facts=facts
        )

    def cut_off(self, at: int) -> Iterator[Event]:
        """The connection is over, whatever was being said."""
        if self.turn is not None:
            yield from self._end(self.turn, at, "connection_closed", status="incomplete")
        yield from self._end_user_words()

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
        yield from self._end_model_words()
        texts = list(turn.said)
        if turn.text:
            texts.append(turn.text.text)
            item_id = LocalId.new("answer") if turn.said else turn.item_id
            yield events.MessageText(at, "model_turn", item_id, "assistant", turn.text.text)
        self.turn, self._last = None, turn
        yield events.GenerationEnded(
            at,
            event_type,
            turn.id,
            status,
            reason,
            " ".join(texts) or None,
            tuple(turn.call_ids),
            turn.usage,
            turn.generated_ms,
            turn.had_speech,
            error=error,
            thoughts=turn.thoughts.text if turn.thoughts else None,
            facts=facts or {},
        )


def is_audio(part: dict[str, Any]) -> bool:
    """Whether a part of the model's content is speech."""
    return values.mime_type(part.get("inlineData")).startswith("audio/")
