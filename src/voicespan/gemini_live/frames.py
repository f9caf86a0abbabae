"""What the SDK hands us, in the shape of the wire.

On the receiving side we see the SDK's parsed messages, on the sending side whatever the application gave.
The protocol reads one shape only: the wire's JSON as plain dicts with camelCase keys, in which audio and
images may stand as the bytes that they are. Converting costs about 2 µs; a message that carries nothing
but audio is recognised before, by its attributes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from voicespan.protocol import json_values
from voicespan.protocol.json_values import encodable, text

_DEEPEST = 24
_LONGEST_NAME = 512
#: Objects whose keys are the application's, not the protocol's.
_FREE_FORM = frozenset(
    {"args", "response", "properties", "parameters", "responseSchema", "metadata", "labels"}
)
#: Where a model of pydantic's keeps which of its fields were given.
_SET = "__pydantic_fields_set__"
_CONTENT = frozenset({"server_content"})
_MODEL_TURN = frozenset({"model_turn"})
_INLINE_DATA = frozenset({"inline_data"})
_USER_WORDS = frozenset({"input_transcription"})
_MODEL_WORDS = frozenset({"output_transcription"})
_TEXT = frozenset({"text"})


def audio_size(message: Any, mime_type: str) -> int:
    """Bytes of audio in one of the SDK's messages that carries nothing else; 0 for every other frame."""
    # What was on the wire is what is set, so no field of tomorrow's SDK is overlooked. `model_fields_set` is a
    # property for the same set, and would cost a third more.
    if getattr(message, _SET, None) != _CONTENT:
        return 0
    content = message.server_content
    if content is None or content.__pydantic_fields_set__ != _MODEL_TURN or content.model_turn is None:
        return 0
    parts = content.model_turn.parts
    if not parts or len(parts) != 1 or parts[0].__pydantic_fields_set__ != _INLINE_DATA:
        return 0
    blob = parts[0].inline_data
    if blob is None or blob.mime_type != mime_type:
        return 0
    return len(blob.data or b"")


def transcript_piece(message: Any) -> tuple[bool, Any] | None:
    """A piece of a transcript, in one of the SDK's messages that carries nothing else: is it the user's, and its text."""
    # As above: what is set is what was on the wire.
    if getattr(message, _SET, None) != _CONTENT:
        return None
    content = message.server_content
    if content is None:
        return None
    given = content.__pydantic_fields_set__
    if given == _USER_WORDS:
        words = content.input_transcription
    elif given == _MODEL_WORDS:
        words = content.output_transcription
    else:
        return None
    if words is None or words.__pydantic_fields_set__ != _TEXT:
        return None
    return given == _USER_WORDS, words.text


def parsed(frame: Any) -> dict[str, Any] | None:
    """The object in a frame: its JSON, the SDK's message, or what is one already. None: there is none."""
    if isinstance(frame, dict):
        return frame
    if isinstance(frame, (bytes, str)):
        message = json_values.parsed(frame)
        return message if isinstance(message, dict) else None
    return _dumped(frame)


def wire(value: Any, depth: int = 0) -> Any:
    """What an application gave to the SDK, as the wire has it: plain values, camelCase keys, bytes as they are."""
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value
    if depth >= _DEEPEST:
        return "[deeper]"
    if isinstance(value, dict):
        return {_camel(str(key)): _member(_camel(str(key)), inner, depth) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [wire(inner, depth + 1) for inner in value]
    dumped = _dumped(value)
    if dumped is not None:
        return dumped
    # A function that is given as a tool, a picture of an imaging library, a session of a tool server.
    return f"[{getattr(value, '__name__', None) or type(value).__name__}]"


def without_bytes(value: Any, depth: int = 0) -> Any:
    """The same with the size of every audio, image and signature in place of its bytes."""
    if depth >= _DEEPEST and isinstance(value, (dict, list)):
        return "[deeper]"
    if isinstance(value, dict):
        if "data" in value and ("mimeType" in value or "mime_type" in value):
            return {key: inner for key, inner in value.items() if key != "data"} | {
                "bytes": size(value["data"])
            }
        return {
            key: f"[{size(inner)} bytes]" if key == "thoughtSignature" else without_bytes(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [without_bytes(inner, depth + 1) for inner in value]
    return f"[{len(value)} bytes]" if isinstance(value, bytes) else value


def without_handle(message: dict[str, Any]) -> dict[str, Any]:
    """A setup, or an update of its resumption, with only a short hash of each handle."""
    kept: dict[str, Any] = {}
    for key, value in message.items():
        if key in ("newHandle", "handle"):
            kept["handleSha256"] = (fingerprint(value) or "")[:12]
        elif key == "sessionResumption" and isinstance(value, dict):
            kept[key] = without_handle(value)
        else:
            kept[key] = value
    return kept


def size(data: Any) -> int:
    """How many bytes there are in a blob: itself, or its base64 (of either alphabet, padded or not)."""
    if isinstance(data, bytes):
        return len(data)
    return len(data.rstrip("=")) * 3 // 4 if isinstance(data, str) else 0


def fingerprint(handle: Any) -> str | None:
    """What is kept of a resumption handle: who has the handle can take up the session."""
    return (
        hashlib.sha256(encodable(handle).encode()).hexdigest() if isinstance(handle, str) and handle else None
    )


def model_name(model: Any) -> str | None:
    """`gemini-2.5-flash` for `models/gemini-2.5-flash` and for Vertex AI's longer paths."""
    return (text(model) or "").rpartition("models/")[2][:_LONGEST_NAME] or None


def _member(key: str, value: Any, depth: int) -> Any:
    # Their keys stay; whatever else they hold must be JSON already.
    return value if key in _FREE_FORM and isinstance(value, (dict, list)) else wire(value, depth + 1)


def _dumped(value: Any) -> dict[str, Any] | None:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        return None
    # By Python's rules bytes are passed on as they are, by JSON's they would be encoded (7 µs for a
    # chunk of audio). Whatever the application made of its message, it gets no warning from here.
    try:
        dumped = dump(by_alias=True, exclude_none=True, warnings=False)
    except (ValueError, TypeError, RecursionError):
        return None
    return dumped if isinstance(dumped, dict) else None


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
