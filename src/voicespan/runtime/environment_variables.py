"""The variables of voicespan's own, for OpenTelemetry's tools: `opentelemetry_environment_variables`.

Read in `voicespan.runtime.settings` and `voicespan.delivery.destination.destination`; `LANGSMITH_*` and `OTEL_*` keep their meaning.
"""

from __future__ import annotations

# Whether, where to.
#: `1` switches tracing off.
VOICESPAN_DISABLED = "VOICESPAN_DISABLED"
#: The traces URL of an OpenTelemetry Collector, which has the key: `http://collector:4318/v1/traces`.
VOICESPAN_ENDPOINT = "VOICESPAN_ENDPOINT"
#: `1` lets conversations, and keys, be sent over plain HTTP anywhere.
VOICESPAN_ALLOW_HTTP = "VOICESPAN_ALLOW_HTTP"
#: Sockets that speak a provider's protocol elsewhere, as `host/path=provider`, separated by commas; the providers
#: are `openai-realtime`, `google-genai-live` and `openai-live`. `off`: only the clients' own are traced.
VOICESPAN_SOCKETS = "VOICESPAN_SOCKETS"

# What a trace holds.
#: Which events become spans: `essential`, `standard` (default) or `all`.
VOICESPAN_EVENTS = "VOICESPAN_EVENTS"
#: `1` keeps each frame whole beside what was made of it.
VOICESPAN_RAW_EVENTS = "VOICESPAN_RAW_EVENTS"
#: `1` puts the session's instructions, tools and limit of tokens on each generation.
VOICESPAN_REQUEST = "VOICESPAN_REQUEST"
#: Names of generations: `stable` (default), or `draft` for those of OpenTelemetry's draft for realtime sessions.
VOICESPAN_SEMCONV = "VOICESPAN_SEMCONV"
#: What is kept of what was said: all but these, separated by commas: `user_text`, `agent_text`,
#: `function_arguments`, `function_results`, `instructions`, `audio`; or `all`.
VOICESPAN_HIDE = "VOICESPAN_HIDE"
#: `root` (default): a conversation is a trace of its own; `child`: it nests in the current one.
VOICESPAN_PARENT = "VOICESPAN_PARENT"
#: Seconds that a conversation waits for its session to be resumed.
VOICESPAN_RESUME_WINDOW = "VOICESPAN_RESUME_WINDOW"

# What is recorded.
#: The share of conversations that is recorded, 0 to 1.
VOICESPAN_RECORD = "VOICESPAN_RECORD"
#: Where the audio comes from: `app` (default), `devices` or `wire`.
VOICESPAN_RECORD_SOURCE = "VOICESPAN_RECORD_SOURCE"
#: `ogg` (default), `flac`, `wav` or `mp3`.
VOICESPAN_RECORDING_FORMAT = "VOICESPAN_RECORDING_FORMAT"

# How it is delivered.
#: `spool` leaves it to `voicespan deliver`: no network, no encoding and no key in this process.
VOICESPAN_DELIVERY = "VOICESPAN_DELIVERY"
#: For `voicespan deliver`: a file of this user's alone with the keys, JSON `{endpoint: key}`.
VOICESPAN_KEYS_FILE = "VOICESPAN_KEYS_FILE"
#: The folder where conversations wait.
VOICESPAN_SPOOL_DIR = "VOICESPAN_SPOOL_DIR"
#: How many bytes may wait there.
VOICESPAN_SPOOL_MAX_BYTES = "VOICESPAN_SPOOL_MAX_BYTES"
#: `1` shows what happens in conversations on standard error.
VOICESPAN_CONSOLE = "VOICESPAN_CONSOLE"
#: The folder where conversations are kept.
VOICESPAN_FOLDER = "VOICESPAN_FOLDER"
#: How many bytes are kept there.
VOICESPAN_FOLDER_MAX_BYTES = "VOICESPAN_FOLDER_MAX_BYTES"
#: For how many days.
VOICESPAN_FOLDER_MAX_AGE = "VOICESPAN_FOLDER_MAX_AGE"
#: `1` shows conversations in LangSmith while they are going on.
VOICESPAN_LIVE = "VOICESPAN_LIVE"
#: `1` makes scores of the figures of a conversation: LangSmith's feedback on its root.
VOICESPAN_FEEDBACK = "VOICESPAN_FEEDBACK"
#: Seconds that an exiting process waits for what is complete.
VOICESPAN_SHUTDOWN_TIMEOUT = "VOICESPAN_SHUTDOWN_TIMEOUT"
