"""`voicespan demo`: a call, its trace, and what LangSmith shows of it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import io
import json
import os
import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.cli.demo import elsewhere, story
from voicespan.cli.demo.call import Call
from voicespan.cli.demo.call_clock import CallClock
from voicespan.cli.demo.json_report import document
from voicespan.cli.demo.page import Page
from voicespan.cli.demo.report import report
from voicespan.delivery import DeliverySettingsError, FolderSpanProcessor, LangSmithSpanProcessor
from voicespan.testing import LangSmithServer

if TYPE_CHECKING:
    import argparse


class Provider(NamedTuple):
    """What there is to know of a provider before anything of it is loaded.

    Attributes:
        packages: What has to be installed.
        key: The environment variable that holds its key.
        agent: The module that speaks to it.
        extra: Of ours, that brings the packages.
    """

    packages: tuple[str, ...]
    key: str
    agent: str
    extra: str = "openai"


PROVIDERS = {
    "openai": Provider(("openai", "websockets"), "OPENAI_API_KEY", "voicespan.cli.demo.openai_agent"),
    "openai-live": Provider(
        ("openai", "websockets"), "OPENAI_API_KEY", "voicespan.cli.demo.openai_live_agent"
    ),
    "gemini": Provider(
        ("google.genai", "websockets", "trustme"),
        "GEMINI_API_KEY",
        "voicespan.cli.demo.gemini_agent",
        "gemini",
    ),
    "cascade": Provider(("openai",), "OPENAI_API_KEY", "voicespan.cli.demo.cascade_agent"),
}

#: How much faster `--fast` is. What the machine itself takes counts as many times as much.
_FAST = 8.0
_DELIVERY_MS = 30_000
_PROJECT = "voicespan-demo"
#: Settings of this machine that a demo without an account has nothing to do with.
_FORGOTTEN = (
    "LANGSMITH_",
    "LANGCHAIN_",
    "HOSTED_LANGSERVE_",
    "OPENAI_",
    "GEMINI_",
    "GOOGLE_",
    "OTEL_",
    "VOICESPAN_",
)
_KEPT = ("VOICESPAN_EVENTS", "VOICESPAN_RAW_EVENTS", "VOICESPAN_RECORDING_FORMAT")
#: What a backend of one's own may need, which the trace is sent to with `--to`.
_OF_EXPORTER = "OTEL_EXPORTER_OTLP_"

DONE, FAILED, MISSING = 0, 1, 2


def run(options: argparse.Namespace) -> int:
    """Run the demo.

    Args:
        options: `provider`, `model`, `live`, `fast`, `folder`, `json`, `to` and `open`, as the command line has them.

    Returns:
        The exit status: 0, 1 where something failed, 2 where something is missing.
    """
    provider = PROVIDERS[options.provider]
    if not all(map(importlib.util.find_spec, provider.packages)):
        return _refuse(f"the demo needs more packages: pip install 'voicespan[{provider.extra},testing]'")
    why = elsewhere.why_not(options.to) if options.to else None
    if why is not None:
        return _refuse(why)
    if options.live:
        absent = [key for key in (provider.key, "LANGSMITH_API_KEY") if not os.environ.get(key)]
        if absent:
            return _refuse(f"--live needs {' and '.join(absent)} in the environment")
    else:
        _forget_settings(but=_OF_EXPORTER if options.to else None)
    try:
        return _demonstrate(importlib.import_module(provider.agent), options)
    except DeliverySettingsError as error:
        return _refuse(str(error))


def _demonstrate(agent: Any, options: argparse.Namespace) -> int:
    folder = Path(options.folder or tempfile.mkdtemp(prefix="voicespan-demo-")).absolute()
    why = _why_not(folder)
    if why is not None:
        return _refuse(why)
    # With `--json` nothing but JSON is on the standard output.
    page = Page(io.StringIO() if options.json else None)
    with contextlib.ExitStack() as stack:
        langsmith = stack.enter_context(LangSmithServer(save_attachments=folder))
        spool = stack.enter_context(tempfile.TemporaryDirectory(prefix="voicespan-demo-spool-"))
        provider = _traced(langsmith, spool, live=options.live)
        provider.add_span_processor(FolderSpanProcessor(folder))
        own = elsewhere.Backend(options.to) if options.to else None
        if own is not None:
            provider.add_span_processor(own.processor())
        stack.callback(provider.shutdown)
        clock = CallClock(_FAST if options.fast else 1.0)
        call = Call(story.CUES, provider, clock, partial(_show_words, page))
        agent.INSTRUMENTOR().instrument(tracer_provider=provider, clock=clock)
        _introduce(page, agent, options)
        error = _hold(call, page, agent, options)
        delivered = provider.force_flush(_DELIVERY_MS)
        for root in langsmith.roots:
            report(page, langsmith, root)
        if options.json and langsmith.roots:
            json.dump(document(langsmith.roots, delivered=delivered), sys.stdout, indent=1)
            sys.stdout.write("\n")
    if not langsmith.roots:
        return _refuse(
            "nothing was traced: LANGSMITH_TRACING, OTEL_SDK_DISABLED or a sampler says so", FAILED
        )
    _look_back(page, options, folder, own, delivered=delivered)
    if error is not None:
        return _refuse(f"the call failed: {error}", FAILED)
    if own is not None and not own.took_all:
        return _refuse(own.outcome, FAILED)
    return DONE if delivered else FAILED


def _look_back(
    page: Page, options: argparse.Namespace, folder: Path, own: elsewhere.Backend | None, *, delivered: bool
) -> None:
    """Say where it is by now, and what to do next."""
    if options.live:
        _tell_where(page, delivered=delivered)
    if own is not None:
        page.heading("In your own backend")
        page.paragraph(own.outcome)
    _conclude(page, live=options.live)
    _show_how_to_look(page, folder)
    if options.open:
        elsewhere.open_call(folder)


def _why_not(folder: Path) -> str | None:
    """Why nothing can be kept in `folder`; None: it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"nothing can be written to {folder}: {error.strerror}"


def _refuse(why: str, status: int = MISSING) -> int:
    sys.stderr.write(f"voicespan demo: {why}\n")
    return status


def _forget_settings(but: str | None) -> None:
    """The demo is the same on every machine."""
    for name in list(os.environ):
        if name.startswith(_FORGOTTEN) and name not in _KEPT and not (but and name.startswith(but)):
            del os.environ[name]
    # Its own servers are on this machine, so nothing for them goes through its proxy.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def _traced(langsmith: LangSmithServer, spool: str, *, live: bool) -> TracerProvider:
    """A tracer provider that delivers to the server on this machine, and with `live` to LangSmith."""
    project = os.environ.get("LANGSMITH_PROJECT") or _PROJECT
    provider = TracerProvider(resource=Resource.create({"service.name": "the-lantern"}))
    if live:
        voicespan.configure(tracer_provider=provider, project=project)
    provider.add_span_processor(
        LangSmithSpanProcessor(
            endpoint=langsmith.url, api_key=langsmith.api_key, project=project, spool_dir=spool
        )
    )
    return provider


def _hold(call: Call, page: Page, agent: Any, options: argparse.Namespace) -> Exception | None:
    """Hold the call; what went wrong with it."""
    try:
        with contextlib.nullcontext() if options.live else agent.scripted_server() as server:
            asyncio.run(agent.answer(call, options.model or agent.MODEL, server))
    except KeyboardInterrupt:
        page.line("  (hung up)")
    except agent.FAILURES as error:
        return error  # type: ignore[no-any-return]
    finally:
        agent.INSTRUMENTOR().uninstrument()
    return None


def _show_words(page: Page, who: str, words: str, at: float) -> None:
    first = f"  {at:5.1f} s  {who:<6}  "
    page.paragraph(words, first=first, indent=" " * len(first))


def _introduce(page: Page, agent: Any, options: argparse.Namespace) -> None:
    page.heading("A caller books a table, and cuts in while the agent is speaking")
    wire = getattr(agent, "WIRE", "its WebSocket")
    leaves = "Its trace goes to your own backend as well," if options.to else "Nothing leaves the machine"
    if options.live:
        page.paragraph(
            f"The caller's voice is synthesised. {agent.SERVICE} answers, and LangSmith gets the trace; a "
            "LangSmith server on this machine gets it as well, to show it here. Nothing is sounded."
        )
    else:
        page.paragraph(
            f"Both voices are synthesised. A scripted {agent.SERVICE} server and a LangSmith server run on "
            f"this machine; what is between them is real: the provider's client, {wire}, OTLP over HTTP. "
            f"{leaves} and nothing is sounded."
        )
    page.line()
    page.paragraph(
        f"It is played {_FAST:g} times as fast as it is spoken: what the machine takes counts {_FAST:g} times."
        if options.fast
        else "It takes about 20 seconds."
    )
    page.line()


def _tell_where(page: Page, *, delivered: bool) -> None:
    page.heading("In LangSmith")
    page.paragraph(
        "The same is there now, in this project and under this thread."
        if delivered
        else "It is not there yet: it waits in the spool, and `voicespan recover` sends it."
    )


def _show_how_to_look(page: Page, folder: Path) -> None:
    page.heading("See and hear it")
    page.line(f"  voicespan view {shlex.quote(str(folder))} --open")


def _conclude(page: Page, *, live: bool) -> None:
    page.heading("The same with your own agent")
    page.line("  import voicespan")
    page.line()
    page.line("  voicespan.configure()  # once, before the first connection")
    page.line()
    page.paragraph(
        "LANGSMITH_API_KEY is read from the environment. Or change nothing, and start it with "
        "`opentelemetry-instrument python agent.py`."
    )
    page.line()
    page.paragraph(
        "To have the call recorded as it was heard, hand over the audio where it passes through your application:"
    )
    page.line()
    page.line("  recorder = voicespan.current_conversation().recorder")
    page.line("  recorder.user(pcm, rate)   # what the microphone gave")
    page.line("  recorder.agent(pcm, rate)  # what is handed to the loudspeaker")
    page.line("  recorder.cut_agent()       # when the playback is stopped")
    if not live:
        page.line()
        page.paragraph(
            "The times above are those of a scripted server; `voicespan demo --live` holds the same call with "
            "the real services."
        )
