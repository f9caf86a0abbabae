"""What OpenAI Realtime's frames sound like; see `voicespan.recording.wire_source`.

frame                                                     what it does to the estimate
`input_audio_buffer.append`, sent                         the user's audio
`response.output_audio.delta`                             the agent's
`conversation.item.truncate`, `.truncated`                cuts what its `audio_end_ms` says
`output_audio_buffer.cleared`                             cuts there
`response.done`, cancelled since the user spoke           cuts where the user began to speak
`session.created`, `.updated`                             say the formats
`session.update`, sent                                    asks for one of the user's audio
`error`                                                   refuses it

What the user says is decoded when the server has agreed to its format: it waits for the answer to a `session.update`.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.protocol.json_values import event_object, json_text, name
from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.wire_source import WireAudioSource, decode_base64

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.timeline.timeline import Timeline
    from voicespan.recording.wire_source import Kind

#: Where a frame's type stands.
_HEAD = 512
_APPEND = "input_audio_buffer.append"
_TRUNCATE = "conversation.item.truncate"
_UPDATE = "session.update"
#: GA and beta names; PCM has its rate beside it.
_G711 = {
    "audio/pcmu": (8_000, "g711_ulaw"),
    "g711_ulaw": (8_000, "g711_ulaw"),
    "audio/pcma": (8_000, "g711_alaw"),
    "g711_alaw": (8_000, "g711_alaw"),
}
_PCM = (24_000, "pcm16")
#: Nanoseconds that the user's audio waits for the server to agree; who reads nothing never sees that it does.
_PATIENCE = 4_000_000_000
_MOST_ASKED = 100


class WireAudio(WireAudioSource):
    """The sound of one connection."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        # None: in a format that is not known here, so it is not decoded.
        self._input_kind: Kind | None = _PCM
        #: The updates that were not answered: their event ids, and what each asks for.
        self._asked: deque[tuple[object, Kind | None]] = deque(maxlen=_MOST_ASKED)
        #: What was said meanwhile: the audio, when it was sent, whether in a pause.
        self._said: list[tuple[str, int, bool]] = []
        self._output_kind: Kind | None = _PCM
        self._speech_started: int | None = None

    def received(self, frame: object, at: int) -> None:
        """The server sent `frame`."""
        if not isinstance(frame, (bytes, str)):
            return
        head = frame[:_HEAD] if isinstance(frame, str) else frame[:_HEAD].decode("ascii", "replace")
        # Of the frames without audio most are fragments of texts.
        if '.delta"' not in head or 'audio.delta"' in head:
            self.recorder.put_undecoded(AGENT, self._read, frame, at)

    def sent(self, frame: object, at: int) -> None:
        """The application sent `frame`: its JSON, a dict that it may change at once, or the SDK's model."""
        if isinstance(frame, (bytes, str)):
            self.recorder.put_undecoded(USER, self._read, frame, at)
            return
        kind = _member(frame, "type")
        if kind == _APPEND and isinstance(audio := _member(frame, "audio"), (str, bytes)):
            self.recorder.put_undecoded(USER, self._speak, audio, at)
        elif kind == _TRUNCATE:
            cut = {field: _member(frame, field) for field in ("type", "item_id", "audio_end_ms")}
            self.recorder.put_undecoded(AGENT, self._read, json_text(cut), at)
        elif kind == _UPDATE:
            self.recorder.put_undecoded(USER, self._read, json_text(_input_format(frame)), at)

    # By the writer.

    def _speak(self, timeline: Timeline, paused: bool, audio: str, at: int) -> None:
        if self._is_open:
            if not self._said:
                # Nothing that lies later is written before it has its place.
                timeline.user.wait_for(at)
                timeline.unplaced = partial(self._give_up, timeline)
            self._said.append((audio, at, paused))
            if at - self._said[0][1] > _PATIENCE:
                self._give_up(timeline)
        elif self._input_kind is not None:
            self.place_user(timeline, paused, decode_base64(audio), at, self._input_kind)

    @property
    def _is_open(self) -> bool:
        """Whether the client asked for another format, and was not answered."""
        return any(kind != self._input_kind for _, kind in self._asked)

    def _give_up(self, timeline: Timeline) -> None:
        """No answer comes: the client's own word has to do."""
        self._input_kind = self._asked[-1][1]
        self._asked.clear()
        self._agree(timeline)

    def _agree(self, timeline: Timeline) -> None:
        """An update was answered; once the format is settled, what was said meanwhile can be decoded."""
        if self._is_open or not self._said:
            return
        said, self._said = self._said, []
        timeline.user.wait_for(None)
        timeline.unplaced = None
        for audio, at, paused in said:
            self._speak(timeline, paused, audio, at)

    def _read(self, timeline: Timeline, paused: bool, frame: bytes | str, at: int) -> None:
        event = event_object(frame)
        read = None if event is None else self._READERS.get(name(event.get("type")) or "")
        if event is not None and read is not None:
            read(self, timeline, paused, event, at)

    def _append(self, timeline: Timeline, paused: bool, event: dict[str, Any], at: int) -> None:
        self._speak(timeline, paused, event.get("audio", ""), at)

    def _delta(self, timeline: Timeline, paused: bool, event: dict[str, Any], at: int) -> None:
        self.begin_answer(timeline, str(event.get("item_id")), at)
        if self._output_kind is not None:
            self.place_agent(timeline, paused, decode_base64(event.get("delta")), at, self._output_kind)

    def _truncated(self, timeline: Timeline, _: bool, event: dict[str, Any], at: int) -> None:
        played = event.get("audio_end_ms")
        if isinstance(played, (int, float)) and 0 <= played < 1 << 32:
            self.truncate(timeline, at, str(event.get("item_id")), round(played))

    def _cleared(self, timeline: Timeline, _: bool, _event: dict[str, Any], at: int) -> None:
        self.stop(timeline, at)

    def _started_to_speak(self, _timeline: Timeline, _: bool, _event: dict[str, Any], at: int) -> None:
        self._speech_started = at

    def _done(self, timeline: Timeline, _: bool, event: dict[str, Any], _at: int) -> None:
        response = _members(event.get("response"))
        reason = _members(response.get("status_details")).get("reason")
        started, self._speech_started = self._speech_started, None
        if response.get("status") == "cancelled" and reason == "turn_detected" and started is not None:
            self.stop(timeline, started)

    def _created(self, _timeline: Timeline, _: bool, event: dict[str, Any], _at: int) -> None:
        session = _members(event.get("session"))
        output = _members(_members(session.get("audio")).get("output"))
        self._input_kind = _input_kind(event, self._input_kind)
        self._output_kind = _kind(output.get("format", session.get("output_audio_format")), self._output_kind)

    def _updated(self, timeline: Timeline, paused: bool, event: dict[str, Any], at: int) -> None:
        if self._asked:
            self._asked.popleft()
        self._created(timeline, paused, event, at)
        self._agree(timeline)

    def _update(self, _timeline: Timeline, _: bool, event: dict[str, Any], _at: int) -> None:
        # Of the output's format the server's word alone: it answers in the old one until it has read this.
        before = self._asked[-1][1] if self._asked else self._input_kind
        self._asked.append((event.get("event_id"), _input_kind(event, before)))

    def _refused(self, timeline: Timeline, _: bool, event: dict[str, Any], _at: int) -> None:
        error = _members(event.get("error"))
        named, about = error.get("event_id"), error.get("param")
        for asked in self._asked:
            # One without an id is recognised by what it is about.
            is_it = named == asked[0] if named is not None else str(about).startswith("session")
            if is_it:
                self._asked.remove(asked)
                self._agree(timeline)
                return

    _READERS: ClassVar[dict[str, Callable[[WireAudio, Timeline, bool, dict[str, Any], int], None]]] = {
        "session.created": _created,
        "session.updated": _updated,
        "error": _refused,
        _UPDATE: _update,
        _APPEND: _append,
        "response.output_audio.delta": _delta,
        "response.audio.delta": _delta,
        _TRUNCATE: _truncated,
        "conversation.item.truncated": _truncated,
        "output_audio_buffer.cleared": _cleared,
        "input_audio_buffer.speech_started": _started_to_speak,
        "response.done": _done,
    }


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _member(frame: Any, field: str) -> Any:
    return frame.get(field) if isinstance(frame, dict) else getattr(frame, field, None)


def _input_format(frame: Any) -> dict[str, Any]:
    """What a client's update says of the user's audio, from a dict or the SDK's model."""
    session = _member(frame, "session")
    form = _member(_member(_member(session, "audio"), "input"), "format")
    older = _member(session, "input_audio_format")
    found = {field: value for field in ("type", "rate") if (value := _member(form, field)) is not None}
    said: dict[str, Any] = {"input_audio_format": older} if isinstance(older, str) else {}
    if found:
        said["audio"] = {"input": {"format": found}}
    named = _member(frame, "event_id")
    return {"type": _UPDATE, "session": said, **({"event_id": named} if isinstance(named, str) else {})}


def _input_kind(event: dict[str, Any], before: Kind | None) -> Kind | None:
    """What an event with a session says of the user's audio; see `_kind`."""
    session = _members(event.get("session"))
    given = _members(_members(session.get("audio")).get("input"))
    return _kind(given.get("format", session.get("input_audio_format")), before)


def _kind(form: Any, before: Kind | None) -> Kind | None:
    """Rate and encoding of a session's audio format; `before`, where it does not say."""
    named, rate = (form.get("type"), form.get("rate")) if isinstance(form, dict) else (form, None)
    if not isinstance(named, str):
        return before
    if named not in {"audio/pcm", "pcm16"}:
        return _G711.get(named)
    if isinstance(rate, int) and 4_000 <= rate <= 192_000:  # noqa: PLR2004  what can be resampled
        return rate, _PCM[1]
    return _PCM
