"""A conversation as one HTML file that needs nothing else and sends nothing anywhere."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import html
import json
from datetime import datetime, timezone
from importlib import resources
from typing import TYPE_CHECKING, Any

from voicespan.report import sound, story
from voicespan.tracing import semconv
from voicespan.tracing.figures_in_words import in_words
from voicespan.tracing.spans.figures import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.report.call import Call

#: Texts that are nobody's words.
_OURS = frozenset({
    semconv.SPAN_KIND, semconv.EVENT_TYPE, semconv.MODALITY, semconv.INTEGRATION, semconv.INTEGRATION_VERSION,
    semconv.PROVIDER, semconv.SYSTEM, semconv.OPERATION, semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL,
    semconv.OUTPUT_TYPE, semconv.TOOL_NAME, semconv.AUDIO_ATTACH_STATUS, semconv.THREAD_ID,
    semconv.CONVERSATION_ID, semconv.REALTIME_SESSION_ID,
    *(semconv.METADATA + name for name in (
        "status", "outcome", "cause", "response_gap_basis", "response_gap_from", "figures_basis", "recording", "recording_source",
    )),
})  # fmt: skip
_HIDDEN = "[redacted]"
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; media-src data: blob:{connect}; "
    "script-src 'sha256-{script}'; style-src 'sha256-{style}'"
)


def report(call: Call, *, with_audio: bool = True, redacted: bool = False) -> bytes:
    """The page of one conversation.

    Args:
        call: The conversation.
        with_audio: Whether its recording is inside.
        redacted: Leave out what was said, arguments and results, and the recording.

    Raises:
        OSError: the recording cannot be read.
    """
    data = data_of(call, redacted=redacted)
    audio = ""
    if call.recording is not None and with_audio and not redacted:
        content = base64.b64encode(call.recording.read_bytes()).decode()
        audio = f"data:{call.mime_type};base64,{content}"
    return page(data, audio=audio)


def data_of(call: Call, *, redacted: bool = False) -> dict[str, Any]:
    """What the page shows, as JSON can hold it."""
    heard = sound.SILENCE
    if call.recording is not None:
        try:
            heard = sound.look(call.recording)
        except (OSError, RuntimeError):
            # One that is being written, or that libsndfile does not know: the rest is shown all the same.
            heard = sound.SILENCE
    data = story.tell(call, heard)
    return _without_words(data) if redacted else data


def page(data: dict[str, Any], *, audio: str = "", live: str = "") -> bytes:
    """The page that shows `data`. `audio`: the URL of the recording; `live`: where newer data is asked for."""
    packed = base64.b64encode(gzip.compress(json.dumps(data, ensure_ascii=False).encode(), mtime=0)).decode()
    policy = _POLICY.format(
        connect=" 'self'; connect-src 'self'" if live or audio.startswith("/") else "",
        script=_hash(_asset("page.js")),
        style=_hash(_asset("page.css")),
    )
    title = f"{data['thread'] or data['name']}"
    return "".join([
        "<!doctype html>\n<html lang=en><meta charset=utf-8>",
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name=viewport content="width=device-width"><meta name=referrer content=no-referrer>',
        f"<title>{_text(title)}</title><style>{_asset('page.css')}</style>",
        f'<body data-live="{_text(live)}">',
        _head(data),
        '<div id=stage hidden><canvas id=lanes tabindex=0 role=img aria-label="the call on a time line"></canvas></div>',
        f'<audio id=audio controls preload=auto src="{_text(audio)}"></audio>' if audio else "",
        "<div id=detail hidden></div>",
        "<main><h2>What was said</h2><ol id=said>", *_said(data), "</ol>",
        "<h2>Figures</h2><div id=figures>", *_figures(data), "</div>",
        "<details id=spans><summary>All spans</summary><ol>", *_spans(data), "</ol></details></main>",
        f'<script type="application/json" id=voicespan data-encoding=gzip+base64>{packed}</script>',
        f"<script>{_asset('page.js')}</script></body></html>\n",
    ]).encode()  # fmt: skip


def _head(data: dict[str, Any]) -> str:
    started = datetime.fromtimestamp(data["started"] / 1000, tz=timezone.utc)
    failed = [span for span in data["spans"] if span["error"]]
    problems = "".join(
        f'<li><button data-span-id="{_text(span["id"])}" data-start="{span["start"]}">{_text(span["name"])}</button> '
        f"{_text(span['error'])}</li>"
        for span in failed
    )
    words = in_words(data["figures"])
    return (
        f"<header><h1>{_text(data['thread'] or data['name'])}</h1>"
        f"<p>{started:%Y-%m-%d %H:%M:%S} UTC, {_clock(data['seconds'])}"
        f"{', <strong id=running>running</strong>' if data['running'] else ''}</p>"
        f"{f'<p id=call>{_text(words)}</p>' if words else ''}"
        f"{f'<ul id=errors>{problems}</ul>' if problems else ''}</header>"
    )


def _said(data: dict[str, Any]) -> Iterator[str]:
    by_end = {round(gap["end"], 2): gap for gap in data["gaps"]}
    for each in data["said"]:
        gap = by_end.get(round(each["start"], 2)) if each["who"] == "agent" else None
        after = f"<small>after {gap['ms']} ms</small> " if gap else ""
        words = "".join(
            f'<span data-start="{start}" data-end="{end}">{_text(word)}</span>'
            for word, start, end in each["words"]
        )
        unheard = f"<s>{_text(each['unheard'])}</s>" if each["unheard"] else ""
        yield (
            f'<li class={each["who"]} data-span-id="{_text(each["span"])}"><time>{_clock(each["start"])}</time> '
            f"<b>{each['who']}</b> {after}<q>{words}{unheard}</q></li>"
        )


def _figures(data: dict[str, Any]) -> Iterator[str]:
    """A table each of what the call was like, of what it used, and of the rest."""
    tables: dict[str, list[str]] = {"The call": [], "Tokens and cost": [], "Everything else": []}
    for name, value in data["figures"].items():
        uses = "token" in name or name.startswith("cost")
        kind = "The call" if name in SCORES else "Tokens and cost" if uses else "Everything else"
        shown = ("no", "yes")[value] if isinstance(value, bool) else value
        tables[kind].append(f"<tr><th>{_text(name)}<td>{_text(shown)}")
    for kind, rows in tables.items():
        if rows:
            yield f"<table><caption>{kind}</caption>{''.join(rows)}</table>"


def _spans(data: dict[str, Any]) -> Iterator[str]:
    for span in data["spans"]:
        seconds = span["end"] - span["start"]
        yield (
            f'<li data-span-id="{_text(span["id"])}"{" class=error" if span["error"] else ""}>'
            f"<time>{_clock(span['start'])}</time> {_text(span['name'])} <small>{seconds:.3f} s</small></li>"
        )


def _without_words(data: dict[str, Any]) -> dict[str, Any]:
    """The same without text of speech, arguments or results, and without what the application says of the call."""
    for each in data["said"]:
        each["text"], each["unheard"] = _HIDDEN, ""
        each["words"] = [(_HIDDEN, each["start"], each["end"])]
    for span in data["spans"]:
        span["attributes"] = {
            key: value if _is_harmless(key, value) else _HIDDEN for key, value in span["attributes"].items()
        }
        span["error"] = span["error"] and "error"
    data["figures"] = {
        name: value for name, value in data["figures"].items() if _is_harmless(semconv.METADATA + name, value)
    }
    data["error"] = data["error"] and "error"
    return data


def _is_harmless(key: str, value: object) -> bool:
    """Whether an attribute holds none of anybody's words: a number, or a text whose words are ours or the service's."""
    return isinstance(value, (bool, int, float)) or key in _OURS


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _text(value: object) -> str:
    return html.escape(str(value))


@functools.cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
