"""Whose words a text of a frame is: decided by its key, by the role beside it, or by the type of what is around it.

The kinds are what VOICESPAN_HIDE names, and two more that no switch names. A text whose kind is not known
(None) may be anybody's: it goes as soon as one kind of text is hidden.
"""

from __future__ import annotations

from typing import Any

USER = "user_text"
AGENT = "agent_text"
ARGUMENTS = "function_arguments"
RESULTS = "function_results"
INSTRUCTIONS = "instructions"
#: The application's program: which tools there are, the labels that it gives to responses. The same in every call,
#: and what a call is understood by.
PROGRAM = "program"
#: Metadata that the application adds, in its own words.
METADATA = "metadata"

#: The role that the `redact` hook gets for each kind.
ROLES = {
    USER: "user",
    AGENT: "assistant",
    ARGUMENTS: "assistant",
    RESULTS: "tool",
    INSTRUCTIONS: "system",
    PROGRAM: "system",
    METADATA: "system",
}
_BY_ROLE = {
    "user": USER,
    "assistant": AGENT,
    "model": AGENT,
    "system": INSTRUCTIONS,
    "developer": INSTRUCTIONS,
    "tool": RESULTS,
}
_BY_PLACE: dict[str, str | None] = {
    "arguments": ARGUMENTS,
    "result": RESULTS,
    "metadata": METADATA,
    # An error's message quotes whatever was wrong.
    "error": None,
}
_BY_TYPE = {
    "function_call": ARGUMENTS,
    "function_call_output": RESULTS,
    "mcp_call": RESULTS,
    "mcp_approval_request": ARGUMENTS,
    "mcp_approval_response": USER,
    "mcp_list_tools": PROGRAM,
    # Keys that were pressed: a PIN, the number of a card.
    "input_audio_buffer.dtmf_event_received": USER,
    "transport.dtmf.received": USER,
    "transport.dtmf.sent": USER,
    "transport.dtmf.send": USER,
}
_BY_EVENT = (
    ("conversation.item.input_audio_transcription.", USER),
    ("response.output_audio_transcript.", AGENT),
    ("response.audio_transcript.", AGENT),
    ("response.output_text.", AGENT),
    ("response.text.", AGENT),
    ("response.content_part.", AGENT),
    ("response.function_call_arguments.", ARGUMENTS),
    ("response.mcp_call_arguments.", ARGUMENTS),
)
_EVENTS = tuple(prefix for prefix, _ in _BY_EVENT)
#: In both spellings of Gemini's: the wire's, and the one that applications write.
_BY_KEY: dict[str, str | None] = {
    **dict.fromkeys(("instructions", "prompt", "systemInstruction", "system_instruction"), INSTRUCTIONS),
    **dict.fromkeys(
        ("arguments", "args", "partialArgs", "functionCall", "functionCalls", "function_call", "function_calls",
         "executableCode", "executable_code"), ARGUMENTS,
    ),
    **dict.fromkeys(
        ("functionResponse", "functionResponses", "function_response", "function_responses", "codeExecutionResult",
         "code_execution_result"), RESULTS,
    ),
    **dict.fromkeys(
        ("modelTurn", "model_turn", "outputTranscription", "output_transcription", "groundingMetadata",
         "grounding_metadata", "urlContextMetadata", "url_context_metadata"), AGENT,
    ),
    **dict.fromkeys(
        ("inputTranscription", "input_transcription", "interimInputTranscription", "realtimeInput", "realtime_input",
         "clientContent", "client_content", "turns"), USER,
    ),
    **dict.fromkeys(("tools", "functionDeclarations", "function_declarations", "metadata"), PROGRAM),
    "error": None,
}  # fmt: skip
#: Objects whose keys are somebody's own as well.
_FREE_FORM = frozenset({"args", "arguments", "variables", "metadata", "labels"})
#: These only where they are a function's: with OpenAI an answer of the model has them as well.
_RESULT = frozenset({"output", "response"})

#: Where a frame holds names and ids instead of somebody's words. Every other text passes the redaction.
_NAMES = frozenset({
    "type", "id", "object", "status", "role", "model", "voice", "name", "code", "reason", "format", "language", "param",
    "mime_type", "mimeType", "modality", "modalities", "output_modalities", "responseModalities", "tool_choice", "truncation",
    "eagerness", "server_label", "include", "purpose", "required", "max_output_tokens", "max_response_output_tokens",
    "input_audio_format", "output_audio_format", "event", "phase", "effort", "timeLeft", "vadSignalType",
    "voiceActivityType", "turnCompleteReason", "languageCode", "voiceName", "behavior", "scheduling",
})  # fmt: skip
#: Some of them hold words: why a person refuses, a key that was pressed, code that the model wrote.
_WORDS = frozenset({(USER, "reason"), (USER, "event"), (ARGUMENTS, "code")})


def of_text(role: str, place: str) -> str | None:
    """The kind of a text that stands by itself."""
    return _BY_PLACE[place] if place in _BY_PLACE else _BY_ROLE.get(role) if place == "transcript" else None


def of_object(members: dict[Any, Any], kind: str | None) -> str | None:
    """The kind of the texts in an object which stands where they are of `kind`."""
    role, named = dict.get(members, "role"), dict.get(members, "type")
    if isinstance(role, str) and kind in (None, USER, AGENT):
        kind = _BY_ROLE.get(str.__str__(role), kind)
    if isinstance(named, str) and kind is None:
        named = str.__str__(named)
        kind = _BY_TYPE.get(named)
        if kind is None and named.startswith(_EVENTS):
            kind = next(of for prefix, of in _BY_EVENT if named.startswith(prefix))
    return kind


def of_member(key: str, value: Any, kind: str | None) -> tuple[str | None, bool]:
    """The kind of the texts under one key of an object whose texts are of `kind`.

    And whether an object there has keys of somebody's own, and no names of the service's inside.
    """
    if key == "output" and isinstance(value, str):
        return RESULTS, False
    kind = _BY_KEY.get(key, kind)
    return kind, key in _FREE_FORM or (key in _RESULT and kind == RESULTS)


def is_key(name: str) -> bool:
    """Whether what stands before a value is the service's name for it, and not somebody's words."""
    return " " not in name and name.isascii()


def is_content(key: str | None, kind: str | None) -> bool:
    """Whether the value under a key is content even when it is a number: it gives away what somebody said or did."""
    return (kind, key) in _WORDS


def is_name(key: str, text: str, kind: str | None) -> bool:
    """Whether a text is a name or an id: by its key, unless it looks otherwise."""
    if not (key in _NAMES or key.endswith(("_id", "Id"))) or (kind, key) in _WORDS:
        return False
    return " " not in text and text.isascii()
