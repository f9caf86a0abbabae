"""What the user is heard to say: words come while they are spoken, with their times, and a reply follows the silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.testing._dialogue import pieces
from voicespan.testing._speech import SpeechDetector, SpeechStarted, TurnDetection

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.testing._speech import Format
    from voicespan.testing.openai_live.answers import LiveDialogue, Reply
    from voicespan.testing.openai_live.timeline import Timeline

_SILENCE_MS = 500
_DETECTION = TurnDetection(0.5, 0, _SILENCE_MS, create_response=True, interrupt_response=True)
#: How fast the user speaks, and how long the model thinks.
_WORD_MS = 300
_THINKS_MS = 200


class User:
    """Of one session.

    Args:
        dialogue: What the user says, and what the model does then.
        emit: Sends a server event.
        reply: Has the model do something.
    """

    def __init__(
        self, dialogue: LiveDialogue, emit: Callable[[dict[str, Any]], None], reply: Callable[[Reply], None]
    ) -> None:
        #: How many utterances have come to their end.
        self.utterances = 0
        self._dialogue = dialogue
        self._emit = emit
        self._reply = reply
        self._detector = SpeechDetector()
        self._unspoken: list[str] = []
        self._spoken_until = 0
        self._late_ms = 0

    def hear(self, audio: bytes, encoding: Format, timeline: Timeline) -> None:
        """The user's audio, before the time line advances by it."""
        for found in self._detector.feed(audio, encoding, _DETECTION):
            if isinstance(found, SpeechStarted):
                self._starts(found.ms, timeline)
            else:
                self._stops(found.ms - _SILENCE_MS, timeline)
        if not self._detector.speaking:
            return
        # The last word waits for the end.
        while len(self._unspoken) > 1 and self._spoken_until + _WORD_MS <= self._detector.ms:
            self._word(self._unspoken.pop(0), self._spoken_until + _WORD_MS, timeline)

    def _starts(self, ms: int, timeline: Timeline) -> None:
        words = self._dialogue.words(self.utterances)
        self._unspoken, self._spoken_until, self._late_ms = pieces(words.text), ms, words.late_ms
        speech = timeline.speaking
        if speech is not None and speech.yields:
            timeline.stop()

    def _stops(self, ms: int, timeline: Timeline) -> None:
        rest, self._unspoken = self._unspoken, []
        begins = self._spoken_until
        for number, word in enumerate(rest, 1):
            self._word(word, begins + max(ms - begins, 0) * number // len(rest), timeline)
        reply = self._dialogue.reply(self.utterances)
        self.utterances += 1
        if reply is not None:
            timeline.at(timeline.ms + _THINKS_MS, lambda: self._reply(reply))

    def _word(self, text: str, end: int, timeline: Timeline) -> None:
        times = {"start_ms": self._spoken_until, "end_ms": end}
        event = {"type": "session.input_transcript.delta", "delta": text, **times}
        self._spoken_until = end
        if self._late_ms:
            timeline.at(end + self._late_ms, lambda: self._emit(event))
        else:
            self._emit(event)
