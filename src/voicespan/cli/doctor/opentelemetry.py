"""What OpenTelemetry's own variables do to conversations: who is sampled, and what is cut.

The limits apply to spans when their attributes are set. Our own content is cut below them, inside its
structure and marked; what names a span (its kind, its thread) they leave (`voicespan.tracing.span_limits`).
A recording is out of their reach: it joins the encoded copy of the root, in the spool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.cli.doctor.findings import note, ok, problem, warning
from voicespan.runtime.settings import CHILD_SPAN_BYTES, ROOT_TRANSCRIPT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voicespan.cli.doctor.findings import Finding, Surroundings

_LENGTHS = ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")
_COUNTS = ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT")
_EVENTS = ("OTEL_SPAN_EVENT_COUNT_LIMIT",)
#: What else the SDK reads as a number; of ours none has so many.
_OTHERS = (
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
)
#: What is usual.
_ATTRIBUTES = 128
_SAMPLERS = frozenset(
    {"always_on", "always_off", "traceidratio"}
    | {"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
)


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Sampler, then limits."""
    environ = surroundings.environ
    yield from _sampler(environ)
    limits = [name for name in (*_LENGTHS, *_COUNTS, *_EVENTS, *_OTHERS) if environ.get(name, "").strip()]
    for name in limits:
        if _limit(environ[name]) is None:
            yield problem(
                f"opentelemetry.{name}",
                f"{name} is no number: the SDK makes no tracer provider, and nothing is traced",
                f"correct it, or unset {name}",
            )
            return
    yield from _length(environ)
    yield from _count(environ)
    if not limits:
        yield ok("opentelemetry.limits", "no limit of spans is set")


def _sampler(environ: Mapping[str, str]) -> Iterator[Finding]:
    check, name = "opentelemetry.sampler", environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if (
        environ.get("OTEL_CONFIG_FILE", "").strip()
        or environ.get("OTEL_EXPERIMENTAL_CONFIG_FILE", "").strip()
    ):
        yield note(
            "opentelemetry.file",
            "OTEL_CONFIG_FILE configures the SDK where a distribution reads it: see there, too",
        )
    if not name:
        yield ok(check, "every conversation is sampled  (default)", sampler="parentbased_always_on")
    elif name not in _SAMPLERS:
        yield note(
            check, "OTEL_TRACES_SAMPLER names a sampler that is not one of the SDK's own", sampler="another"
        )
    elif name.endswith("always_off"):
        yield problem(
            check,
            f"OTEL_TRACES_SAMPLER={name}: no conversation is sampled",
            "unset OTEL_TRACES_SAMPLER, or set it to parentbased_always_on",
            sampler=name,
        )
    elif name.endswith("traceidratio"):
        yield _ratio(check, name, environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip())
    else:
        yield ok(check, f"OTEL_TRACES_SAMPLER={name}", sampler=name)


def _ratio(check: str, name: str, written: str) -> Finding:
    try:
        ratio = float(written or 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        return warning(
            check,
            "OTEL_TRACES_SAMPLER_ARG is not between 0 and 1: every conversation is sampled",
            "correct it",
            sampler=name,
        )
    text = f"OTEL_TRACES_SAMPLER={name} samples {ratio:.0%} of the conversations"
    if not ratio:
        return problem(check, text, "raise OTEL_TRACES_SAMPLER_ARG", sampler=name, ratio=ratio)
    return (note if ratio < 1 else ok)(check, text, sampler=name, ratio=ratio)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, int] | None:
    """The variable that counts, and what it says."""
    return next(((name, int(environ[name])) for name in names if environ.get(name, "").strip()), None)


def _limit(written: str) -> int | None:
    """As the SDK reads it; None: it refuses that."""
    try:
        limit = int(written)
    except ValueError:
        return None
    return limit if limit >= 0 else None


def _length(environ: Mapping[str, str]) -> Iterator[Finding]:
    found = _first(environ, _LENGTHS)
    if found is None:
        return
    name, limit = found
    check, text = f"opentelemetry.{name}", f"{name}={limit}"
    untouched = "The recording is not cut: it joins after the limits"
    advice = f"unset it: {untouched[0].lower()}{untouched[1:]}, but an attachment that another integration writes is"
    if limit < CHILD_SPAN_BYTES:
        yield warning(
            check,
            f"{text} shortens transcripts, arguments and events to that many characters (marked where cut)",
            advice,
            limit=limit,
        )
    elif limit < ROOT_TRANSCRIPT_BYTES:
        yield note(check, f"{text} shortens the transcript of a long conversation. {untouched}", limit=limit)
    else:
        yield ok(check, f"{text} cuts nothing of ours", limit=limit)


def _count(environ: Mapping[str, str]) -> Iterator[Finding]:
    found = _first(environ, _COUNTS)
    if found is not None:
        name, limit = found
        check, text = f"opentelemetry.{name}", f"{name}={limit}"
        if limit < _ATTRIBUTES:
            yield note(
                check,
                f"{text} is below the usual {_ATTRIBUTES}: the application's own spans lose their oldest attributes, "
                "voicespan's keep theirs",
                limit=limit,
            )
        else:
            yield ok(check, f"{text} cuts nothing of ours", limit=limit)
    events = _first(environ, _EVENTS)
    if events is not None and events[1] == 0:
        yield note(
            f"opentelemetry.{events[0]}",
            f"{events[0]}=0: LangSmith learns of errors from events, so none of the application's own spans shows as "
            "failed; voicespan's do",
            limit=0,
        )
