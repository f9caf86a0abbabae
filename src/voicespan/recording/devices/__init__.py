"""What the microphone captured and the loudspeaker played, without a line in the application.

    callbacks, reads, writes ──► tap, one for each side of a stream ──► the recorder of the conversation
    `seams_*.py`                 `taps.py`, times by `clocks.py`        which one: `routes.py`

Only with VOICESPAN_RECORD_SOURCE=devices. An audio thread of the application copies a block and appends it,
no more: it never waits, and what the application's own callback does and returns stays what it is.
"""

from __future__ import annotations

from voicespan.recording.devices.instrumentors import PyAudioInstrumentor, SoundDeviceInstrumentor

__all__ = ["PyAudioInstrumentor", "SoundDeviceInstrumentor"]
