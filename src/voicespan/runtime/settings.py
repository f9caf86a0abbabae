"""What the environment decides: `VOICESPAN_*`, and what we read of `OTEL_*`.

Read once per conversation, so that a changed variable counts from the next conversation on. A value that
cannot be understood falls back to the default and is named once in the log (never its content). Only where
it says what may be kept of what was said, it falls to the safe side: nothing is.
The destination of the traces (`LANGSMITH_*`, `VOICESPAN_ENDPOINT`) is resolved in `voicespan.delivery`.
"""

from __future__ import annotations

import logging
import operator
import os
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger("voicespan")


class Level(IntEnum):
    """At which `VOICESPAN_EVENTS` an event that keeps its own name gets a span."""

    ESSENTIAL = 0
    STANDARD = 1
    ALL = 2
    NEVER = 3


_LEVELS = {"essential": Level.ESSENTIAL, "standard": Level.STANDARD, "all": Level.ALL}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})
_SOURCES: dict[str, Literal["app", "devices", "wire"]] = {"app": "app", "devices": "devices", "wire": "wire"}
_FORMATS = ("ogg", "flac", "wav", "mp3")
_HIDE = "VOICESPAN_HIDE"
#: What VOICESPAN_HIDE can name.
TEXT_KINDS = frozenset({
    "user_text", "agent_text", "function_arguments", "function_results", "instructions",
})  # fmt: skip
AUDIO = "audio"
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
#: Its official values beside what people write. Our content is on spans only, so "event only" means:
#: nothing for us to keep.
_CONTENT = {
    "": True,
    "no_content": False,
    "event_only": False,
    "span_only": True,
    "span_and_event": True,
    **dict.fromkeys(_YES, True),
    **dict.fromkeys(_NO - {""}, False),
}

#: A child span's attributes together stay under this many bytes.
CHILD_SPAN_BYTES = 64_000
#: The transcript on the root, in bytes, and how many characters are kept for it: JSON takes its share,
#: and the transcript grows by a quarter before it is cut.
ROOT_TRANSCRIPT_BYTES = 4_000_000
ROOT_TRANSCRIPT_CHARACTERS = 3_000_000
#: The length of a value where nobody limits it.
NO_LIMIT = 1 << 62
#: From here on only essential spans are kept: LangSmith takes 25,000 runs a trace.
SPAN_BUDGET = 20_000
#: And here even those end, so that the root itself always fits.
SPAN_LIMIT = 24_900


class Redact(Protocol):
    """What `voicespan.configure(redact=...)` takes."""

    def __call__(self, text: str, *, role: str, place: str) -> str:
        """Return what may be stored of `text`.

        `role` is whose words they are (`user`, `assistant`, `tool`, `system`), `place` where they would
        stand: `transcript`, `arguments` and `result` of a function, `event` (a frame that is kept as it
        is), `error`, or `metadata` (the application's own, and tags).
        """
        ...


class RecordingUrl(Protocol):
    """What `voicespan.configure(recording_url=...)` takes."""

    def __call__(self, conversation: Any) -> str | None:
        """Return where the recording of this `Conversation`, which has just opened, will be; None: nowhere."""
        ...


@dataclass(frozen=True)
class Settings:
    """One conversation's settings."""

    events: Level = Level.STANDARD
    raw_events: bool = False
    #: Whether a generation has the session's instructions, tools and limits.
    request: bool = False
    #: Whether generations have the names of OpenTelemetry's draft for realtime sessions.
    draft_names: bool = False
    parent: Literal["root", "child"] = "root"
    #: Whether anything of what was said is kept at all.
    capture_content: bool = True
    #: Which of `TEXT_KINDS` and `AUDIO` are not.
    hide: frozenset[str] = frozenset()
    redact: Redact | None = field(default=None, compare=False)  # it may have any notion of being equal
    enabled: bool = True
    #: Seconds that a conversation waits for its resumption.
    resume_window: float = 30.0
    #: Which share of the conversations is recorded, where anything is recorded at all.
    record: float = 1.0
    record_source: Literal["app", "devices", "wire"] = "app"
    recording_format: str = "ogg"
    recording_url: RecordingUrl | None = field(default=None, compare=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables."""
        global _latest  # noqa: PLW0603  one for all conversations that have the same
        capture_content, hide = _kept(environ)
        found = cls(
            events=_LEVELS[_choice(environ, "VOICESPAN_EVENTS", _LEVELS, "standard")],
            raw_events=flag(environ, "VOICESPAN_RAW_EVENTS", default=False),
            request=flag(environ, "VOICESPAN_REQUEST", default=False),
            draft_names=_choice(environ, "VOICESPAN_SEMCONV", ("stable", "draft"), _semconv(environ))
            == "draft",
            parent="child"
            if _choice(environ, "VOICESPAN_PARENT", ("root", "child"), "root") == "child"
            else "root",
            capture_content=capture_content,
            hide=hide,
            redact=_redact,
            enabled=not flag(environ, "OTEL_SDK_DISABLED", default=False)
            and not flag(environ, "VOICESPAN_DISABLED", default=False),
            resume_window=_number(environ, "VOICESPAN_RESUME_WINDOW", 30.0),
            record=_share(environ, "VOICESPAN_RECORD") if _record is None else float(_record),
            record_source=_SOURCES[_choice(environ, "VOICESPAN_RECORD_SOURCE", _SOURCES, "app")],
            recording_format=_choice(environ, "VOICESPAN_RECORDING_FORMAT", _FORMATS, "ogg"),
            recording_url=_recording_url,
        )
        latest = _latest  # once: another thread may put another there, which is not what was found here
        hooks = found.redact, found.recording_url
        if found == latest and all(map(operator.is_, hooks, (latest.redact, latest.recording_url))):
            return latest
        _latest = found
        return found

    @property
    def keeps_audio(self) -> bool:
        """Whether a recording may be made or attached."""
        return self.capture_content and AUDIO not in self.hide


#: Seconds past which a number is a mistake.
_FOREVER = 1e9

_latest = Settings()
_warned: set[str] = set()
_redact: Redact | None = None
_record: float | bool | None = None
_recording_url: RecordingUrl | None = None


def set_redaction(redact: Redact | None) -> None:
    """The hook for all conversations from the next one on; see `voicespan.configure`.

    Raises:
        TypeError: it is no plain function, so it would never return a text.
    """
    global _redact  # noqa: PLW0603  one per process, like the tracer provider
    if redact is not None and (not callable(redact) or _is_async(redact)):
        raise TypeError("redact is a plain function: redact(text, *, role, place) -> str")
    _redact = redact


def set_recording_url(recording_url: RecordingUrl | None) -> None:
    """Who says where recordings will be, for all conversations from the next one on; see `voicespan.configure`.

    Raises:
        TypeError: it is no plain function, so it would never return a text.
    """
    global _recording_url  # noqa: PLW0603  as above
    if recording_url is not None and (not callable(recording_url) or _is_async(recording_url)):
        raise TypeError("recording_url is a plain function: recording_url(conversation) -> str")
    _recording_url = recording_url


def _is_async(function: object) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415  most processes have no hook

    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  of an object


def _misread(name: str, default: object) -> None:
    _warn_once(name, "using", default)


def _warn_once(name: str, verb: str, what: object) -> None:
    if name not in _warned:
        _warned.add(name)
        _logger.warning("%s has a value that voicespan does not know; %s %s", name, verb, what)


def _kept(environ: Mapping[str, str]) -> tuple[bool, frozenset[str]]:
    """Whether content is kept, and which kinds of it are not. What is not understood keeps nothing."""
    captured = _CONTENT.get(environ.get(_CAPTURE, "").strip().lower())
    named = {name.strip().lower() for name in environ.get(_HIDE, "").split(",")} - {"", "none", *_NO}
    known = {*TEXT_KINDS, AUDIO}
    if named & {"all", *_YES}:
        captured, named = False, known
    if captured is None:
        _warn_once(_CAPTURE, "keeping", "no content")
    if named - known:
        _warn_once(_HIDE, "keeping", "no content")
        captured = False
    return bool(captured), frozenset(named & known)


def set_recording(share: float | bool | None) -> None:
    """The share of conversations that is recorded, for all from the next one on; None: VOICESPAN_RECORD's."""
    global _record  # noqa: PLW0603  as above
    if share is not None and not 0 <= share <= 1:
        raise ValueError("record is a share of the conversations: 0 to 1")
    _record = share


def _semconv(environ: Mapping[str, str]) -> str:
    """What OpenTelemetry's own variable asks for."""
    named = environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return "draft" if "gen_ai_latest_experimental" in map(str.strip, named) else "stable"


def _share(environ: Mapping[str, str], name: str) -> float:
    """0 to 1, or yes and no."""
    value = environ.get(name, "").strip().lower()
    if value in _YES:
        return 1.0
    if value and value in _NO:
        return 0.0
    share = _number(environ, name, 1.0)
    if share > 1:
        _misread(name, 1.0)
        return 1.0
    return share


def _choice(
    environ: Mapping[str, str], name: str, known: Mapping[str, object] | tuple[str, ...], default: str
) -> str:
    value = environ.get(name, "").strip().lower()
    if value in known:
        return value
    if value:
        _misread(name, default)
    return default


def flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "").strip().lower()
    if value in _YES:
        return True
    if value and value not in _NO:
        _misread(name, default)
    return default if not value else False


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    value = environ.get(name, "").strip()
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < _FOREVER:
        _misread(name, default)
        return default
    return number
