"""The session object, as the GA protocol has it, and what a client may change in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from voicespan.testing._speech import Format, TurnDetection
from voicespan.testing.openai_realtime.rejected import Rejected, required

# A far moment instead of one computed from the clock: every run of a test sees the same frames.
_EXPIRES_AT = 4_102_444_800

# What the vendor fills in where a client says less.
_SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_TURN_DETECTIONS = {"server_vad": _SERVER_VAD, "semantic_vad": _SEMANTIC_VAD}
_TRANSCRIPTION = {"model": None, "language": None, "prompt": None}

_PCM = {"type": "audio/pcm", "rate": 24000}

_FIELDS = frozenset({
    "type", "model", "output_modalities", "instructions", "tools", "tool_choice", "parallel_tool_calls",
    "max_output_tokens", "tracing", "truncation", "prompt", "reasoning", "audio", "include",
})  # fmt: skip


#: By the name that GA has for them.
FORMATS = {
    "audio/pcm": Format("pcm16", 48, b"\0"),
    "audio/pcmu": Format("g711_ulaw", 8, b"\xff"),
    "audio/pcma": Format("g711_alaw", 8, b"\xd5"),
}


class Session:
    """One connection's session.

    Attributes:
        fields: The session object, in the order in which the vendor sends its fields.
        transcribes_only: Whether it is a transcription session, which has no responses.
    """

    def __init__(self, session_id: str, *, model: str, transcribes_only: bool) -> None:
        self.transcribes_only = transcribes_only
        audio_input = {
            "format": dict(_PCM),
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": dict(_SERVER_VAD),
        }
        if transcribes_only:
            self.fields: dict[str, Any] = {
                "type": "transcription",
                "object": "realtime.transcription_session",
                "id": session_id,
                "expires_at": _EXPIRES_AT,
                "audio": {"input": audio_input},
                "include": None,
            }
            return
        self.fields = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "You are a helpful voice assistant.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "expires_at": _EXPIRES_AT,
            "audio": {
                "input": audio_input,
                "output": {"format": dict(_PCM), "voice": "alloy", "speed": 1.0},
            },
            "include": None,
        }

    @property
    def snapshot(self) -> dict[str, Any]:
        """The session object as it is now, for an event."""
        return copy.deepcopy(self.fields)

    @property
    def instructions(self) -> str:
        """The instructions to the model."""
        return self.fields.get("instructions") or ""

    @property
    def input_format(self) -> Format:
        """How the user's audio comes."""
        return FORMATS[self.fields["audio"]["input"]["format"]["type"]]

    @property
    def output_format(self) -> Format:
        """How answers are spoken."""
        return FORMATS[self.fields["audio"]["output"]["format"]["type"]]

    @property
    def transcription(self) -> dict[str, Any] | None:
        """How the user's speech is transcribed; None for not at all."""
        found: dict[str, Any] | None = self.fields["audio"]["input"]["transcription"]
        return found

    @property
    def turn_detection(self) -> TurnDetection | None:
        """The turn detection; None for push-to-talk."""
        found = self.fields["audio"]["input"]["turn_detection"]
        if found is None:
            return None
        # A model decides about the user's turns under `semantic_vad`; here its silence does.
        return TurnDetection(
            threshold=found.get("threshold", 0.5),
            prefix_padding_ms=found.get("prefix_padding_ms", 300),
            silence_duration_ms=found.get("silence_duration_ms", 500),
            create_response=found["create_response"],
            interrupt_response=found["interrupt_response"],
        )

    def update(self, changes: Mapping[str, Any]) -> None:
        """Merge what a client sent in `session.update`.

        Raises:
            Rejected: A field is missing, unknown or has a value that is not supported. Nothing is
                changed then.
        """
        kind = required(changes, "type", str, within="session")
        if kind != self.fields["type"]:
            raise Rejected("invalid_value", f"this is a {self.fields['type']} session", "session.type")
        for name in changes:
            if name not in _FIELDS:
                raise Rejected("unknown_parameter", f"there is no 'session.{name}'", f"session.{name}")
        modalities(changes, within="session")
        if "instructions" in changes:
            required(changes, "instructions", str, within="session")
        merged = self.snapshot
        _merge(merged, changes)
        _check_audio(merged["audio"], self.fields["audio"])
        _complete(merged["audio"]["input"])
        self.fields = merged


def modalities(fields: Mapping[str, Any], *, within: str) -> list[str] | None:
    """The `output_modalities` of a session or a response, if given; exactly one modality.

    Raises:
        Rejected: They are not supported.
    """
    if "output_modalities" not in fields:
        return None
    given: list[str] = fields["output_modalities"]
    if given not in (["audio"], ["text"]):
        param = f"{within}.output_modalities"
        raise Rejected("invalid_value", f"'{param}' has to be ['audio'] or ['text']", param)
    return given


def _merge(fields: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        present = fields.get(name)
        if isinstance(present, dict) and isinstance(value, Mapping) and _alike(present, value):
            _merge(present, value)
        else:
            fields[name] = copy.deepcopy(value)


def _alike(present: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether both are of one type: server and semantic turn detection share no settings."""
    return bool(value.get("type", present.get("type")) == present.get("type"))


def _check_audio(audio: Any, before: Mapping[str, Any]) -> None:
    if not isinstance(audio, Mapping) or audio.keys() != before.keys():
        raise Rejected("invalid_type", f"'session.audio' has {' and '.join(before)}", "session.audio")
    for name, side in audio.items():
        encoding = side.get("format") if isinstance(side, Mapping) else None
        if not isinstance(encoding, Mapping) or str(encoding.get("type")) not in FORMATS:
            param = f"session.audio.{name}.format"
            raise Rejected("invalid_value", f"the types of '{param}' are {', '.join(FORMATS)}", param)


def _complete(audio_input: dict[str, Any]) -> None:
    detection = audio_input["turn_detection"]
    if detection is not None:
        defaults = (
            _TURN_DETECTIONS.get(str(detection.get("type"))) if isinstance(detection, Mapping) else None
        )
        if defaults is None:
            param = "session.audio.input.turn_detection.type"
            raise Rejected("invalid_value", f"'{param}' has to be server_vad or semantic_vad", param)
        for name, value in detection.items():
            if isinstance(defaults.get(name), float | int) and not isinstance(value, float | int):
                param = f"session.audio.input.turn_detection.{name}"
                raise Rejected("invalid_type", f"'{param}' has to be a number or a truth value", param)
        audio_input["turn_detection"] = {**defaults, **detection}
    if audio_input["transcription"] is not None:
        if not isinstance(audio_input["transcription"], Mapping):
            param = "session.audio.input.transcription"
            raise Rejected("invalid_type", f"'{param}' has to be an object", param)
        audio_input["transcription"] = {**_TRANSCRIPTION, **audio_input["transcription"]}
