"""A caller who comes into a LiveKit room: a participant with a microphone, who hears what the agent says."""

from __future__ import annotations

import array
import asyncio
import math
import time

import numpy as np
from livekit import api, rtc

KEY, SECRET = "voicespan", "a-secret-of-the-tests-that-is-long-enough"
RATE = 24_000
_FRAME = RATE // 50


class Caller:
    """One who speaks when told to, and is quiet in between."""

    def __init__(self, url: str, room: str, agent: str) -> None:
        self._url, self._name = url, room
        grants = api.VideoGrants(room_join=True, room=room)
        configuration = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name=agent)])
        token = api.AccessToken(KEY, SECRET).with_identity("caller-7").with_grants(grants)
        self._token = token.with_room_config(configuration).to_jwt()
        self._room = rtc.Room()
        self._room.on("track_subscribed", self._subscribed)
        self._microphone = rtc.AudioSource(RATE, 1, queue_size_ms=100)
        self._to_say: list[bytes] = []
        self._heard: list[np.ndarray] = []
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self):
        await self._room.connect(self._url, self._token)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._microphone)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        self._tasks.append(asyncio.create_task(self._speak()))
        return self

    async def leave(self) -> None:
        """Hang up."""
        await self._room.disconnect()
        for task in self._tasks:
            task.cancel()

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        # The server would keep the room, and with it the job, for 20 s.
        async with api.LiveKitAPI(self._url, KEY, SECRET) as server:
            await server.room.delete_room(api.DeleteRoomRequest(room=self._name))

    def say(self, seconds: float) -> None:
        """Make a sound for so long."""
        samples = [int(9000 * math.sin(i * 0.14)) for i in range(int(seconds * RATE))]
        voice = array.array("h", samples).tobytes()
        self._to_say += [voice[at : at + 2 * _FRAME] for at in range(0, len(voice), 2 * _FRAME)]

    async def hears_the_agent(self, seconds: float) -> None:
        """Wait until the agent has been heard for so long, and is still heard."""
        await self._until(lambda: self.loud[-5:].any() and self.loud.sum() >= seconds * 100)

    async def hears_nothing_for(self, seconds: float) -> None:
        """Wait until the agent has said something, and is silent for so long."""
        await self._until(lambda: self.loud.any() and not self.loud[-int(seconds * 100) :].any())

    async def is_answered(self) -> None:
        """Wait until the agent is there, and listens."""
        await self._until(lambda: bool(self._heard))

    @property
    def track(self) -> tuple[np.ndarray, int]:
        """All that was heard, silence included."""
        return np.concatenate(self._heard or [np.zeros(0, np.float32)]), RATE

    @property
    def loud(self) -> np.ndarray:
        """Of each 10 ms, whether the agent was heard."""
        samples, _ = self.track
        step = RATE // 100
        return np.abs(samples[: len(samples) // step * step].reshape(-1, step)).max(axis=1) > 0.01

    async def _until(self, condition, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError
            await asyncio.sleep(0.05)

    def _subscribed(self, track: rtc.RemoteTrack, *_: object) -> None:
        self._tasks.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: rtc.RemoteTrack) -> None:
        async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            self._heard.append(np.frombuffer(event.frame.data, np.int16).astype(np.float32) / 32_768)

    async def _speak(self) -> None:
        silence = bytes(2 * _FRAME)
        while True:
            samples = self._to_say.pop(0) if self._to_say else silence
            await self._microphone.capture_frame(rtc.AudioFrame(samples, RATE, 1, len(samples) // 2))
