"""The settings: what was made of each variable, and where it comes from.

What they mean is decided where they are read, so that is asked: `Settings.from_environment` and
`SpoolSettings.from_environment`, and what those log about values that they do not understand.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from voicespan.cli.doctor.findings import note, ok, problem, warning
from voicespan.cli.doctor.masked_output import public_url
from voicespan.delivery.destination.privacy import Privacy, sampling_rate, tracing_is_off
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.instrumentation.sockets import by_url
from voicespan.runtime import environment_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from voicespan.cli.doctor.findings import Finding, Surroundings
    from voicespan.delivery.folder.settings import FolderSettings
    from voicespan.delivery.spool.settings import SpoolSettings
    from voicespan.runtime.settings import Settings

_PREFIX = "VOICESPAN_"
_YES = frozenset({"1", "true", "yes", "on"})
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_LANGSMITH = (
    "TRACING",
    "TRACING_V2",
    "TRACING_SAMPLING_RATE",
    "HIDE_INPUTS",
    "HIDE_OUTPUTS",
    "HIDE_METADATA",
)

#: What each was resolved to, where it is one of the settings of a conversation.
_RESOLVED: dict[str, Callable[[Settings], str]] = {
    "VOICESPAN_EVENTS": lambda settings: settings.events.name.lower(),
    "VOICESPAN_RAW_EVENTS": lambda settings: _yes_or_no(yes=settings.raw_events),
    "VOICESPAN_REQUEST": lambda settings: _yes_or_no(yes=settings.request),
    "VOICESPAN_SEMCONV": lambda settings: "draft" if settings.draft_names else "stable",
    "VOICESPAN_PARENT": lambda settings: settings.parent,
    "VOICESPAN_RESUME_WINDOW": lambda settings: f"{settings.resume_window:g} s",
    "VOICESPAN_RECORD": lambda settings: f"{settings.record:g}",
    "VOICESPAN_RECORD_SOURCE": lambda settings: settings.record_source,
    "VOICESPAN_RECORDING_FORMAT": lambda settings: settings.recording_format,
    "VOICESPAN_HIDE": lambda settings: ", ".join(sorted(settings.hide)) or "nothing",
    _CONTENT: lambda settings: _yes_or_no(yes=settings.capture_content),
}
_RESOLVED_BY_SPOOL: dict[str, Callable[[SpoolSettings], str]] = {
    "VOICESPAN_SPOOL_DIR": lambda spool: str(spool.folder),
    "VOICESPAN_SPOOL_MAX_BYTES": lambda spool: f"{spool.max_bytes} bytes",
    "VOICESPAN_LIVE": lambda spool: _yes_or_no(yes=spool.live),
    "VOICESPAN_FEEDBACK": lambda spool: _yes_or_no(yes=spool.feedback),
    "VOICESPAN_SHUTDOWN_TIMEOUT": lambda spool: f"{spool.shutdown_timeout:g} s",
}
_RESOLVED_BY_FOLDER: dict[str, Callable[[FolderSettings], str]] = {
    "VOICESPAN_FOLDER_MAX_BYTES": lambda folder: f"{folder.max_bytes} bytes",
    "VOICESPAN_FOLDER_MAX_AGE": lambda folder: f"{folder.max_age / 86_400:g} days",
}
#: The rest, of which one is an address.
_RESOLVED_AS_WRITTEN: dict[str, Callable[[str], str]] = {
    "VOICESPAN_ENDPOINT": lambda written: public_url(written) or "none",
    "VOICESPAN_ALLOW_HTTP": lambda written: _yes_or_no(yes=written.lower() in _YES),
    "VOICESPAN_DELIVERY": lambda written: "spool" if written.lower() == "spool" else "process",
    "VOICESPAN_KEYS_FILE": lambda written: written or "none",
    "VOICESPAN_SOCKETS": lambda written: written or "by their URLs",
    "VOICESPAN_FOLDER": lambda written: written or "none, or the user's own where there is no key",
    "VOICESPAN_CONSOLE": lambda written: _yes_or_no(yes=written.lower() in _YES),
    "VOICESPAN_DISABLED": lambda written: _yes_or_no(yes=written.lower() in _YES),
}


def ours() -> list[str]:
    """Every variable of voicespan's own, in the order in which they are documented."""
    return [name for name in vars(environment_variables) if name.startswith(_PREFIX)]


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Everything about the settings."""
    environ, settings = surroundings.environ, surroundings.settings
    for name in (*ours(), _CONTENT):
        yield _variable(name, surroundings)
    yield from _langsmiths(environ)
    yield from _unknown(environ)
    yield from _switched_off(environ)
    yield from _sockets(environ)
    yield from _left_out(environ, settings)
    yield note(
        "settings.unseen",
        "not seen from here: what the code passes to configure() or LangSmithSpanProcessor(), which comes "
        "before all of this; a .env file that the application reads; another process's environment",
    )


def _variable(name: str, surroundings: Surroundings) -> Finding:
    written = surroundings.environ.get(name, "").strip()
    source = "environment" if written else "default"
    if name == environment_variables.VOICESPAN_SPOOL_DIR and surroundings.spool_dir:
        source = "--spool-dir"
    if name in _RESOLVED:
        value = _RESOLVED[name](surroundings.settings)
    elif name in _RESOLVED_BY_SPOOL:
        value = _RESOLVED_BY_SPOOL[name](surroundings.spool)
    elif name in _RESOLVED_BY_FOLDER:
        value = _RESOLVED_BY_FOLDER[name](surroundings.folder)
    else:
        # A newer setting than this table is shown as it is written.
        value = _RESOLVED_AS_WRITTEN.get(name, _as_it_is)(written)
    check = f"settings.{name}"
    if name in surroundings.misread:
        # Who mistypes such a switch wanted something hidden: then everything is.
        value = "all" if name == environment_variables.VOICESPAN_HIDE else value
        return warning(
            check,
            f"{name} has a value of {len(written)} characters that is not understood; {value} counts",
            "correct it, or unset it",
            value=value,
            source="default",
        )
    return ok(check, f"{name} = {value}  ({source})", value=value, source=source)


def _langsmiths(environ: Mapping[str, str]) -> Iterator[Finding]:
    """LangSmith's own switches, where one is set; its key, project and endpoint are the destination's."""
    for suffix in _LANGSMITH:
        for name in (f"LANGSMITH_{suffix}", f"LANGCHAIN_{suffix}"):
            value = environ.get(name, "").strip()
            if value:
                yield ok(
                    f"settings.{name}", f"{name} = {value}  (environment)", value=value, source="environment"
                )


def _unknown(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in ours():
            near = _nearest(name)
            yield warning(
                f"settings.{name}",
                f"{name} is no setting of voicespan",
                f"did you mean {near}?" if near else "unset it",
                nearest=near,
            )


def _nearest(name: str) -> str | None:
    # By what comes after the prefix, which would make all of them alike.
    known = {each.removeprefix(_PREFIX): each for each in ours()}
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), known, n=1)
    return known[near[0]] if near else None


def _sockets(environ: Mapping[str, str]) -> Iterator[Finding]:
    strange = by_url.not_understood(environ.get("VOICESPAN_SOCKETS", ""))
    if strange:
        yield warning(
            "settings.VOICESPAN_SOCKETS.parts",
            f"VOICESPAN_SOCKETS has {len(strange)} parts that are no host/path=provider",
            f"write them as gw.example/rt=PROVIDER, where PROVIDER is one of {', '.join(by_url.providers())}",
        )


def _switched_off(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Each way of having nothing arrive on purpose."""
    for name in ("VOICESPAN_DISABLED", "OTEL_SDK_DISABLED"):
        if environ.get(name, "").strip().lower() in _YES:
            yield problem(f"settings.off.{name}", f"{name} switches tracing off", f"unset {name}")
    if tracing_is_off(environ):
        yield problem(
            "settings.off.LANGSMITH_TRACING",
            "LANGSMITH_TRACING (or LANGCHAIN_TRACING_V2, its older name) switches delivery off",
            "unset it, or set it to true",
        )
    try:
        rate = sampling_rate(environ)
    except DeliverySettingsError as error:
        yield problem("settings.sampling", str(error), "correct it: configure() raises this")
        return
    if rate is not None and rate < 1:
        text = f"LANGSMITH_TRACING_SAMPLING_RATE={rate:g} delivers {rate:.0%} of the conversations"
        if rate:
            yield note("settings.sampling", text, rate=rate)
        else:
            yield problem("settings.sampling", text, "set it to 1, or unset it", rate=rate)


def _left_out(environ: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """What the settings leave out of traces and recordings."""
    if not settings.capture_content:
        yield warning(
            "settings.content",
            f"nothing of what is said is kept, neither words nor recordings: {_CONTENT} or VOICESPAN_HIDE says so",
            "unset them if that is not meant",
        )
    elif settings.hide:
        yield note("settings.content", f"VOICESPAN_HIDE leaves out {', '.join(sorted(settings.hide))}")
    privacy = Privacy.from_environment(environ)
    if privacy.hide_recording:
        yield warning(
            "settings.recording_hidden",
            "LANGSMITH_HIDE_INPUTS or LANGSMITH_HIDE_OUTPUTS keeps the recordings here: they hold both voices",
            "unset them if that is not meant",
        )
    if not settings.record:
        yield note("settings.recording", "VOICESPAN_RECORD says that nothing is recorded")
    elif settings.record_source != "app":
        yield note(
            "settings.recording", f"recorded without the application: from the {settings.record_source}"
        )
    if environ.get("VOICESPAN_ENDPOINT", "").strip() and _langsmith_key(environ):
        yield note(
            "settings.two_destinations",
            "VOICESPAN_ENDPOINT and a LangSmith key are both set: conversations go to the Collector, and it "
            "is not given the key",
        )


def _langsmith_key(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name, "").strip() for name in ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"))


def _as_it_is(written: str) -> str:
    return written or "not set"


def _yes_or_no(*, yes: bool) -> str:
    return "yes" if yes else "no"
