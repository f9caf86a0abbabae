"""What was heard of a session whose application uses a `RealtimePlaybackTracker`: what the tracker is told was played.

It counts milliseconds of what the model has sent, also where it is given bytes: who plays on a telephone hears back how
much was played, and gives as many zeros (as the SDK's own example of Twilio does). So what was sent is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_agents.received_audio import ReceivedAudio
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicespan.instrumentation.framework_session import FrameworkSession

_MS_PER_SECOND = 1000
#: Bytes of a millisecond, and of a sample: pcm16 has no other rate here.
_PER_MS = {"pcm16": 48, "g711_ulaw": 8, "g711_alaw": 8}
_SAMPLE_BYTES = {"pcm16": 2, "g711_ulaw": 1, "g711_alaw": 1}
_NAMES = {"pcmu": "g711_ulaw", "pcma": "g711_alaw"}


class PlayedAudio:
    """Of one session. Used on the session's event loop, and where the application plays."""

    def __init__(self, trace: FrameworkSession, settings: Mapping[str, Any]) -> None:
        """`settings`: with which the model's session begins."""
        self._trace = trace
        self._user_encoding = _encoding(_input_format(settings))
        self._item: str | None = None
        self._received = ReceivedAudio()

    @guarded
    def listen(self) -> None:
        """The session begins: what is given later of a moment ago is not older than the recording."""
        self._trace.conversation.recorder  # noqa: B018  it is made when it is asked for

    @guarded
    def user(self, pcm: bytes) -> None:
        """The application sends what the microphone has just given."""
        self._trace.conversation.recorder.user_until_now(bytes(pcm), *_kind(len(pcm), self._user_encoding))

    def received(self, item_id: str, pcm: bytes) -> None:
        """The model has sent this, of an answer."""
        self._received.put(item_id, pcm)

    @guarded
    def agent(self, item_id: str, milliseconds: float, audio_format: Any) -> None:
        """The application has just played so much more of an answer."""
        if not milliseconds > 0:
            return
        encoding = _encoding(audio_format)
        size = round(milliseconds * _PER_MS[encoding] / _SAMPLE_BYTES[encoding]) * _SAMPLE_BYTES[encoding]
        pcm = self._received.take(item_id, size)
        recorder = self._trace.conversation.recorder
        if self._received.is_short:
            recorder.count_dropped(size - len(pcm))
        if not pcm:
            return
        if item_id != self._item:
            self._item = item_id
            recorder.mark_answer()
        recorder.agent_until_now(pcm, *_kind(len(pcm), encoding))

    @guarded
    def interrupted(self) -> None:
        """Playback stopped."""
        self._item = None
        self._received.clear()
        self._trace.conversation.recorder.cut_agent()


def _kind(size: int, encoding: str) -> tuple[int, float, str]:
    """What the recorder is told of so many bytes: their rate, how many seconds they last, their encoding."""
    rate = _PER_MS[encoding] // _SAMPLE_BYTES[encoding] * _MS_PER_SECOND
    return rate, size / _PER_MS[encoding] / _MS_PER_SECOND, encoding


def _input_format(settings: Mapping[str, Any]) -> Any:
    audio = settings.get("audio")
    given = audio.get("input") if isinstance(audio, dict) else None
    named = given.get("format") if isinstance(given, dict) else None
    return named or settings.get("input_audio_format")


def _encoding(audio_format: Any) -> str:
    """As the recorder calls it, of whatever the SDK takes: a name, or something with a type."""
    kind = audio_format
    if not isinstance(kind, str):
        kind = kind.get("type") if isinstance(kind, dict) else getattr(kind, "type", None)
    name = str(kind).rpartition("/")[2].lower()
    return _NAMES.get(name, name if name in _PER_MS else "pcm16")
