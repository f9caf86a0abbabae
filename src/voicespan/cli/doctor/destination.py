"""Where conversations go, where that was said, whether it can be reached, and whether the key is taken."""

from __future__ import annotations

import email.utils
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voicespan.cli.doctor import probe_answers
from voicespan.cli.doctor.findings import BROKEN, note, ok, problem, warning
from voicespan.cli.doctor.masked_output import public_url
from voicespan.cli.doctor.versions import loaded
from voicespan.delivery.destination import url_policy
from voicespan.delivery.destination.credentials import ApiKey
from voicespan.delivery.destination.destination import DEFAULT_API
from voicespan.delivery.destination.handed_over import VARIABLE as HANDED_OVER_BY
from voicespan.delivery.destination.handed_over import HandedOver, resolve_here
from voicespan.delivery.destination.profile import Profile
from voicespan.delivery.destination.variables import DeliverySettingsError, NoDestinationError
from voicespan.delivery.folder.settings import named_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voicespan.cli.doctor.findings import Finding, Surroundings
    from voicespan.cli.doctor.probe import Reply
    from voicespan.delivery.destination.destination import Destination
    from voicespan.runtime.clock import Clock

#: Where OpenTelemetry's own exporter sends to, if one of them is set.
EXPORTER_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
#: LangSmith finds traces by their time. Seconds by which a clock may be wrong.
_CLOCK_OFF = 300.0
_SHORT_KEY = 20
_WORDS_SHOWN = 200
_CANNOT_REACH = "what is delivered meanwhile waits in the spool; nothing is lost"


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Where to, then whether it works."""
    environ = surroundings.environ
    try:
        destination = resolve_here(environ=environ)
    except NoDestinationError as error:
        yield _nowhere(error, environ)
        return
    except DeliverySettingsError as error:
        advice = _misnamed(environ) or (
            "configure() raises this, and under opentelemetry-instrument nothing is delivered"
        )
        yield problem("destination.resolved", str(error), advice)
        return
    except BROKEN as error:
        # Not its words, which may quote a URL with its password.
        yield problem(
            "destination.resolved",
            f"the destination cannot be made out ({type(error).__name__})",
            "check LANGSMITH_ENDPOINT, VOICESPAN_ENDPOINT and the profile in ~/.langsmith/config.json",
        )
        return
    if isinstance(destination, HandedOver):
        yield from _handed_over(destination, environ)
        return
    yield from _resolved(destination, environ)
    if surroundings.offline:
        yield note("destination.reached", "not asked: --offline")
        return
    yield from _reached(destination, surroundings)


def _nowhere(error: NoDestinationError, environ: Mapping[str, str]) -> Finding:
    """There is no key and no endpoint: is there an exporter that gets the traces instead?"""
    misnamed, exporter = _misnamed(environ), _own_exporter(environ)
    kept = named_folder(environ)
    if kept is not None and misnamed is None:
        return note(
            "destination.resolved",
            f"no LangSmith key and no VOICESPAN_ENDPOINT: conversations are kept in {kept} (VOICESPAN_FOLDER)",
            "",
            folder=kept,
        )
    if exporter is None or misnamed is not None:
        advice = misnamed or (
            "until then nothing is delivered: conversations are kept on this machine, and voicespan view shows them"
        )
        return problem("destination.resolved", str(error), advice)
    return note(
        "destination.resolved",
        f"no LangSmith key and no VOICESPAN_ENDPOINT: traces go to the exporter that {exporter} names, and no "
        "recording is attached",
        "",
        exporter=exporter,
    )


def _own_exporter(environ: Mapping[str, str]) -> str | None:
    """The variable that names an exporter of the application's own."""
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if named:
        return None if named == "none" else "OTEL_TRACES_EXPORTER"
    return next((name for name in EXPORTER_ENDPOINTS if environ.get(name, "").strip()), None)


def source(environ: Mapping[str, str], name: str) -> str | None:
    """The variable that a setting of LangSmith comes from, as `voicespan.delivery.destination.destination` looks for it."""
    variables = (f"LANGSMITH_{name}", f"LANGCHAIN_{name}")
    return next((variable for variable in variables if environ.get(variable, "").strip()), None)


# Where to.


def _resolved(destination: Destination, environ: Mapping[str, str]) -> Iterator[Finding]:
    url = public_url(destination.url)
    if destination.through_collector:
        yield ok("destination.url", f"to a Collector, {url}  (VOICESPAN_ENDPOINT)", url=url, collector=True)
        yield note(
            "destination.project",
            "project and key are the Collector's business; whether it passes conversations on, its log tells",
        )
        if not urlsplit(url).path.endswith("/v1/traces"):
            yield warning(
                "destination.path",
                "VOICESPAN_ENDPOINT is the whole URL, and its path usually ends with /v1/traces",
                f"try {url.rstrip('/')}/v1/traces",
            )
        return
    profile = Profile.load(environ)
    named = f"profile {profile.name!r}"
    origin = source(environ, "ENDPOINT") or (named if profile.api_url else "default")
    yield ok("destination.url", f"to LangSmith, {url}  ({origin})", url=url, collector=False, source=origin)
    host = url_policy.host_of(url)
    if f".{host}".endswith(".smith.langchain.com") and "api" not in host.split("."):
        yield warning(
            "destination.path",
            f"{host} is where the web pages are, not the API",
            f"the API is {DEFAULT_API}, or https://eu.api.smith.langchain.com for the EU",
        )
    origin = _project_source(environ)
    yield ok(
        "destination.project",
        f"project {destination.project}  ({origin})",
        project=destination.project,
        source=origin,
    )
    if destination.workspace is not None:
        origin = source(environ, "WORKSPACE_ID") or named
        yield ok(
            "destination.workspace",
            f"workspace {destination.workspace}  ({origin})",
            workspace=destination.workspace,
            source=origin,
        )
    yield _key(destination, environ, named)


def _handed_over(destination: HandedOver, environ: Mapping[str, str]) -> Iterator[Finding]:
    url = public_url(destination.url)
    yield ok(
        "destination.url",
        f"left in the spool, for voicespan deliver to send to {destination.shown.partition(' at ')[0]}, {url}  "
        f"({HANDED_OVER_BY})",
        url=url,
        collector=destination.through_collector,
        source=HANDED_OVER_BY,
    )
    if destination.project is not None:
        yield ok("destination.project", f"project {destination.project}", project=destination.project)
    if (variable := source(environ, "API_KEY")) is not None:
        yield warning(
            "destination.key",
            f"{variable} is set, which this process does not need",
            "give it to voicespan deliver alone",
            set=True,
        )
    yield note("destination.reached", "not asked: the deliverer sends, from an environment of its own")


def _project_source(environ: Mapping[str, str]) -> str:
    if environ.get("LANGSMITH_AGENT_ID", "").strip():
        return "LANGSMITH_AGENT_ID"
    if environ.get("HOSTED_LANGSERVE_PROJECT_NAME"):
        return "HOSTED_LANGSERVE_PROJECT_NAME"
    return source(environ, "PROJECT") or source(environ, "SESSION") or "default"


def _key(destination: Destination, environ: Mapping[str, str], profile: str) -> Finding:
    credentials = destination.credentials
    if credentials is None:
        return note("destination.key", "no key: this server is asked without one", set=False)
    origin = source(environ, "API_KEY") or profile
    if not isinstance(credentials, ApiKey):
        return ok(
            "destination.key",
            f"a login of LangSmith's command line tool  ({origin})",
            set=True,
            source=origin,
        )
    key = credentials.key
    if any(not character.isprintable() or character.isspace() for character in key):
        return problem(
            "destination.key",
            f"the key has blanks or line breaks in it  ({origin})",
            "copy it again, in one piece",
            set=True,
            source=origin,
        )
    text = "a key is set" if len(key) >= _SHORT_KEY else "a key is set, a very short one"
    return ok("destination.key", f"{text}  ({origin})", set=True, source=origin)


def _misnamed(environ: Mapping[str, str]) -> str | None:
    """Where there is no key: one that stands in a variable which nobody reads."""
    if source(environ, "API_KEY") is not None:
        return None
    for name in sorted(environ):
        if name.upper().startswith(("LANGSMITH", "LANGCHAIN", "LS_")) and "KEY" in name.upper():
            return (
                f"{name} is {'set' if environ[name].strip() else 'empty'}; what is read is LANGSMITH_API_KEY"
            )
    return None


# Whether it works.


def _reached(destination: Destination, surroundings: Surroundings) -> Iterator[Finding]:
    probe = loaded("voicespan.cli.doctor.probe")
    if isinstance(probe, str):
        yield problem("destination.reached", f"requests is broken ({probe})", "see Versions, above")
        return
    try:
        proxy, authorities = probe.proxy_of(destination), probe.authorities_of(destination)
    except BROKEN as error:
        yield problem(
            "destination.reached", f"requests is broken ({type(error).__name__})", "see Versions, above"
        )
        return
    if authorities is not None:
        name, path = authorities
        yield ok("destination.certificates", f"certificates by {path}  ({name})", source=name, path=path)
    reply = probe.ask(destination)
    host, port = url_policy.host_of(destination.url), probe.port_of(destination.url)
    facts = {"status": reply.status, "seconds": round(reply.seconds, 3), "proxy": proxy}
    through = f" through the proxy {proxy}" if proxy else ""
    if reply.status is None:
        text, advice = (
            each.format(host=host, port=port, proxy=proxy) for each in probe_answers.FAILURES[reply.failure]
        )
        words = f": {reply.words}" if reply.words else ""
        behind = through if reply.failure != "proxy" else ""
        yield problem(
            "destination.reached",
            f"{public_url(destination.url)}: {text}{behind}{words}",
            f"{advice}; {_CANNOT_REACH}",
            failure=reply.failure,
            **facts,
        )
        return
    yield ok("destination.reached", f"{host} answers in {reply.seconds:.1f} s{through}", **facts)
    yield _logged_in(destination, reply)
    yield from _clock(reply, surroundings.clock)


def _logged_in(destination: Destination, reply: Reply) -> Finding:
    """What the answer says of the key and of the path."""
    check, status = "destination.login", reply.status or 0
    server = "the Collector" if destination.through_collector else "LangSmith"
    text = f"{server} at {public_url(destination.url)} answers {status}{_words(reply)}"
    if 200 <= status < 300 and not _is_page(reply):  # noqa: PLR2004
        taken = "takes traces" if destination.credentials is None else "takes the key"
        return ok(check, f"{server} {taken}", status=status)
    if status in probe_answers.LATER or status >= 500:  # noqa: PLR2004
        return warning(
            check, text, "voicespan tries again, for days; if it lasts, ask whoever runs it", status=status
        )
    if status in probe_answers.ABOUT_THE_REQUEST and not _is_page(reply):
        return note(check, f"{text}, to a request without spans; the key was not refused", status=status)
    return problem(check, text, _advice(destination, reply), status=status)


def _advice(destination: Destination, reply: Reply) -> str:
    status = reply.status or 0
    if 300 <= status < 400:  # noqa: PLR2004
        leads = public_url(reply.location) or "nowhere"
        return f"set the endpoint to where it leads ({leads}); redirects are not followed"
    if _is_page(reply):
        return "a web page answers there, not the API: check the endpoint, and what stands in front of it"
    advice = probe_answers.COLLECTOR if destination.through_collector else probe_answers.LANGSMITH
    return advice.get(status, "check the endpoint")


def _is_page(reply: Reply) -> bool:
    return "html" in reply.content_type.lower()


def _words(reply: Reply) -> str:
    if _is_page(reply):
        return " with a web page"
    return f": {reply.words[:_WORDS_SHOWN]}" if reply.words else ""


def _clock(reply: Reply, clock: Clock) -> Iterator[Finding]:
    try:
        theirs = email.utils.parsedate_to_datetime(reply.date).timestamp()
    except (TypeError, ValueError):
        return
    off = clock.time_ns() / 1e9 - theirs
    text = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the server's"
    if abs(off) > _CLOCK_OFF:
        yield warning(
            "destination.clock",
            f"the clock of this machine is {text}: traces appear at the wrong time, or outside of what is shown",
            "set the clock (NTP)",
            seconds=round(off),
        )
    else:
        yield ok("destination.clock", f"the clock agrees with the server's ({text})", seconds=round(off))
