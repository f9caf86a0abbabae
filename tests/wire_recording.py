"""A recording that is estimated from frames, on a clock that is moved by hand."""

from __future__ import annotations

import json

from voicespan.recording import Recorder
from voicespan.recording.recording_thread import RecordingThread


class WireRecording:
    """A connection whose audio is written to the file when the test lets time pass; `audio`: a provider's `WireAudio`."""

    def __init__(self, clock, folder, audio) -> None:
        self.clock, self.writer = clock, RecordingThread(clock, threaded=False)
        self.recorder = Recorder(folder, clock=clock, writer=self.writer)
        self.audio = audio(self.recorder)

    def wait(self, seconds):
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            self.writer.run_once()
        return self

    def receive(self, kind, **fields):
        frame = json.dumps({"type": kind, "event_id": "e", **fields}).encode()
        self.audio.received(frame, self.clock.monotonic_ns())
        return self
