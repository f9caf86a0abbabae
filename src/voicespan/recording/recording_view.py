"""The part of a recorder that only reads: its state, its file, and when each side could be heard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.timeline import FOREVER
from voicespan.recording.timeline.track import MS

if TYPE_CHECKING:
    from pathlib import Path

    from voicespan.recording.audio_queue import AudioQueue
    from voicespan.recording.recording_thread import RecordingThread
    from voicespan.recording.recording_writer import RecordingWriter
    from voicespan.recording.sound import Listener
    from voicespan.recording.timeline.talk import Talk
    from voicespan.runtime.clock import Clock

#: Bytes of audio that are listened to in three milliseconds: of both sides twenty seconds at 24 kHz.
_READ_AT_ONCE = 2_000_000


class RecordingView:
    """The part of a recorder that only reads."""

    source: str
    _clock: Clock
    _off: bool
    _queue: AudioQueue
    _wall_offset: int
    _thread: RecordingThread
    _writer: RecordingWriter

    def first_heard(self, after: float, *, patient: bool = False) -> float | None:
        """When the agent was first heard at `after` or later, in seconds of `time.monotonic()`.

        Heard is what is louder than -60 dBFS. What was already sounding at `after` does not count. Where an answer
        was marked at `after` or before, what was given before the mark does not count instead. Only the last few
        minutes are known.

        Args:
            after: In seconds of `time.monotonic()`.
            patient: The answer may wait: while the writer is behind, return None instead of searching the audio that is
                not laid out yet, which may be seconds of it.

        Returns:
            None when it has not been heard until now.
        """
        now = None if patient and self.is_behind else self._clock.monotonic_ns()
        first = self._writer.first_heard(round(after * NS), now, on_device=self.source == "devices")
        return None if first is None else first / NS

    def first_heard_behind(self, older_ns: int, generated_ns: int, after_ns: int) -> int | None:
        """When an answer was first heard that was received while an older one was played, and waits behind it.

        For who hears a loudspeaker alone: what an application has queued cannot be seen, so it is counted how much of
        the older one was played. One that the application dropped was followed by half a second of quiet, or is known
        to have been cut.

        Args:
            older_ns: When the older one was first heard, in nanoseconds of `time.monotonic_ns()`, as are all times.
            generated_ns: How long that is.
            after_ns: When the answer's first audio was received.

        Returns:
            None when it has not been heard until now, or cannot be told apart from the older one.
        """
        return self._writer.first_heard_behind(older_ns, generated_ns, after_ns, self._clock.monotonic_ns())

    def last_heard(self, before: float | None = None) -> float | None:
        """When the agent was last heard.

        Args:
            before: In seconds of `time.monotonic()`, as is what is returned; by default, and at most, now.

        Returns:
            None when it has not been heard before that.
        """
        now = self._clock.monotonic_ns()
        last = self._writer.last_heard(now if before is None else min(round(before * NS), now), now)
        return None if last is None else last / NS

    def agent_audible_after(self, at_ns: int) -> int | None:
        """When the agent began to be audible at `at_ns` or later: louder than -60 dBFS, after some quiet.

        Times are in nanoseconds of `time.monotonic_ns()`. Known until now; in a process that has more to do than it
        can, only what was laid out by now.

        Returns:
            None where it did not.
        """
        listener = self._listened()
        return None if listener is None else listener.agent.first(at_ns)

    def user_speech_ended_before(self, at_ns: int) -> int | None:
        """When the user last stopped speaking, before `at_ns`; see `agent_audible_after`.

        Returns:
            None where the user had said nothing, or speaks on at `at_ns`.
        """
        listener = self._listened()
        return None if listener is None else listener.user.ended_before(at_ns)

    def user_speech_began_after(self, at_ns: int) -> int | None:
        """When the user first began to speak at `at_ns` or later; see `agent_audible_after`.

        Returns:
            None where the user did not.
        """
        listener = self._listened()
        return None if listener is None else listener.user.began_after(at_ns)

    def user_speech_began_before(self, at_ns: int) -> int | None:
        """When the speech began that the user last began at `at_ns` or earlier; see `agent_audible_after`.

        Returns:
            None where the user had said nothing.
        """
        listener = self._listened()
        return None if listener is None else listener.user.began_before(at_ns)

    def talk(self, *, final: bool = False) -> Talk | None:
        """How both sides shared the call by now.

        Args:
            final: The call is over: what was handed over and is not laid out yet counts as well. By default nothing is
                read but what has been laid out.

        Returns:
            None while there is no audio.
        """
        listener = self._writer.listened(FOREVER if final and not self.is_behind else None)
        return None if listener is None else listener.talk(final=final)

    def _listened(self) -> Listener | None:
        return self._writer.listened(None if self.is_behind else self._clock.monotonic_ns())

    def heard_ms(self, start: float, end: float | None = None) -> float:
        """How much of the agent's audio was heard, from its first sound to its last.

        Args:
            start: From when on, in seconds of `time.monotonic()`.
            end: Until when; by default, and at most, now.
        """
        now = self._clock.monotonic_ns()
        return self._writer.heard(round(start * NS), now if end is None else round(end * NS), now) / MS

    @property
    def status(self) -> str:
        """How it stands.

        `off`, `waiting` for audio, `recording`, `paused`, `closed`, `finished`, `failed` (see `error`), or
        `forked`: in a forked child, while the parent goes on.
        """
        state = self._writer.state
        if self._off or self._writer.over:
            return "off" if self._off else state
        if not self._queue.open:
            return "closed"
        return "paused" if self._queue.paused else state

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to write, and nothing more comes."""
        return self._off or self._writer.over

    @property
    def is_delayed(self) -> bool:
        """Whether its file could not be made at this moment, for want of a descriptor, and is tried again."""
        return self._writer.is_delayed

    @property
    def is_behind(self) -> bool:
        """Whether the process has more to record than it can: what was given waits to be laid out."""
        return self._thread.is_behind

    @property
    def has_much_to_read(self) -> bool:
        """Whether to listen to what was handed over and is not laid out would hold up who asks: for a few milliseconds."""
        held = sum(track.held for track in self._queue.tracks)
        # What needs numpy is loaded with the first audio, by the thread that writes.
        return self.is_behind or held > _READ_AT_ONCE or "voicespan.recording.sound" not in sys.modules

    @property
    def has_audio(self) -> bool:
        """Whether any was given, written by now or not."""
        return self._queue.has_audio

    @property
    def error(self) -> str | None:
        """Why recording failed, in the operating system's words."""
        return self._writer.error

    @property
    def dropped_bytes(self) -> int:
        """Bytes of audio that were given and are not in the file, cuts and pauses aside."""
        return self._writer.dropped

    @property
    def path(self) -> Path | None:
        """Where the file is, or will be; None while that is not known."""
        return self._writer.path

    @property
    def rate(self) -> int:
        """The file's, in Hz; 0 while there is none."""
        return self._writer.rate

    @property
    def seconds(self) -> float:
        """How long the file is by now."""
        return self._writer.frames / self._writer.rate if self._writer.rate else 0.0

    @property
    def final_seconds(self) -> float:
        """How long the file is when it is finished, if nothing more is given: what waits to be written counts."""
        return self._writer.seconds_at_end()

    @property
    def frames_on_disk(self) -> int:
        """How many of its frames whoever opens the file now will surely find."""
        return self._writer.frames_on_disk

    @property
    def started_at(self) -> float:
        """The time of the file's first frame, in seconds of `time.monotonic()`."""
        return self._writer.origin / NS

    @property
    def started_at_wall_ns(self) -> int:
        """The same on the wall clock as it stood then, in nanoseconds since the Unix epoch."""
        return self._writer.origin + self._wall_offset
