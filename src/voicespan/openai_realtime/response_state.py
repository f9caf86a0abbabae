"""What is known of each response of one connection: the state that all other parts share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values
from voicespan.openai_realtime.frames import Microphone
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_realtime.frames import AudioDeltaCounter

#: Of one response so many items (and calls), and so many characters of what was said in them.
MOST_ITEMS = 64
_LONGEST_TEXT = 1_000_000
#: Nanoseconds. Closer than this to its last call the end of a response comes by itself.
_AT_ONCE = 100_000_000


@dataclass(slots=True)
class Response:
    """One response, from its first sign on."""

    in_progress: bool = False
    had_speech: bool = False
    first_audio_at: int | None = None
    #: While it arrives.
    audio: AudioDeltaCounter | None = None
    #: What was said or written, by item, in order.
    texts: dict[str, str] = field(default_factory=dict)
    call_ids: tuple[str, ...] = ()
    #: By item, the bytes of audio that had arrived before its first.
    starts: dict[str, int] = field(default_factory=dict)
    status: str | None = None
    #: So many times the user had begun to speak before it.
    after_speech_starts: int = 0
    #: See `voicespan.protocol.events.GenerationStarted`.
    out_of_band: bool = False
    #: When it asked for the function that is the last of its output; None: it went on. And when that item began.
    called_at: int | None = None
    calling_since: int = 0
    #: When the application first answered one of its calls.
    answered_at: int | None = None
    #: Bytes of audio that `audio` does not count: of its first frame, and all of it when that is over.
    counted: int = 0

    @property
    def decoded(self) -> int:
        """Bytes of its audio, so far."""
        return self.counted + (0 if self.audio is None else self.audio.decoded)

    def end(self) -> None:
        """What it keeps is kept for as long as it can be asked for: minutes, of each answer."""
        self.in_progress = False
        self.counted, self.audio = self.decoded, None

    def calls(self, at: int) -> None:
        """It asks for a function."""
        # An application that runs its functions where it reads sees the next call only after the one before.
        held_up = self.answered_at is not None and self.calling_since >= self.answered_at
        if self.called_at is None or not held_up:
            self.called_at = at

    def ended_at(self, at: int) -> int:
        """When the model was done with an answer whose end was read `at`: that may be after the application's function."""
        if self.called_at is None or self.status != "completed" or at - self.called_at <= _AT_ONCE:
            return at
        return self.called_at

    def ends_with(self, item_id: str) -> bool:
        """Whether nothing was spoken after this item."""
        return item_id == max(self.starts, key=self.starts.__getitem__, default=None)

    @property
    def text(self) -> str | None:
        """All that it says."""
        return " ".join(text for text in self.texts.values() if text) or None

    def add_text(self, item_id: str, text: str) -> None:
        """What an item of it says."""
        self.called_at = None
        if item_id in self.texts or len(self.texts) < MOST_ITEMS:
            room = _LONGEST_TEXT - sum(len(each) for each in self.texts.values())
            self.texts[item_id] = text[: max(room, 0)]


class ResponseStates:
    """All responses of one connection, and which items are theirs."""

    def __init__(self) -> None:
        self.bytes_per_ms = 48.0
        #: After so many milliseconds of silence the server takes the user's turn to be over; None: by something else.
        self.silence_ms: int | None = None
        #: What the user said, in the format that the session has.
        self.microphone = Microphone()
        #: How often the user has begun to speak.
        self.speech_starts = 0
        self._responses: dict[str, Response] = {}
        self._response_of: dict[str, str] = {}

    def begin(self, response_id: str, *, out_of_band: bool = False) -> None:
        """A response was created."""
        put(
            self._responses,
            response_id,
            Response(in_progress=True, out_of_band=out_of_band, after_speech_starts=self.speech_starts),
        )

    def user_spoke_into(self, response: Response) -> bool:
        """Whether the user has begun to speak since the response did."""
        return self.speech_starts > response.after_speech_starts

    def find(self, response_id: str | None) -> Response | None:
        """The response, if it is known."""
        return self._responses.get(response_id or "")

    def get(self, response_id: str) -> Response:
        """The response; a new one where its beginning was not seen."""
        response = self._responses.get(response_id)
        if response is None:
            response = Response(after_speech_starts=self.speech_starts)
            put(self._responses, response_id, response)
        return response

    def generated_ms_of(self, response: Response, item_id: str) -> tuple[int, int] | None:
        """Milliseconds of speech that came before an item of the response, and of the item itself."""
        begins = response.starts.get(item_id)
        if begins is None:
            return None
        ends = min((each for each in response.starts.values() if each > begins), default=response.decoded)
        return self._milliseconds(begins), self._milliseconds(ends - begins)

    def in_progress(self) -> Iterator[tuple[str, Response]]:
        """Every response that is not over, with its id."""
        return ((each, response) for each, response in self._responses.items() if response.in_progress)

    def that_calls(self, call_id: str) -> Response | None:
        """The response that asked for this function, if it is known."""
        return next((each for each in reversed(self._responses.values()) if call_id in each.call_ids), None)

    def is_beside(self, response: Response, at: int) -> bool:
        """Whether a response is out of band, and an answer sounds at that time, as far as is known."""
        return response.out_of_band and any(
            each.first_audio_at is not None
            and not each.out_of_band
            and (each.in_progress or each.first_audio_at + (self.generated_ms(each) or 0) * 1_000_000 > at)
            for each in self._responses.values()
        )

    def add_item(self, item_id: str, response_id: str) -> None:
        """The item is part of the response."""
        put(self._response_of, item_id, response_id)

    def of_item(self, item_id: str | None) -> str | None:
        """The id of the item's response, if it is known."""
        return self._response_of.get(item_id or "")

    def last_item(self, response_id: str | None) -> str | None:
        """The id of the response's last item."""
        return next((item for item, of in reversed(self._response_of.items()) if of == response_id), None)

    def id_in(self, event: dict[str, Any], item_id: str) -> str:
        """The id of the response that an event on one of its items belongs to."""
        response_id = values.name(event.get("response_id")) or self._response_of.get(item_id, "")
        if item_id and response_id and item_id not in self._response_of:
            put(self._response_of, item_id, response_id)
        return response_id

    def generated_ms(self, response: Response | None) -> int | None:
        """Milliseconds of speech that arrived for the response so far."""
        decoded = 0 if response is None else response.decoded
        return self._milliseconds(decoded) if decoded else None

    def _milliseconds(self, decoded: int) -> int:
        return round(decoded / self.bytes_per_ms)
