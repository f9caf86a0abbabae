"""The recorder: what an application hands its audio to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.codec.formats import CHANNELS
from voicespan.recording.cut import Cut
from voicespan.recording.recording_thread import SHARED
from voicespan.recording.recording_view import RecordingView
from voicespan.recording.recording_writer import RecordingWriter
from voicespan.recording.repair import repair
from voicespan.recording.sources import TAPS_ATTRIBUTE
from voicespan.recording.timeline.segment import NS
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guard, guarded, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.recording.audio_queue import AudioQueue
    from voicespan.recording.recording_thread import RecordingThread
    from voicespan.recording.sources import AudioSource
    from voicespan.runtime.clock import Clock


_logger = logging.getLogger("voicespan")
_MS = 1_000_000
#: No monotonic clock has run for 30 years; `time.time()` has.
_MOST_SECONDS = 1e9


class Recorder(RecordingView):
    """Records both sides of one conversation into a stereo file: left the user, right the agent.

    What is given is copied and laid out later, by one thread for all recorders; so every method but
    `finish`, `first_heard`, `last_heard` and `heard_ms` may be called from any thread, an audio callback
    included. None of them waits or raises. The rules of the layout are in `timeline.py`.

    Audio is mono: PCM16 (little-endian int16) or G.711, in any object that holds bytes (`bytes`,
    `bytearray`, `memoryview`, an int16 array). A sample may be split over two calls. Rate and encoding may
    change from call to call.

    The file is FLAC while the call runs. Its rate is the faster side's among 8, 12, 16, 24 and 48 kHz,
    decided when the first block is written, half a second after the first audio; see `expect_rate`. It
    ends with the last audio, and a kill costs it one second at most: see `repair`.

    Args:
        folder: Where the file is made, with the first audio; a function is asked then. None: nothing is
            recorded.
        name: Of the file, without its suffix.
        started_at: The time of the file's first frame, in seconds of `time.monotonic()`; by default now.
        clock: Where time comes from.
        writer: Who writes; by default the process's own.

    Attributes:
        source: Who reports the audio: `app`, `devices` or `wire`.
        sources: Who reports the user's and the agent's side, where it is not the application. Of such a
            side the application's own calls are ignored, so that nothing is recorded twice.
    """

    channels = CHANNELS

    def __init__(
        self,
        folder: str | Path | Callable[[], Path | None] | None,
        *,
        name: str = "conversation",
        started_at: float | None = None,
        clock: Clock = SYSTEM,
        writer: RecordingThread | None = None,
    ) -> None:
        now = clock.monotonic_ns()
        origin = now if started_at is None else round(started_at * NS)
        self.source = "app"
        self.sources: list[AudioSource | None] = [None, None]
        self._clock = clock
        self._thread = writer or SHARED
        self._off = folder is None
        self._writer = RecordingWriter(
            folder if callable(folder) else Path(folder or ""), f"{name}.flac", origin, clock
        )
        self._wall_offset = clock.time_ns() - now
        self._queue = self._writer.queue
        self._user, self._agent = self._queue.tracks
        if self._off:
            self._queue.close()
        else:
            with guard():  # without a thread, `finish` writes it all
                self._thread.add(self._writer)

    def __del__(self, guard: type[guard] = guard) -> None:
        # One that is dropped without a word is finished by the writer all the same. The guard is bound here: when the
        # interpreter ends, the module's names go before its objects.
        with guard():
            queue: AudioQueue | None = getattr(self, "_queue", None)
            if queue is not None:
                queue.close()

    def user(
        self, pcm: bytes, rate: int | None = None, encoding: str = "pcm16", at: float | None = None
    ) -> None:
        """Give audio of the user, as the microphone gave it. Ignored while a device reports it.

        Args:
            pcm: Mono samples.
            rate: In Hz; by default 24,000 for PCM16, 8,000 for G.711.
            encoding: `pcm16`, `g711_ulaw` or `g711_alaw`.
            at: When its first sample was captured, in seconds of `time.monotonic()`, at most 0.4 s ago, or 5 s
                where a stream goes on that was late, as when an event loop was held; by default now, or right
                after what was given before.
        """
        try:
            # Where it goes on, nobody else reports it: that would have ended it.
            if (at is None or not self._user.put_next(pcm, rate, encoding, at)) and self.sources[
                USER
            ] is None:
                self._queue.put(USER, pcm, rate, encoding, at)
        except Exception as error:  # noqa: BLE001  the guard written out: a decorator costs a sixth of it
            report(error)

    def agent(
        self, pcm: bytes, rate: int | None = None, encoding: str = "pcm16", at: float | None = None
    ) -> None:
        """Give audio of the agent, as it is passed to the speaker. Ignored while a device reports it.

        It may come faster than it is heard: it is laid out at the speed at which it is heard, and what was
        not heard is removed by `cut_agent`.

        Args:
            pcm: Mono samples.
            rate: In Hz; by default 24,000 for PCM16, 8,000 for G.711.
            encoding: `pcm16`, `g711_ulaw` or `g711_alaw`.
            at: When its first sample is heard, in seconds of `time.monotonic()`; by default now, or right
                after what was given before.
        """
        try:
            if (at is None or not self._agent.put_next(pcm, rate, encoding, at)) and self.sources[
                AGENT
            ] is None:
                self._queue.put(AGENT, pcm, rate, encoding, at)
        except Exception as error:  # noqa: BLE001  the guard written out, as in `user`
            report(error)

    @guarded
    def cut_agent(self, at: float | None = None, played_ms: float | None = None) -> Cut:
        """Playback was stopped: remove from the recording what had not been heard.

        Ignored while a device reports the agent: it is known then when it fell silent.

        Args:
            at: When, in seconds of `time.monotonic()`, at most 0.4 s ago; by default now.
            played_ms: How much of the newest answer was played, where the player counts it; this decides
                then. See `mark_answer`.

        Returns:
            What was heard and what was not, for whoever asks.
        """
        if self.sources[AGENT] is not None:
            return Cut(self._writer)
        played = None if played_ms is None else round(played_ms * _MS)
        return self.cut(_nanoseconds(at), played)

    @guarded
    def hold_agent(self, at: float | None = None, played_ms: float | None = None) -> None:
        """Playback is paused, and may go on: what has not been heard waits for `release_agent`, or for a cut.

        Ignored while a device reports the agent, as is `release_agent`. Again without a release between: it was paused
        there.

        Args:
            at: As that of `cut_agent`.
            played_ms: As that of `cut_agent`.
        """
        if self.sources[AGENT] is None:
            played = None if played_ms is None else round(played_ms * _MS)
            hold = self._writer.timeline.agent.hold
            self._queue.event(AGENT, hold, self._clock.monotonic_ns(), _nanoseconds(at), played)

    @guarded
    def release_agent(self, at: float | None = None, skipped_ms: float = 0) -> None:
        """Playback goes on.

        Args:
            at: When, in seconds of `time.monotonic()`, at most 0.4 s ago; by default now.
            skipped_ms: So much of what waited is not played: what lay in a buffer that the pause has emptied.
        """
        if self.sources[AGENT] is None:
            begins_at = _nanoseconds(at) or self._clock.monotonic_ns()
            release = self._writer.timeline.agent.release
            self._queue.event(AGENT, release, begins_at, round(skipped_ms * _MS))

    @guarded
    def mark_answer(self) -> None:
        """What is passed to the speaker from here on is another answer."""
        self._queue.event(AGENT, self._writer.timeline.agent.mark_answer, self._clock.monotonic_ns())

    @guarded
    def pause(self) -> None:
        """Record silence until `resume`: a card number is being said.

        Nothing that is given or heard in between is kept, on either side.
        """
        self._queue.pause(self._writer.timeline.pause, self._clock.monotonic_ns())

    @guarded
    def resume(self) -> None:
        """End a pause."""
        self._queue.resume(self._writer.timeline.resume, self._clock.monotonic_ns())

    @guarded
    def expect_rate(self, rate: int) -> None:
        """A side will speak at `rate` Hz: let the file have no less.

        The user often speaks first. Where the agent's rate is known before its first audio comes, saying
        so keeps the agent from being resampled down to the microphone's.
        """
        self._writer.least_rate = max(self._writer.least_rate, rate)

    def bind(self, stream: object) -> None:
        """Record this stream of a sound device, and no other recorder's conversation with it.

        For a process that holds several conversations at a time, or plays more than the agent: with
        VOICESPAN_RECORD_SOURCE=devices the streams of a process belong to its only open conversation,
        and where there are several to none, unless they are bound like this. A stream that was
        bound stays so until it is bound anew.

        Args:
            stream: Of `sounddevice` or of PyAudio, blocking or with a callback.
        """
        with guard():
            taps = getattr(stream, TAPS_ATTRIBUTE, None)
            if taps is None:
                _logger.warning(
                    "voicespan does not record this stream: it is none of sounddevice's or PyAudio's, was opened"
                    " before they were instrumented, or VOICESPAN_RECORD_SOURCE is not devices"
                )
            for tap in taps or ():
                tap.bound = self

    # What other sources than the application use.

    def report(
        self, side: int, given_at: int, pcm: bytes, kind: tuple[int, str], at: int | None = None
    ) -> None:
        """Give audio of a side that the caller reports; see `Track.place`. Times in nanoseconds."""
        self._queue.audio(side, given_at, pcm, *kind, at)

    def user_until_now(self, pcm: bytes, rate: int, seconds: float, encoding: str = "pcm16") -> None:
        """Give audio of the user that has just ended, of a stream that may stall, and come in a burst then.

        Args:
            pcm: Samples.
            rate: In Hz.
            seconds: How long that is.
            encoding: As that of `user`.
        """
        self._until_now(USER, pcm, seconds, (rate, encoding))

    def agent_until_now(self, pcm: bytes, rate: int, seconds: float, encoding: str = "pcm16") -> None:
        """Give audio of the agent that has just been played to its end; as `user_until_now`."""
        self._until_now(AGENT, pcm, seconds, (rate, encoding))

    def _until_now(self, side: int, pcm: bytes, seconds: float, kind: tuple[int, str]) -> None:
        if self.sources[side] is None:
            # The first of all is often what begins the recording.
            began_at = max(self._clock.monotonic_ns() - round(seconds * NS), self._writer.origin)
            # Without a time of its own: in a burst that would be another piece's.
            self._queue.audio(side, began_at, pcm, *kind, None)

    def put_undecoded(self, side: int, place: Callable[..., None], payload: bytes | str, *more: Any) -> None:
        """Let the writer decode the payload: it calls `place(timeline, paused, payload, *more)`.

        While the recording is paused the audio must be placed as silence. See `keep_one_order`.
        """
        self._queue.undecoded(side, place, self._writer.timeline, payload, more)

    @guarded
    def count_dropped(self, size: int) -> None:
        """So many bytes were heard that the source of the audio could not keep."""
        self._queue.dropped += size

    def keep_one_order(self) -> None:
        """What is queued of one side is about the other, too: let the writer keep the order between them."""
        self._queue.keep_one_order()

    def await_user(self, since: int | None) -> None:
        """What the user says from `since` on may be given seconds later: let nothing be written over its place.

        None: nothing more comes.
        """
        self._queue.event(USER, self._writer.timeline.user.wait_for, since)

    def mark_gap(self, at: int, played: int | None = None) -> None:
        """The playback had a gap before `at`, or ended there: what follows continues nothing, and is no cut of an answer.

        `played`: as that of `cut`.
        """
        self._queue.event(AGENT, self._writer.cut, self._clock.monotonic_ns(), at, played, [])

    def cut(self, at: int | None, played: int | None = None) -> Cut:
        """See `cut_agent`, whoever reports the agent; in nanoseconds."""
        cut = Cut(self._writer)
        self._queue.event(AGENT, self._writer.cut, self._clock.monotonic_ns(), at, played, cut.result)
        return cut

    def close(self) -> None:
        """Take no more audio. What was given is kept, to its end: see `cut_agent`."""
        self._queue.close()

    def finish(self) -> Path | None:
        """Close, and write what is left. Takes a while: not for an event loop.

        Returns:
            The file; None when nothing was recorded. It is whole, also when recording had failed on the way.
        """
        self.close()
        writer = self._writer
        if not self._off:
            writer.run(self._clock.monotonic_ns())
        if writer.state == "failed" and writer.rate and writer.path is not None and writer.path.exists():
            return writer.path if repair(writer.path) else None
        return writer.path if writer.state == "finished" and writer.frames else None


def _nanoseconds(at: float | None) -> int | None:
    # False for what is not a number, too.
    return int(at * NS) if at is not None and -_MOST_SECONDS < at < _MOST_SECONDS else None
