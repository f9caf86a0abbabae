"""What came out of the loudspeaker, as far as the recorder knows. All times: monotonic nanoseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.recording.cut import Cut
    from voicespan.recording.timeline.talk import Talk
    from voicespan.tracing.conversation_recording import ConversationRecorder

#: By who reports the audio.
_BASES = {"devices": "device", "app": "app", "wire": "wire"}


class Playback:
    """Asks the recorder of a conversation. Without one nothing is known."""

    def __init__(self) -> None:
        #: Set once there is one that hears what is played.
        self.recorder: ConversationRecorder | None = None
        #: Set instead where what was heard is only estimated, from the wire.
        self.estimate: ConversationRecorder | None = None

    @property
    def is_listening(self) -> bool:
        """Whether something may still become known."""
        recorder = self._recorder
        if recorder is None:
            return False
        # What was handed over is written half a second later, and much later in a process that has no time.
        return recorder.status == "recording" or (recorder.status == "waiting" and recorder.has_audio)

    @property
    def is_behind(self) -> bool:
        """Whether the recorder has more to do than it can: what it is asked now takes long to be found."""
        return self._recorder is not None and self._recorder.is_behind

    @property
    def hears(self) -> bool:
        """Whether it is known what was heard."""
        return self.recorder is not None

    @property
    def sees_devices(self) -> bool:
        """Whether the sound device itself is listened to, so that silence is silence."""
        return self.recorder is not None and self.recorder.source == "devices"

    @property
    def source(self) -> str | None:
        """Who reports the audio; None: nobody."""
        return None if self._recorder is None else self._recorder.source

    @property
    def basis(self) -> str:
        """What a figure of the recording rests on: `device`, `app`, or `wire`, which is an estimate."""
        return _BASES.get(self.source or "", "app")

    @property
    def _recorder(self) -> ConversationRecorder | None:
        return self.estimate if self.recorder is None else self.recorder

    def talk(self, *, final: bool) -> Talk | None:
        """How both sides shared the call; None: unknown. `final`: it is over, and all of it counts."""
        recorder = self._recorder
        if recorder is None or not recorder.has_audio or (final and recorder.has_much_to_read):
            # A part of a call is not told as the whole of it, and who hangs up is not kept waiting.
            return None
        return recorder.talk(final=final)

    def user_speech_ended_before(self, at: int) -> int | None:
        """When the user last stopped speaking before `at`; None: unknown, or the user spoke on."""
        return None if self._recorder is None else self._recorder.user_speech_ended_before(at)

    def place_of_user(self, since: int, until: int) -> tuple[float, float] | None:
        """Where in the recording the user spoke, between these two: its seconds. None: unknown, or nowhere."""
        began, ended = self.user_speech_began_after(since), self.user_speech_ended_before(until)
        if self._recorder is None or began is None or ended is None or ended <= began:
            return None
        origin = self._recorder.started_at
        return round(began / 1e9 - origin, 3), round(ended / 1e9 - origin, 3)

    def user_speech_began_after(self, at: int) -> int | None:
        """When the user first began to speak at `at` or later; None: unknown, or never."""
        return None if self._recorder is None else self._recorder.user_speech_began_after(at)

    def user_speech_began_before(self, at: int) -> int | None:
        """When the user began what was said last, of what was begun by `at`; None: unknown, or nothing."""
        return None if self._recorder is None else self._recorder.user_speech_began_before(at)

    def answer_began(self) -> None:
        """The first audio of an answer has been received."""
        if self.recorder is not None:
            self.recorder.mark_answer()

    def next_cut(self) -> tuple[int, Cut] | None:
        """The oldest cut of the playback that was not taken yet, with its time."""
        cuts = self.recorder.cuts if self.recorder is not None else ()
        if not cuts or (at := cuts[0].at) is None:
            return None
        return round(at * 1e9), cuts[0]

    def take_cut(self) -> None:
        """The oldest cut has been looked at."""
        if self.recorder is not None:
            self.recorder.cuts.popleft()

    def first(self, since: int | None, *, patient: bool = False) -> int | None:
        """When the first sound of what was received from `since` on was heard.

        `patient`: it is asked again, so in a busy process None will do.
        """
        return _first(self.recorder, since, patient=patient)

    def first_behind(self, older_at: int, generated_ns: int, since: int) -> int | None:
        """When what was received from `since` on was heard, behind an older answer that was first heard `older_at`."""
        recorder = self.recorder
        return None if recorder is None else recorder.first_heard_behind(older_at, generated_ns, since)

    def estimated_first(self, since: int | None, *, patient: bool = False) -> int | None:
        """The same where it is only estimated."""
        return _first(self.estimate, since, patient=patient)

    def last(self, until: int | None) -> int | None:
        """When the last sound (before `until`) was heard."""
        return None if self.recorder is None else _nanoseconds(self.recorder.last_heard(_seconds(until)))

    def milliseconds(self, since: int | None, until: int | None) -> int:
        """How much was heard from `since` (None: nothing was) to `until`."""
        if self.recorder is None or since is None:
            return 0
        return round(self.recorder.heard_ms(since / 1e9, _seconds(until)))


def _first(recorder: ConversationRecorder | None, since: int | None, *, patient: bool) -> int | None:
    if recorder is None or since is None:
        return None
    return _nanoseconds(recorder.first_heard(since / 1e9, patient=patient))


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
