"""Every attribute name that voicespan writes, with the source it comes from.

Three vocabularies meet on one span. The OpenTelemetry GenAI names are for everybody; they follow the repository
open-telemetry/semantic-conventions-genai as of 2026-09 (the installed `opentelemetry-semantic-conventions` has none of
the per-modality usage names yet, so they stand here). LangSmith's own names decide how it shows a run; what both have
a name for has OpenTelemetry's on the span and LangSmith's on its LangSmith copy (`COPIED`). A content that neither
knows, a frame for example, has OpenInference's.
"""

from __future__ import annotations

# LangSmith: docs.langchain.com, "Trace with OpenTelemetry". Its ingest drops every attribute it does
# not know, so what a reader needs is mirrored under METADATA.
SPAN_KIND = "langsmith.span.kind"
SPAN_TAGS = "langsmith.span.tags"
METADATA = "langsmith.metadata."
USAGE_METADATA = "langsmith.usage_metadata"
ATTACHMENTS = "langsmith.attachments"
# On its copy alone; OpenTelemetry has deprecated them.
PROMPT = "gen_ai.prompt"
COMPLETION = "gen_ai.completion"

# LangSmith, "Voice tracing fundamentals": on the root alone.
MODALITY = METADATA + "ls_modality"
INTEGRATION = METADATA + "ls_integration"
INTEGRATION_VERSION = METADATA + "ls_integration_version"
# On every run, so that token, cost and thread filters find it.
THREAD_ID = METADATA + "thread_id"
EVENT_TYPE = METADATA + "event_type"
RAW_EVENT = METADATA + "raw_event"
# On stt and tts: LangSmith makes the chat of a trace of its llm runs, and these repeat what the others say.
MESSAGE_VIEW_EXCLUDE = METADATA + "ls_message_view_exclude"
# What became of the recording, and where it begins: the player aligns it with the spans by this.
AUDIO_ATTACH_STATUS = METADATA + "ls_audio_attach_status"
AUDIO_STARTED_AT = METADATA + "ls_audio_recording_started_at"
AUDIO_START_OFFSET_MS = METADATA + "ls_audio_recording_start_offset_ms"

# OpenTelemetry GenAI. `gen_ai.system` is the deprecated predecessor of `gen_ai.provider.name`; LangSmith
# documents only the old one, so both are written.
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
SYSTEM = "gen_ai.system"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
OUTPUT_TYPE = "gen_ai.output.type"
CONVERSATION_ID = "gen_ai.conversation.id"
#: The operations of a conversation, a generation and a function call.
INVOKE_AGENT, CHAT, EXECUTE_TOOL = "invoke_agent", "chat", "execute_tool"
# Which session of the service's a span belongs to; and when one began and ended, as events of the root. Drafts: pull
# request 394 of the repository that the names follow.
REALTIME_SESSION_ID = "gen_ai.realtime_session.id"
SESSION_STARTED = "gen_ai.client.realtime_session.started"
SESSION_ENDED = "gen_ai.client.realtime_session.ended"
USER_SPEECH = "user_speech"
#: The operation of a generation of such a session: with VOICESPAN_SEMCONV=draft.
REALTIME_INFERENCE = "realtime_inference"
# What a generation is given besides messages: with VOICESPAN_REQUEST.
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST = frozenset({SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS, REQUEST_MAX_TOKENS})
# Messages with parts, as JSON: what a model was given, and what it answered.
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
# `gen_ai.tool.name` alone makes a LangSmith run a tool, so these stand on tool spans only.
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
USAGE = "gen_ai.usage."
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

# OpenInference: what is neither a message nor a function's, as JSON.
INPUT_VALUE = "input.value"
OUTPUT_VALUE = "output.value"
# And the tokens of sound that were not cached: Phoenix prices them apart, and does not read OpenTelemetry's names.
PRICED_AUDIO = {
    "input": "llm.token_count.prompt_details.audio",
    "output": "llm.token_count.completion_details.audio",
}

#: What LangSmith's copy of a span has in the place of what the span has.
COPIED = {
    INPUT_MESSAGES: PROMPT,
    TOOL_ARGUMENTS: PROMPT,
    INPUT_VALUE: PROMPT,
    OUTPUT_MESSAGES: COMPLETION,
    TOOL_RESULT: COMPLETION,
    OUTPUT_VALUE: COMPLETION,
}

# OpenTelemetry: exceptions on spans.
EXCEPTION_EVENT = "exception"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"

# Where the recording will be: a file of a folder that conversations are kept in, or what the application says.
RECORDING_PATH = "voicespan.recording.path"

#: The instrumentation scope of every span of ours.
SCOPE = "voicespan"
#: The resource attribute by which a Collector knows what belongs to LangSmith.
DELIVERY_RESOURCE = f"{SCOPE}.delivery"

# OpenTelemetry GenAI metrics, of the same revision.
OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105  no password
TOOL_DURATION = "gen_ai.execute_tool.duration"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105  as above
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105  as above
# Our own metrics; what they measure has no name there.
GAP = f"{SCOPE}.response.gap"
BARGE_IN = f"{SCOPE}.barge_in.duration"
CALL_DURATION = f"{SCOPE}.call.duration"
CALL_COST = f"{SCOPE}.call.cost"
INTERRUPTIONS = f"{SCOPE}.interruptions"
ANSWERS = f"{SCOPE}.answers"
BLOCKED = f"{SCOPE}.loop.blocked"
WAITING = f"{SCOPE}.spool.waiting"
DROPPED = f"{SCOPE}.dropped"
BASIS = f"{SCOPE}.basis"
OUTCOME = f"{SCOPE}.outcome"
