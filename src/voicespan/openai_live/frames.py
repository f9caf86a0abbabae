"""What a look at a frame's bytes shows: most frames are audio, and need not be parsed.

The model's track never ends: ten frames a second, silence included. They say nothing but how far the session's
time line is, and for that their length is enough.
"""

from __future__ import annotations

from typing import Any

#: Where a frame's type stands: before its payload.
_HEAD = 200
_OUTPUT = "session.output_audio.delta"
_INPUT = "session.input_audio.append"
_AUDIO = (b'"session.output_audio.delta"', b'"session.input_audio.append"')
_AUDIO_TEXT = ('"session.output_audio.delta"', '"session.input_audio.append"')
#: What is not payload in such a frame, about.
_AROUND = 60


def audio_size(frame: Any) -> int:
    """Characters of base64 in a frame that carries only audio, of either direction; 0 for every other frame."""
    if type(frame) is bytes:
        if frame.find(_AUDIO[0], 0, _HEAD) >= 0 or frame.find(_AUDIO[1], 0, _HEAD) >= 0:
            return max(len(frame) - _AROUND, 1)
    elif type(frame) is str:
        if frame.find(_AUDIO_TEXT[0], 0, _HEAD) >= 0 or frame.find(_AUDIO_TEXT[1], 0, _HEAD) >= 0:
            return max(len(frame) - _AROUND, 1)
    elif _member(frame, "type") in (_OUTPUT, _INPUT):
        audio = _member(frame, "audio")
        return (len(audio) if isinstance(audio, str) else 0) or 1
    return 0


def is_output_audio(frame: Any) -> bool:
    """Whether it is a piece of the model's track."""
    if type(frame) is bytes:
        return frame.find(_AUDIO[0], 0, _HEAD) >= 0
    return type(frame) is str and frame.find(_AUDIO_TEXT[0], 0, _HEAD) >= 0


def _member(frame: Any, field: str) -> Any:
    return frame.get(field) if isinstance(frame, dict) else getattr(frame, field, None)


def is_of_type(frame: Any, *kinds: str) -> bool:
    """Whether a frame that is text or bytes names one of these types at its head."""
    head = frame[:_HEAD]
    text = head.decode("ascii", "replace") if isinstance(head, bytes) else head
    return any(f'"{kind}"' in text for kind in kinds)
