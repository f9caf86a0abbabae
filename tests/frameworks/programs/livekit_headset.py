"""A headset for LiveKit agents: a microphone that plays a script, a loudspeaker that keeps time, and an energy detector.

What LiveKit's console has, without a sound card. Nothing here knows of tracing.
"""

from __future__ import annotations

import array
import asyncio
import math
import time

from livekit import rtc
from livekit.agents import vad
from livekit.agents.voice import io

RATE = 16_000
FRAME = RATE // 50


def voice(seconds: float, rate: int = RATE) -> array.array:
    return array.array("h", [int(9000 * math.sin(i * 0.21)) for i in range(int(seconds * rate))])


class Microphone(io.AudioInput):
    """Gives 20 ms frames in real time: silence, and what is put on."""

    def __init__(self):
        try:
            super().__init__(label="headset")
        except (AttributeError, TypeError):  # the oldest have no labels
            super().__init__()
        self._frames: list = []
        self._next: float | None = None
        self.closed = False

    def say(self, seconds: float) -> None:
        samples = voice(seconds)
        self._frames += [samples[at : at + FRAME] for at in range(0, len(samples) - FRAME + 1, FRAME)]

    async def __anext__(self):
        if self.closed:
            raise StopAsyncIteration
        now = asyncio.get_running_loop().time()
        self._next = now if self._next is None else max(self._next + 0.02, now - 0.2)
        await asyncio.sleep(max(self._next - now, 0))
        samples = self._frames.pop(0) if self._frames else array.array("h", bytes(2 * FRAME))
        return rtc.AudioFrame(samples.tobytes(), RATE, 1, FRAME)


class Loudspeaker(io.AudioOutput):
    """Plays what it is given in real time, counts how much that was, and can pause."""

    def __init__(self):
        try:
            super().__init__(
                label="headset", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=24_000
            )
        except (AttributeError, TypeError):  # the oldest have no labels, and no pauses
            super().__init__(sample_rate=24_000)
        self._given = 0.0
        self._began: float | None = None
        self._paused: float | None = None
        self._flushed = False
        self._timer: asyncio.TimerHandle | None = None
        self.heard: list[tuple[float, bool]] = []
        self.pauses: list[float] = []

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        if self._began is None:
            self._began, self._given, self._flushed = time.monotonic(), 0.0, False
            if self._paused is not None:
                self._paused = self._began
            if hasattr(self, "on_playback_started"):
                self.on_playback_started(created_at=time.time())
        self._given += frame.duration

    def flush(self):
        super().flush()
        self._flushed = self._began is not None
        self._wait_for_the_end()

    def pause(self):
        super().pause()
        if self._paused is None:
            self._paused = time.monotonic()
        self._wait_for_the_end()

    def resume(self):
        super().resume()
        paused, self._paused = self._paused, None
        if paused is not None and self._began is not None:
            self.pauses.append(time.monotonic() - paused)
            self._began += self.pauses[-1]
        self._wait_for_the_end()

    def clear_buffer(self):
        if self._began is not None:
            self._over(True)

    def _wait_for_the_end(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._began is not None and self._flushed and self._paused is None:
            left = self._began + self._given - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left, 0), self._over, False)

    def _over(self, interrupted):
        began, self._began = self._began, None
        self._flushed = False
        self._wait_for_the_end()
        until = time.monotonic() if self._paused is None else self._paused
        position = min(until - began, self._given) if interrupted else self._given
        self.heard.append((position, interrupted))
        self.on_playback_finished(playback_position=position, interrupted=interrupted)


class EnergyDetector(vad.VAD):
    """Speech is what is loud."""

    def __init__(self):
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.02))

    def stream(self):
        return _EnergyStream(self)


class _EnergyStream(vad.VADStream):
    async def _main_task(self):
        speech, silence, speaking, frames, count = 0.0, 0.0, False, [], 0
        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                continue
            count += frame.samples_per_channel
            loud = max(frame.data, default=0) > 500
            speech = speech + frame.duration if loud else (speech if speaking else 0.0)
            silence = 0.0 if loud else silence + frame.duration
            frames.append(frame)
            if not speaking:
                frames = frames[-10:]
            self._event_ch.send_nowait(self._event("inference_done", count, speech, silence, [frame], loud))
            if not speaking and speech >= 0.06:
                speaking = True
                self._event_ch.send_nowait(
                    self._event("start_of_speech", count, speech, silence, frames, True)
                )
            elif speaking and silence >= 0.2:
                speaking = False
                self._event_ch.send_nowait(
                    self._event("end_of_speech", count, speech, silence, frames, False)
                )
                speech, frames = 0.0, []

    @staticmethod
    def _event(kind, count, speech, silence, frames, speaking):  # noqa: PLR0917
        return vad.VADEvent(
            type=vad.VADEventType(kind),
            samples_index=count,
            timestamp=count / RATE,
            speech_duration=speech,
            silence_duration=silence,
            frames=list(frames),
            probability=float(speaking),
            speaking=speaking,
            raw_accumulated_silence=silence,
            raw_accumulated_speech=speech,
        )
