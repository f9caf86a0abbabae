"""How servers that speak almost the same protocol differ: the beta's names, xAI's omissions.

A conversation speaks GA; a dialect changes each event on its way out and each client frame on its way
in. What a dialect does not name stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from voicespan.testing.openai_realtime.rejected import Rejected
from voicespan.testing.openai_realtime.session import FORMATS

Event = dict[str, Any]

#: `ga`: OpenAI and Azure today. `beta`: the names of the beta API, as `client.beta.realtime` and older
#: gateways expect them. `xai`: GA, with a response's `usage` beside it and `status_details` a bare string.
DialectName = Literal["ga", "beta", "xai"]


class Dialect:
    """GA: every event as it is."""

    #: The event after which `rate_limits.updated` comes.
    rate_limits_after = "response.done"

    def outgoing(self, event: Event) -> Iterable[Event]:
        """What is sent for an event of the conversation."""
        yield event

    def incoming(self, event: Event) -> Event:
        """What a client's frame is to the conversation."""
        return event


class XAI(Dialect):
    """xAI's server, as it was recorded."""

    def outgoing(self, event: Event) -> Iterable[Event]:
        """Move `usage` out of a finished response and say nothing about its status."""
        if event["type"] == "response.done":
            response = {**event["response"], "status_details": "unimplemented", "usage": {}}
            event = {**event, "response": response, "usage": event["response"]["usage"]}
        yield event


_BETA_TYPES = {
    "conversation.item.added": "conversation.item.created",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
}
_BETA_PARTS = {"output_audio": "audio", "output_text": "text"}
_GA_FORMATS = {encoding.name: ga for ga, encoding in FORMATS.items()}

# Where the beta's flat session fields are in GA.
_BETA_SESSION = {
    "turn_detection": ("audio", "input", "turn_detection"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "input_audio_format": ("audio", "input", "format"),
    "output_audio_format": ("audio", "output", "format"),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
}


class Beta(Dialect):
    """The beta API."""

    rate_limits_after = "response.created"

    def outgoing(self, event: Event) -> Iterable[Event]:
        """Rename the event and flatten what is in it; the beta has no `conversation.item.done`."""
        if event["type"] == "conversation.item.done":
            return
        event = {**event, "type": _BETA_TYPES.get(event["type"], event["type"])}
        if "session" in event:
            event["session"] = _beta_session(event["session"])
        if "response" in event:
            event["response"] = _beta_response(event["response"])
        if "item" in event:
            event["item"] = _beta_item(event["item"])
        yield event

    def incoming(self, event: Event) -> Event:
        """Put a client's flat session, response and content fields where GA has them."""
        kind = event.get("type")
        if kind == "session.update" and isinstance(event.get("session"), Mapping):
            return {**event, "session": {"type": "realtime", **_ga_fields(event["session"])}}
        if kind == "response.create" and isinstance(event.get("response"), Mapping):
            return {**event, "response": _ga_fields(event["response"])}
        return event


DIALECTS: dict[DialectName, Dialect] = {"ga": Dialect(), "beta": Beta(), "xai": XAI()}


def _beta_session(session: Mapping[str, Any]) -> Event:
    audio_input, audio_output = session["audio"]["input"], session["audio"].get("output", {})
    return {
        "id": session["id"],
        "object": "realtime.session",
        "model": session.get("model"),
        "expires_at": session["expires_at"],
        "modalities": _beta_modalities(session.get("output_modalities", ["text"])),
        "instructions": session.get("instructions"),
        "voice": audio_output.get("voice"),
        "turn_detection": audio_input["turn_detection"],
        "input_audio_format": FORMATS[audio_input["format"]["type"]].name,
        "output_audio_format": FORMATS[audio_output.get("format", audio_input["format"])["type"]].name,
        "input_audio_transcription": audio_input["transcription"],
        "tool_choice": session.get("tool_choice"),
        "temperature": 0.8,
        "max_response_output_tokens": session.get("max_output_tokens"),
        "client_secret": None,
        "tools": session.get("tools", []),
    }


def _beta_response(response: Mapping[str, Any]) -> Event:
    output = response["audio"]["output"]
    return {
        "object": "realtime.response",
        "id": response["id"],
        "status": response["status"],
        "status_details": response["status_details"],
        "output": [_beta_item(item) for item in response["output"]],
        "conversation_id": response["conversation_id"],
        "modalities": _beta_modalities(response["output_modalities"]),
        "voice": output["voice"],
        "output_audio_format": FORMATS[output["format"]["type"]].name,
        "temperature": 0.8,
        "max_output_tokens": response["max_output_tokens"],
        "usage": response["usage"],
        "metadata": response["metadata"],
    }


def _beta_item(item: Mapping[str, Any]) -> Event:
    changed = {"id": item["id"], "object": "realtime.item", **{k: v for k, v in item.items() if k != "id"}}
    if "content" in changed:
        changed["content"] = [
            {**part, "type": _BETA_PARTS.get(part.get("type"), part.get("type"))}
            for part in changed["content"]
        ]
    return changed


def _beta_modalities(modalities: list[str]) -> list[str]:
    return ["audio", "text"] if "audio" in modalities else ["text"]


def _ga_fields(fields: Mapping[str, Any]) -> Event:
    changed: Event = {}
    if "audio" in fields:
        raise Rejected(
            "unknown_parameter", "the beta's audio settings are flat: there is no 'audio'", "audio"
        )
    for name, value in fields.items():
        if name == "temperature":
            continue
        place = changed
        *path, last = _BETA_SESSION.get(name, (name,))
        for step in path:
            place = place.setdefault(step, {})
        place[last] = _ga_value(name, value)
    return changed


def _ga_value(name: str, value: Any) -> Any:
    if name == "modalities" and isinstance(value, list):
        return ["audio"] if "audio" in value else ["text"]
    if name.endswith("_audio_format") and isinstance(value, str):
        return {"type": _GA_FORMATS.get(value, value)}
    return copy.deepcopy(value)
