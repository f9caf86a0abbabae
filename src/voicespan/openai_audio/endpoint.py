"""Who offers the endpoint that a client of the `openai` package calls."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from voicespan.protocol.json_values import safe_str

#: By the end of the host's name, in OpenTelemetry's words.
_PROVIDERS = {
    "openai.com": "openai",
    "azure.com": "azure.ai.openai",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
}


def provider(resource: Any) -> str | None:
    """Of a resource of the client; None: somebody else speaks OpenAI's protocol there."""
    client = getattr(resource, "_client", None)
    host = urlsplit(safe_str(getattr(client, "base_url", ""))).hostname or ""
    if host in ("127.0.0.1", "localhost"):
        return "openai"
    return next((name for end, name in _PROVIDERS.items() if host == end or host.endswith(f".{end}")), None)
