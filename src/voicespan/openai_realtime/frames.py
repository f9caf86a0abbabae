"""Reads a frame's bytes: most frames need not be parsed.

Parsing 10 kB of base64 costs ten times as much as all the rest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from voicespan.protocol.json_values import event_object
from voicespan.protocol.sent_audio import SentAudio

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Where the type and the ids of an audio frame stand: before its payload.
_HEAD = 512
#: Of a session that does not say its format: 24 kHz, 16 bit, mono.
_BYTES_PER_MS = 48.0
_APPEND = "input_audio_buffer.append"
_APPEND_TEXT = f'"{_APPEND}"'
_APPEND_BYTES = _APPEND_TEXT.encode()
_NOWHERE = slice(0, 0)
QUOTE = ord('"')
#: Of texts that are arriving the last so many fragments are kept, minutes of speech, if they are of usual length.
_MOST_FRAGMENTS = 1_000
_LONGEST_FRAGMENT = 2_000
_TRANSCRIPT_DELTAS = frozenset({
    b"response.output_audio_transcript.delta",
    b"response.audio_transcript.delta",
    b"conversation.item.input_audio_transcription.delta",
})  # fmt: skip


class AudioDeltaCounter:
    """The audio of one response, as far as it has arrived."""

    __slots__ = (
        "_around",
        "_counted",
        "_head",
        "_head_at",
        "_mark",
        "_padding",
        "_tail",
        "_tail_at",
        "alike",
        "ids",
        "ids_at",
        "size",
        "type_ends",
    )

    def __init__(self) -> None:
        # What is the same in all its frames, and where: what precedes the payload up to the end of the
        # type, from the id of the item (or of the response) on, and what follows it. Slices, because
        # comparing one costs half of what `startswith` does.
        self._head = self.ids = self._tail = b"?"
        self._head_at = self.ids_at = self._tail_at = _NOWHERE
        #: Of the frame that was looked through. Most are of one size: then it is enough that the ids stand where
        #: they stood, and a type that is as long before them.
        self.size = self.type_ends = 0
        #: So many frames of that size have come since.
        self.alike = 0
        # How many bytes are not payload, and how much of that is padding.
        self._around = self._padding = 0
        self._counted = 0
        self._mark = b""

    @property
    def decoded(self) -> int:
        """Bytes of audio."""
        # Where all are of one size, all are padded alike.
        return self._counted + self.alike * ((self.size - self._around) * 3 // 4 - self._padding)

    def arrives_under(self, marked_by: str) -> None:
        """From now on its frames carry this id, of an item or of the response itself."""
        self._mark, self.ids = b'"%s"' % marked_by.encode(), b"?"

    def goes_on_in(self, frame: bytes) -> bool:
        """Count the payload, if it stands where it stood in the frame that was looked through."""
        if (
            frame[self._head_at] == self._head
            and frame[self.ids_at] == self.ids
            and frame[self._tail_at] == self._tail
        ):
            end = len(frame) - (self._around - self.ids_at.stop)
            self._counted += (len(frame) - self._around) * 3 // 4 - frame.count(b"=", end - 2, end)
            return True
        return False

    def find(self, frame: bytes) -> bool:
        """Find the payload, and remember where it stood: in the next frame it mostly stands there again."""
        kind = frame.find(b'audio.delta"', 0, _HEAD)
        mark = frame.find(self._mark, 0, _HEAD)
        key = frame.find(b'"delta"', 0, _HEAD)
        if kind < 0 or mark < 0 or key < 0:
            return False
        start = frame.find(b'"', key + 7) + 1
        end = frame.find(b'"', start)
        if start == 0 or end < 0 or len(frame) - end > _HEAD or frame[key + 7 : start - 1].strip() != b":":
            return False
        self._counted, self.alike = self.decoded, 0
        self._padding = frame.count(b"=", max(start, end - 2), end)
        self._counted += (end - start) * 3 // 4 - self._padding
        self._head_at, self.type_ends = slice(0, kind + 12), kind + 11
        # Where the id follows the payload it is in the tail.
        self.ids_at = slice(min(mark, start - 1), start)
        self._tail_at = slice(end - len(frame), None)
        self._head, self.ids, self._tail = frame[self._head_at], frame[self.ids_at], frame[self._tail_at]
        self._around = start + len(frame) - end
        self.size = len(frame)
        return True


class FrameScanner:
    """Looks at the server's frames of one connection before they are parsed."""

    def __init__(self, unwanted: frozenset[bytes]) -> None:
        """`unwanted`: the types that tell nothing."""
        self._unwanted = unwanted
        #: The answer whose audio is arriving.
        self.speech: AudioDeltaCounter | None = None
        self._transcript_mark = b""
        # Frames with fragments of texts, unread: one frame has the whole text in the end.
        self._words = _fragments()

    def transcript_begins(self, item_id: str) -> None:
        """The first fragment of this item's transcript has arrived; the others tell nothing more."""
        self._transcript_mark = b'"%s"' % item_id.encode()

    def transcript_is_over(self, item_or_response_id: str) -> None:
        """All fragments that carry this id, of an item or of a response, tell nothing more."""
        if self._words:
            mark = b'"%s"' % item_or_response_id.encode()
            self._words = _fragments(frame for frame in self._words if frame.find(mark, 0, _HEAD) < 0)

    def take_words(self, response_id: str | None = None) -> list[dict[str, Any]]:
        """The fragments of texts that are not over, of one response or of all; from then on they are forgotten."""
        words, self._words = self._words, _fragments()
        if response_id is not None:
            mark = b'"%s"' % response_id.encode()
            self._words = _fragments(frame for frame in words if frame.find(mark, 0, _HEAD) < 0)
            words = _fragments(frame for frame in words if frame.find(mark, 0, _HEAD) >= 0)
        return [event for frame in words if (event := event_object(frame)) is not None]

    def is_redundant(self, frame: Any) -> bool:
        """Whether a frame says nothing new; audio of an answer is counted."""
        if type(frame) is not bytes:
            return False
        speech = self.speech
        if speech is not None and (speech.goes_on_in(frame) or speech.find(frame)):
            return True
        # Only where the type is the first key is it certainly the frame's own.
        if frame.startswith(b'{"type":"'):
            kind = frame[9 : frame.find(b'"', 9, _HEAD)]
        elif frame.startswith(b'{"type": "'):
            kind = frame[10 : frame.find(b'"', 10, _HEAD)]
        else:
            return False
        if kind not in _TRANSCRIPT_DELTAS:
            return kind in self._unwanted
        if len(frame) <= _LONGEST_FRAGMENT:
            self._words.append(frame)
        # Of a text that is arriving only the first fragment matters: it is when it began.
        return self._transcript_mark != b"" and frame.find(self._transcript_mark, 0, _HEAD) >= 0


def _fragments(frames: Iterable[bytes] = ()) -> deque[bytes]:
    return deque(frames, maxlen=_MOST_FRAGMENTS)


class Microphone(SentAudio):
    """The audio in a client's frames, which are of one size mostly."""

    __slots__ = ("_length", "_size")

    def __init__(self) -> None:
        super().__init__(_BYTES_PER_MS)
        # Of the last frame (its JSON, or its base64), and how many bytes of audio it has.
        self._length = self._size = 0

    def skips(self, frame: Any, at: int) -> bool:
        """Whether a frame is audio and nothing else; it is counted then."""
        kind = type(frame)
        if kind is str:
            if frame.find(_APPEND_TEXT, 0, 80) < 0:
                return False
        elif kind is bytes:
            if frame.find(_APPEND_BYTES, 0, 80) < 0:
                return False
        else:
            given, frame = _in_object(frame)
            if given != _APPEND:
                return False
            if not isinstance(frame, (str, bytes)):
                return True
        if len(frame) != self._length:
            self._length, self._size = len(frame), _decoded_size(frame)
        self.add(self._size, at)
        return True


def _in_object(frame: Any) -> tuple[Any, Any]:
    if isinstance(frame, dict):
        return frame.get("type"), frame.get("audio")
    return getattr(frame, "type", None), getattr(frame, "audio", None)


def _decoded_size(frame: Any) -> int:
    """Bytes in base64, or in the base64 of a frame's JSON."""
    quote, key, padding = ('"', '"audio"', "=") if isinstance(frame, str) else (b'"', b'"audio"', b"=")
    audio = frame.partition(key)[2].split(quote, 2)[1:2] if quote in frame else [frame]
    return len(audio[0]) * 3 // 4 - int(audio[0].count(padding, -2)) if audio else 0
