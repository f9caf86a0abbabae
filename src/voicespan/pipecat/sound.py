"""The sound of a pipeline: what its input transport gives, and what its output transport has written.

A transport writes at the speed at which it is heard, so what an interruption cuts was never written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Interrupted
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from voicespan.instrumentation.framework_session import FrameworkSession
    from voicespan.recording.recorder import Recorder


class PipelineSound:
    """Of one pipeline."""

    def __init__(self, trace: FrameworkSession) -> None:
        """Nothing has been heard yet."""
        self._trace = trace
        self._recorder: Recorder | None = None
        #: Seconds of the answer that have been written; None: the agent is silent.
        self._written: float | None = None
        #: When it began to speak: seconds of the monotonic clock.
        self._began = 0.0

    @property
    def recorder(self) -> Recorder:
        """Where it goes."""
        if self._recorder is None:
            self._recorder = self._trace.conversation.recorder
        return self._recorder

    @guarded
    def listen(self) -> None:
        """The pipeline starts: what is given later of a moment ago is not older than the recording."""
        self.recorder  # noqa: B018  it is made when it is asked for

    @guarded
    def user(self, frame: Any) -> None:
        """The input gave a frame, which has just ended."""
        self.recorder.user_until_now(bytes(_mono(frame)), frame.sample_rate, _seconds(frame))

    def agent(self, frame: Any) -> None:
        """The output has written a frame, and mostly waited for as long as that takes to be heard."""
        seconds, pcm = _seconds(frame), bytes(_mono(frame))
        if self._written == 0.0:
            # The first frame of an answer is not always waited for, but none is heard before the answer begins.
            at = max(self._trace.now() / 1e9 - seconds, self._began)
            self.recorder.agent(pcm, frame.sample_rate, at=at)
        else:
            self.recorder.agent_until_now(pcm, frame.sample_rate, seconds)
        if self._written is not None:
            self._written += seconds

    def agent_began(self) -> None:
        """The agent begins to speak."""
        if self._written is None:
            self._written = 0.0
            self._began = self._trace.now() / 1e9
            self.recorder.mark_answer()

    def agent_stopped(self) -> None:
        """It is silent."""
        self._written = None

    def interrupted(self, generated: tuple[str | None, float]) -> None:
        """The pipeline throws away what has not been written.

        `generated`: the answer that was synthesized last, and how many seconds of it.
        """
        written, self._written = self._written, None
        answer = self._trace.conversation.audible_answer
        if written is None:
            return
        self.recorder.cut_agent()
        if answer is None or self._trace.has_wire:
            # What a model that speaks itself has generated stands in its frames.
            return
        whole = round(generated[1] * 1000) if generated[0] == answer else None
        heard = round(written * 1000)
        self._trace.report(
            Interrupted(self._trace.now(), "interruption", answer, None, "interruption", heard, whole)
        )


def _seconds(frame: Any) -> float:
    return float(len(frame.audio) / 2 / frame.num_channels / frame.sample_rate)


def _mono(frame: Any) -> Any:
    """The first channel of int16 samples, which nearly always has no other."""
    if frame.num_channels == 1:
        return frame.audio
    return memoryview(frame.audio).cast("h")[:: frame.num_channels].tobytes()
