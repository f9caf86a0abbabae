"""What is run with which packages: the table of `run.py`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

#: Every Python that is supported but the one that runs this, with which `make test` has been run.
PYTHONS = [
    version
    for version in ("3.10", "3.11", "3.12", "3.13", "3.14")
    if version != f"{sys.version_info.major}.{sys.version_info.minor}"
]
#: The oldest runs everything, as does the one that runs this; the others what contexts, tasks and threads decide.
ENDS = ("3.10", "3.13")
PYTHON_TESTS = (
    "tests/compat",
    "tests/openai_realtime",
    "tests/gemini_live",
    "tests/recording",
    "tests/tracing/test_conversation.py",
    "tests/tracing/test_proxy_span.py",
)


@dataclass(frozen=True)
class Run:
    """Tests, and what is installed beside voicespan for them."""

    name: str
    packages: tuple[str, ...]
    why: str
    tests: tuple[str, ...] = ("tests/compat",)
    #: For tests that are for one kind of environment: which this is.
    kind: str = ""
    #: Which Python, if not the one that runs this.
    python: str = ""
    #: The dependency group of pyproject.toml that the tests need.
    group: str = "pytest"


#: Those of Gemini Live that speak through the package; what the protocol makes of a message needs no other version.
GEMINI = ("tests/gemini_live/test_gemini_sessions.py", "tests/gemini_live/test_gemini_resumption.py")

#: OpenAI Live, which the package has since 3.12.
LIVE = ("tests/openai_live",)
AUDIO = ("tests/openai_audio", "tests/instrumentation/test_own_pipeline.py")
UNCHANGED = ("tests/frameworks/test_sockets_unchanged.py",)
AGENTS = (*UNCHANGED, "tests/frameworks/test_openai_agents.py")
#: The oldest has other services that speak themselves, and LangSmith's processor wants a newer one.
PIPECAT = (
    "tests/frameworks/test_pipecat_pipelines.py",
    "tests/frameworks/test_pipecat_speech_to_speech.py",
    "tests/frameworks/test_pipecat_beside_others.py",
    "tests/frameworks/test_pipecat_streaming.py",
)
GENAI = ("tests/instrumentation/test_genai_packages.py",)
SOCKETS = ("tests/instrumentation/sockets",)

OPENTELEMETRY = (
    *(
        "tests/tracing/test_conversation.py",
        "tests/tracing/test_span_limits.py",
        "tests/tracing/test_metrics.py",
    ),
    *("tests/delivery/test_spans.py", "tests/delivery/test_delivery_metrics.py"),
)

#: What arrives where, zero code.
DELIVERY = "tests/distro/test_environments.py"

#: The oldest and the newest, and each version in which the way of a frame through the package changed.
RUNS = (
    Run(
        "openai-1.107",
        ("openai==1.107.0", "websockets==14.*", "wrapt==1.16.*"),
        "the oldest with the GA API",
    ),
    Run("openai-2.30", ("openai==2.30.0", "websockets==15.*"), "call_id, no send_raw"),
    Run(
        "openai-2.31",
        ("openai==2.31.0", "websockets==15.*", "wrapt==1.*"),
        "send_raw, which send does not call",
    ),
    Run(
        "openai-2.32",
        ("openai==2.32.0", "websockets==14.*"),
        "reconnects, the manager's queue, dispatch_events",
    ),
    Run("openai-3.0", ("openai==3.0.0", "websockets==15.*"), "httpx2"),
    Run(
        "openai-3.36",
        ("openai==3.36.1", "websockets==13.*"),
        "a shared base with _send, which send does not call",
    ),
    Run("openai-3.43", ("openai==3.43.0", "websockets==15.*"), "send reaches _send past send_raw"),
    Run("openai-3.44", ("openai==3.44.0", "websockets==14.*"), "a queue that is flushed by the next send"),
    Run(
        "openai-newest",
        ("openai", "websockets==13.*", "wrapt==2.*"),
        "the newest, with the oldest websockets",
    ),
    Run("openai-live-3.12", ("openai==3.12.0", "websockets==15.*"), "the oldest with Live", tests=LIVE),
    Run(
        "openai-live-newest",
        ("openai", "websockets==13.*"),
        "the newest, with the oldest websockets",
        tests=LIVE,
    ),
    Run(
        "openai-audio-1.107", ("openai==1.107.0",), "audio endpoints: httpx, nothing deprecated", tests=AUDIO
    ),
    Run("openai-audio-newest", ("openai",), "the newest", tests=AUDIO),
    Run(
        "opentelemetry-1.33",
        (
            *("openai[realtime]", "opentelemetry-api==1.33.*", "opentelemetry-sdk==1.33.*", "hypothesis"),
            *("opentelemetry-instrumentation==0.54b0", "opentelemetry-exporter-otlp-proto-http==1.33.*"),
        ),
        "the oldest: spans are written, encoded and measured",
        tests=OPENTELEMETRY,
    ),
    Run(
        "genai",
        (
            *("openai", "anthropic", "google-genai<3", "httpx", "trustme"),
            *("opentelemetry-instrumentation-genai-openai", "opentelemetry-instrumentation-genai-anthropic"),
            *("opentelemetry-instrumentation-google-genai", "opentelemetry-instrumentation-anthropic"),
            *("opentelemetry-instrumentation-openai", "openinference-instrumentation-openai"),
            *("openinference-instrumentation-anthropic", "openinference-instrumentation-google-genai"),
        ),
        "OpenTelemetry's, OpenLLMetry's and OpenInference's instrumentations of the clients",
        tests=GENAI,
    ),
    Run(
        "genai-openai-v2",
        ("openai", "httpx", "opentelemetry-instrumentation-openai-v2", "opentelemetry-util-genai<1"),
        "OpenTelemetry's instrumentation of openai, as it was called before",
        tests=GENAI,
    ),
    Run(
        "gemini-1.9",
        ("google-genai==1.9.0", "websockets==14.*", "wrapt==1.16.*", "trustme"),
        "the oldest; media for all that is seen and heard, no usage, a close is the socket's",
        tests=GEMINI,
    ),
    Run(
        "gemini-1.20",
        ("google-genai==1.20.0", "websockets==15.*", "trustme"),
        "usage, resumption, warnings; trusts whom the environment says",
        tests=GEMINI,
    ),
    Run(
        "gemini-1.40",
        ("google-genai==1.40.0", "websockets==14.*", "pydantic==2.11.*", "trustme"),
        "the session's id",
        tests=GEMINI,
    ),
    Run(
        "gemini-1.75",
        ("google-genai==1.75.0", "websockets==16.*", "trustme"),
        "a close is an APIError",
        tests=GEMINI,
    ),
    Run(
        "gemini-2.34",
        ("google-genai==2.34.0", "websockets==15.*", "trustme"),
        "updates of the context",
        tests=GEMINI,
    ),
    Run(
        "gemini-newest",
        ("google-genai", "websockets==16.*", "wrapt==2.*", "trustme"),
        "the newest",
        tests=GEMINI,
    ),
    Run(
        "sockets-oldest",
        ("websockets==13.0", "aiohttp==3.9.*", "websocket-client==1.6.0", "trustme"),
        "the oldest of each socket library",
        tests=SOCKETS,
    ),
    Run(
        "sockets-websockets-14",
        ("websockets==14.0", "aiohttp==3.11.*", "websocket-client==1.7.0", "trustme"),
        "legacy is no longer the default; aiohttp's socket is a context manager",
        tests=SOCKETS,
    ),
    Run(
        "sockets-websockets-16",
        (
            "openai",
            "google-genai",
            "websockets==16.*",
            "aiohttp==3.12.*",
            "websocket-client==1.8.0",
            "trustme",
        ),
        "frames that are unread when the socket is lost are kept",
        tests=SOCKETS,
    ),
    Run(
        "sockets-newest",
        ("websockets", "aiohttp", "websocket-client", "trustme"),
        "the newest of each: connections that are opened by another method",
        tests=SOCKETS,
    ),
    Run(
        "sockets-bridge",
        ("fastapi", "uvicorn[standard]", "websockets", "websocket-client"),
        "a telephone bridge and a script, whose sockets are their own",
        tests=UNCHANGED,
    ),
    Run(
        "agents-oldest",
        ("openai-agents==0.2.*", "websockets"),
        "the OpenAI Agents SDK, the oldest that speaks the GA API: 0.2.0 fails on the items of the beta API untraced, too",
        tests=UNCHANGED,
    ),
    Run(
        "agents-newest",
        ("openai-agents", "websockets"),
        "the OpenAI Agents SDK",
        tests=AGENTS,
    ),
    Run(
        "pydantic-ai-oldest",
        ("pydantic-ai-slim[openai]==2.28.*", "websockets"),
        "pydantic-ai, the oldest with a realtime session that is as it is now",
        tests=UNCHANGED,
    ),
    Run(
        "pydantic-ai",
        ("pydantic-ai-slim[openai]", "websockets"),
        "pydantic-ai's OpenAI realtime model",
        tests=UNCHANGED,
    ),
    Run(
        "sockets-livekit-oldest",
        ("livekit-agents==1.1.0", "livekit-plugins-openai==1.1.0", "websockets"),
        "LiveKit's OpenAI realtime model, which then spoke the beta API",
        tests=UNCHANGED,
    ),
    Run(
        "sockets-livekit",
        ("livekit-agents", "livekit-plugins-openai", "websockets"),
        "LiveKit's OpenAI realtime model, on aiohttp",
        tests=UNCHANGED,
    ),
    Run(
        "livekit-agents-oldest",
        ("livekit-agents[openai]==1.1.*", "openai<2", "websockets", "sybil"),
        "LiveKit Agents, the oldest whose sessions are traced",
        tests=("tests/frameworks/test_livekit_sessions.py", "tests/frameworks/test_livekit_room.py"),
    ),
    Run(
        "livekit-agents-newest",
        ("livekit-agents[openai]", "websockets", "sybil"),
        "LiveKit Agents: cascades, with text, with a headset, in a room, in the console",
        tests=(
            "tests/frameworks/test_livekit_sessions.py",
            "tests/frameworks/test_livekit_room.py",
            "tests/frameworks/test_livekit_console.py",
        ),
    ),
    Run(
        "livekit-beside-langsmith",
        ("livekit-agents[openai]", "websockets", "langsmith", "cachetools"),
        "the same call as LangSmith's own processor traces it",
        tests=("tests/frameworks/test_livekit_beside_langsmith.py",),
    ),
    Run(
        "pipecat-cascade-oldest",
        ("pipecat-ai[openai,websocket,tracing]==0.0.86", "websockets", "sybil"),
        "Pipecat, the oldest whose pipelines are traced",
        tests=PIPECAT[:1],
    ),
    Run(
        "pipecat-cascade-newest",
        (
            *("pipecat-ai[openai,google,websocket,tracing]", "websockets", "sybil", "trustme"),
            *("langsmith[otel]", "cachetools"),
        ),
        "Pipecat behind a WebSocket: cascades, OpenAI realtime and Gemini Live; beside LangSmith's processor",
        tests=PIPECAT,
    ),
    Run(
        "pipecat-genai",
        ("pipecat-ai[openai]", "opentelemetry-instrumentation-genai-openai"),
        "Pipecat beside OpenTelemetry's instrumentation of its client",
        tests=("tests/frameworks/test_pipecat_genai.py",),
    ),
    Run(
        "pipecat-oldest",
        ("pipecat-ai[openai]==0.0.86", "websockets"),
        "Pipecat's OpenAI realtime service, with a context of its own kind",
        tests=UNCHANGED,
    ),
    Run(
        "pipecat-0.0.92",
        ("pipecat-ai[openai]==0.0.92", "websockets"),
        "the oldest that takes the context that all services take",
        tests=UNCHANGED,
    ),
    Run(
        "pipecat",
        ("pipecat-ai[openai]", "websockets"),
        "Pipecat's OpenAI realtime service",
        tests=UNCHANGED,
    ),
    Run(
        "adk",
        ("google-adk==2.13.*", "trustme", "websockets"),
        "Google's ADK speaks through google-genai",
        tests=("tests/frameworks/test_gemini_adk.py",),
    ),
    Run(
        "livekit",
        ("livekit-plugins-google", "trustme", "websockets"),
        "LiveKit's Gemini model does as well",
        tests=("tests/frameworks/test_gemini_livekit.py",),
    ),
    Run(
        "zero-code-distro",
        ("openai[realtime]", "opentelemetry-distro[otlp]"),
        "opentelemetry-instrument with a distro and its exporter",
        tests=("tests/distro/test_zero_code.py", DELIVERY),
        kind="distro",
    ),
    Run(
        "zero-code-fastapi",
        (
            *("openai[realtime]", "opentelemetry-distro"),
            *("fastapi", "uvicorn[standard]", "opentelemetry-instrumentation-fastapi"),
        ),
        "a web server whose instrumentation makes a span of each message",
        tests=("tests/distro/test_server_messages.py",),
        kind="fastapi",
    ),
    Run(
        "zero-code-without-openai",
        (
            "websockets",
            "opentelemetry-distro",
            "opentelemetry-instrumentation-urllib",
            "opentelemetry-instrumentation-requests",
        ),
        "opentelemetry-instrument where none of our libraries is installed",
        tests=("tests/distro/test_zero_code.py",),
        kind="without-openai",
    ),
    Run(
        "zero-code-file",
        ("openai[realtime]", "opentelemetry-distro", "opentelemetry-sdk[file-configuration]"),
        "OTEL_CONFIG_FILE",
        tests=(DELIVERY,),
        kind="configuration-file",
    ),
    Run(
        "few-lines",
        (
            "openai[realtime]",
            *("httpx", "opentelemetry-instrumentation-httpx"),
            *("fastapi", "uvicorn", "opentelemetry-instrumentation-fastapi"),
        ),
        "beside the instrumentations of FastAPI and httpx",
        tests=("tests/distro/test_few_lines.py",),
        kind="few-lines",
    ),
    Run(
        "zero-code-only-openai",
        ("openai[realtime]",),
        "no distro, and one of the two libraries",
        tests=(DELIVERY,),
        kind="only-openai",
    ),
    Run(
        "zero-code-only-gemini",
        ("google-genai", "trustme"),
        "the other one",
        tests=(DELIVERY,),
        kind="only-gemini",
    ),
    Run(
        "zero-code-neither",
        ("websockets",),
        "a process of an image in which something else is traced",
        tests=(DELIVERY,),
        kind="neither",
    ),
    *(
        Run(
            f"python-{version}",
            ("openai[realtime]", "google-genai", "websockets>=14", "trustme"),
            "all tests" if version == ENDS[0] else "what depends on the Python",
            tests=("tests",) if version == ENDS[0] else PYTHON_TESTS,
            python=version,
            group="test",
        )
        for version in PYTHONS
    ),
)
