"""What OpenAI Realtime's frames sound like; see `voicespan.recording.wire_source`.

frame                                                     what it does to the estimate
`input_audio_buffer.append`, sent                         the user's audio
`response.output_audio.delta`                             the agent's
`conversation.item.truncate`, `.truncated`                cuts what its `audio_end_ms` says
`output_audio_buffer.cleared`                             cuts there
`response.done`, cancelled since the user spoke           cuts where the user began to speak
`session.created`, `.updated`                             say the formats
"""

from __future__ import annotations

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


class WireAudio(WireAudioSource):
    """The sound of one connection."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        # None: in a format that is not known here, so it is not decoded.
        self._input_kind: Kind | None = _PCM
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
        if self._input_kind is not None:
            self.place_user(timeline, paused, decode_base64(audio), at, self._input_kind)

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

    def _session(self, _timeline: Timeline, _: bool, event: dict[str, Any], _at: int) -> None:
        self._update(_timeline, _, event, _at)
        session = _members(event.get("session"))
        output = _members(_members(session.get("audio")).get("output"))
        self._output_kind = _kind(output.get("format", session.get("output_audio_format")), self._output_kind)

    def _update(self, _timeline: Timeline, _: bool, event: dict[str, Any], _at: int) -> None:
        # Of a client's own update only this much: the server answers in the old format until it has read it.
        session = _members(event.get("session"))
        given = _members(_members(session.get("audio")).get("input"))
        self._input_kind = _kind(given.get("format", session.get("input_audio_format")), self._input_kind)

    _READERS: ClassVar[dict[str, Callable[[WireAudio, Timeline, bool, dict[str, Any], int], None]]] = {
        "session.created": _session,
        "session.updated": _session,
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
    return {"type": _UPDATE, "session": said}


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
