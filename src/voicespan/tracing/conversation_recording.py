"""A conversation's recording: whether there is one, and how its file gets beside the root run.

Nothing is recorded unless the application hands over audio (or devices, or the wire, were asked for), the
trace is sampled, content may be captured, the conversation is in the recorded share, and a destination
takes recordings. A conversation that is not recorded gets a recorder that copies nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from voicespan.recording.devices import routing
from voicespan.recording.recorder import Recorder
from voicespan.recording.transcoding_thread import TranscodingThread
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Protocol

    from voicespan.recording.cut import Cut
    from voicespan.recording.recording_thread import RecordingThread
    from voicespan.runtime.clock import Clock
    from voicespan.runtime.settings import Settings

    class PendingCopy(Protocol):
        """A recording that is being copied."""

        def wait(self, timeout: float | None = None) -> bool:
            """Wait until that is over; False: it is not yet."""

    class RecordingTarget(Protocol):
        """What a destination that takes recordings registers with the conversation."""

        #: The directory that it will be kept in when it is complete; None: it is sent.
        kept_in: str | None
        #: Whether it takes the recorder's own file: somebody else encodes it.
        takes_flac: bool

        def recording_folder(self) -> Path | None:
            """Where the recorder may write; None: nowhere. Called by the recorder's threads."""

        def attach(
            self,
            source: bytes | str | Path,
            mime_type: str,
            started_at: float | None = None,
            *,
            recorder: bool = False,
        ) -> PendingCopy:
            """Put a recording beside the root before it goes; `started_at`: seconds since the epoch."""

        def no_recording(self, status: str = "none") -> None:
            """No recording is coming."""

        def expect(self, timeout: float, *, recorder: bool = False, started_at: float | None = None) -> None:
            """Hold the root for a recording, at most `timeout` seconds after its end."""

        def recorded_by(self, recorder: Recorder, *, attached: bool = True) -> None:
            """Learn whom to ask for what is recorded and not written yet, where nothing is waited for any more.

            `attached`: the file will be; otherwise it is to be taken when the recorder has finished it.
            """


MIME_TYPES = {"ogg": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "mp3": "audio/mpeg"}
#: Seconds that the root waits for its recording after the conversation: there is only a tail to encode,
#: but a process that holds hundreds of calls can be far behind.
_LONGEST_TAIL = 6 * 3600.0
_MOST_CUTS = 64

_transcoding_thread: TranscodingThread | None = None
#: Re-entrant: what is made under it may call a finaliser.
_lock = threading.RLock()


class ConversationRecorder(Recorder):
    """The recorder of a conversation, which hears of its cuts."""

    def __init__(self, folder: Any, *, clock: Clock, writer: RecordingThread | None = None) -> None:
        super().__init__(folder, clock=clock, writer=writer)
        #: Cuts that the conversation has not looked at yet.
        self.cuts: deque[Cut] = deque(maxlen=_MOST_CUTS)

    def cut(self, at: int | None, played: int | None = None) -> Cut:
        """See `Recorder.cut`."""
        cut = super().cut(at, played)
        self.cuts.append(cut)
        return cut


class ConversationRecording:
    """The recording of one conversation, from its first audio to the file beside the root."""

    def __init__(self, deliveries: Sequence[RecordingTarget], settings: Settings, clock: Clock) -> None:
        """Begin it. The deliveries hold their root until it is there, or it is known that there is none."""
        self._deliveries = deliveries
        # The folder is made in the background while the conversation opens, and needed half a second later.
        self.recorder = ConversationRecorder(self._deliveries[0].recording_folder, clock=clock)
        encoded_here = not all(delivery.takes_flac for delivery in self._deliveries)
        for delivery in self._deliveries:
            delivery.recorded_by(self.recorder, attached=encoded_here)
            delivery.expect(_LONGEST_TAIL, recorder=True, started_at=self._started_at)
        if not encoded_here:
            return
        try:
            _shared_transcoding_thread().add(self.recorder, settings.recording_format, self._attach)
        except BaseException:
            # Nobody would ever attach it: the roots are not to wait for it.
            self.recorder.close()
            self._attach(None)
            raise

    def close(self) -> None:
        """The conversation is over. The rest is done in the background."""
        self.recorder.close()

    def facts(self) -> dict[str, Any]:
        """What the root says of it: how it stands, from where, what is missing."""
        recorder = self.recorder
        if not recorder.has_audio:
            return {}
        return {
            "recording": recorder.status,
            "recording_source": recorder.source,
            "recording_estimated": True if recorder.source == "wire" else None,
            "recording_seconds": round(recorder.final_seconds, 3) or None,
            "recording_channels": "left: user, right: agent",
            "recording_sample_rate": recorder.rate or None,
            "recording_dropped_bytes": recorder.dropped_bytes or None,
            "recording_error": recorder.error,
        }

    @property
    def _started_at(self) -> float:
        """Seconds since the epoch."""
        return self.recorder.started_at_wall_ns / 1e9

    @guarded
    def _attach(self, path: Path | None) -> None:
        mime_type = None if path is None else MIME_TYPES.get(path.suffix.removeprefix("."))
        # The first one has the file in its folder, which goes when it is delivered: the others copy it before.
        for delivery in reversed(self._deliveries):
            if path is None or mime_type is None:
                delivery.no_recording("none" if self.recorder.error is None else "failed")
            else:
                delivery.attach(path, mime_type, self._started_at, recorder=True)


def open_recording(
    deliveries: Sequence[RecordingTarget], settings: Settings, clock: Clock, trace_id: int
) -> ConversationRecording | None:
    """The recording of the conversation with this trace id; None: it is not recorded."""
    if not deliveries or not is_recorded(trace_id, settings):
        return None
    return ConversationRecording(deliveries, settings, clock)


@guarded
def record_devices(conversation: object, recorder: Recorder) -> None:
    """Record the process's microphone and loudspeaker while no other conversation is open."""
    routing.conversation_opened(conversation, recorder)


@guarded
def leave_devices(conversation: object) -> None:
    """The conversation is over."""
    routing.conversation_closed(conversation)


def is_recorded(trace_id: int, settings: Settings) -> bool:
    """Whether a conversation is in the recorded share: by its trace id, so that everybody decides alike."""
    return settings.keeps_audio and (trace_id & (1 << 56) - 1) < settings.record * (1 << 56)


def no_recorder(clock: Clock) -> Recorder:
    """What a conversation that is not recorded gives its application."""
    return Recorder(None, clock=clock)


def _shared_transcoding_thread() -> TranscodingThread:
    global _transcoding_thread  # noqa: PLW0603  one per process, like the writer
    with _lock:
        if _transcoding_thread is None:
            _transcoding_thread = TranscodingThread()
        return _transcoding_thread
