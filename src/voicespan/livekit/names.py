"""What LiveKit's plugins call their models, in the words of OpenTelemetry."""

from __future__ import annotations

from typing import Any

#: Of what a plugin is called otherwise than its provider.
_PROVIDERS = {
    "google": "gcp.gemini",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
_UNKNOWN = ("", "unknown")


def model_of(plugin: Any) -> str | None:
    """The name of the model that an STT, LLM or TTS of LiveKit calls."""
    # A property of the newer ones; the older keep it with their options.
    for holder in (plugin, getattr(plugin, "_opts", None)):
        name = getattr(holder, "model", None)
        if isinstance(name, str) and name not in _UNKNOWN:
            return name
    return None


def voice_of(plugin: Any) -> str | None:
    """The voice that a TTS of LiveKit speaks with."""
    options = getattr(plugin, "_opts", None)
    for name in ("voice", "voice_id", "speaker"):
        voice = getattr(options, name, None)
        voice = getattr(voice, "id", voice)
        if isinstance(voice, str) and voice:
            return voice
    return None


def provider_of(plugin: Any) -> str | None:
    """Who offers the model: what the plugin's package is called."""
    parts = type(plugin).__module__.split(".")
    if parts[:2] == ["livekit", "plugins"] and len(parts) > 2:  # noqa: PLR2004  livekit.plugins.NAME
        return _PROVIDERS.get(parts[2], parts[2])
    return "livekit" if parts[:3] == ["livekit", "agents", "inference"] else None
