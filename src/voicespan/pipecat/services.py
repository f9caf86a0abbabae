"""What Pipecat's services call themselves and their models, and whose a processor is.

A class of Pipecat is known by its name here: to look at it, the module that holds it has to be imported, which brings
along what a pipeline may not need.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["stt", "llm", "tts", "input", "output", ""]

#: By the base classes of Pipecat.
_KINDS: dict[str, Kind] = {
    "STTService": "stt",
    "LLMService": "llm",
    "TTSService": "tts",
    "BaseInputTransport": "input",
    "BaseOutputTransport": "output",
}
#: Of what a package of services is called otherwise than its provider.
_PROVIDERS = {
    "google": "gcp.gemini",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "grok": "x_ai",
}


@lru_cache(1_000)
def _kind_of(processor: type) -> Kind:
    for base in processor.__mro__:
        kind = _KINDS.get(base.__name__)
        if kind is not None and base.__module__.startswith("pipecat."):
            return kind
    return ""


@lru_cache(1_000)
def _hears_segments(processor: type) -> bool:
    return any(base.__name__ == "SegmentedSTTService" for base in processor.__mro__)


def kind_of(processor: Any) -> Kind:
    """What a processor is."""
    return _kind_of(type(processor))  # type: ignore[arg-type]  # classes can be hashed


def hears_segments(service: Any) -> bool:
    """Whether a speech-to-text service is given a whole utterance at a time."""
    return _hears_segments(type(service))  # type: ignore[arg-type]  # as above


def model_of(service: Any) -> str | None:
    """The name of the model that a service calls."""
    return _text(getattr(getattr(service, "_settings", None), "model", None)) or _text(
        getattr(service, "_model_name", None)
    )


def voice_of(service: Any) -> str | None:
    """The voice that a text-to-speech service speaks with."""
    return _text(getattr(getattr(service, "_settings", None), "voice", None)) or _text(
        getattr(service, "_voice_id", None)
    )


def language_of(service: Any) -> str | None:
    """The language that a speech-to-text service is told to expect."""
    language = getattr(getattr(service, "_settings", None), "language", None) or getattr(
        service, "_language", None
    )
    return _text(getattr(language, "value", language))


def provider_of(service: Any) -> str | None:
    """Who offers the model: what the package of the service is called."""
    for base in type(service).__mro__:
        parts = base.__module__.split(".")
        if parts[:2] == ["pipecat", "services"] and len(parts) > 3:  # noqa: PLR2004  pipecat.services.NAME.MODULE
            return _PROVIDERS.get(parts[2], parts[2])
    return None


#: Messages of a later call, which is compared with the one before from its end.
_MOST_LATER = 48


def messages_of(context: Any, service: Any, *, first: bool = True) -> list[Any] | None:
    """What a language model is given; None: it is not known. `first`: no call was given any before."""
    get = getattr(context, "get_messages", None)
    messages = get() if callable(get) else getattr(context, "messages", None)
    if not isinstance(messages, list):
        return None
    if not first and len(messages) > _MOST_LATER:
        messages = [messages[0], *messages[1 - _MOST_LATER :]]
    instruction = _text(getattr(getattr(service, "_settings", None), "system_instruction", None))
    return [{"role": "system", "content": instruction}, *messages] if instruction else list(messages)


def _text(value: Any) -> str | None:
    return str.__str__(value) if isinstance(value, str) and value else None
