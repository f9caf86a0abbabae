"""What a page shows of a conversation: who said what when, gaps, barge-ins, tools, what was never heard, figures.

All times are seconds of the recording.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from voicespan.report.sound import SILENCE
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from voicespan.report.call import Call, CallSpan
    from voicespan.report.sound import Sound

#: The parts of a response gap, in the order in which they pass.
_PARTS = ("endpointing", "stt", "model", "llm", "tool", "tts", "unnamed", "playout")
#: Whose spans say what was said; in a cascade the calls of its parts do.
_SAID = {"user": ("input_transcription", "stt"), "agent": ("output_transcription", "tts")}
_WORDS = re.compile(r"\S+\s*")
#: Seconds: speech that begins so much before the first word of it was received is of that answer.
_EARLY = 0.35
#: Metadata of a root that stands elsewhere on the page, or nowhere.
_NOT_FIGURES = ("ls_", "thread_id", "realtime_session_id")


def tell(call: Call, sound: Sound = SILENCE) -> dict[str, Any]:
    """Everything that the page draws, as JSON can hold it."""
    said = _said(call, sound)
    return {
        "name": call.name,
        "thread": call.thread_id,
        "running": call.running,
        "started": call.root.start_ns // 1_000_000,
        "seconds": round(max(sound.seconds, call.seconds(call.root.end_ns)), 3),
        "offset": round(call.seconds(call.root.start_ns), 3),
        "error": call.root.error,
        "peaks": sound.peaks,
        "speech": sound.speech,
        "said": said,
        "gaps": [gap for span in call.spans if (gap := _gap(call, span, said)) is not None],
        "cuts": [_cut(call, span) for span in call.spans if span.name == "interrupted"],
        "unheard": _unheard(call, said),
        "figures": _figures(call.root),
        "spans": [_span(call, span) for span in call.everything],
    }


def _said(call: Call, sound: Sound) -> list[dict[str, Any]]:
    """What each side said, with the times of its words, in the order in which it was spoken."""
    found = [
        *_side(call, "user", sound.speech[0]),
        *_side(call, "agent", sound.speech[1]),
    ]
    return sorted(found, key=lambda each: each["start"])


def _side(call: Call, who: str, speech: list[tuple[float, float]]) -> list[dict[str, Any]]:
    spans = [span for span in call.spans if span.name in _SAID[who] and _text(span)]
    left = list(speech)
    shares = _heard_shares(call, spans) if who == "agent" else {}
    found = []
    for index, span in enumerate(spans):
        start, end = call.seconds(span.start_ns), call.seconds(span.end_ns)
        if who == "user":
            # The words come when they have been said: what was spoken before they came is theirs.
            mine = [each for each in left if each[0] < end]
        else:
            following = call.seconds(spans[index + 1].start_ns) if index + 1 < len(spans) else end + 3600
            mine = [each for each in left if start - _EARLY <= each[0] < following - _EARLY]
        left = [each for each in left if each not in mine]
        text = _text(span)
        heard, unheard = _cut_text(text, shares.get(span.span_id, 1.0))
        found.append({
            "who": who,
            "span": span.span_id,
            "text": text,
            "start": round(mine[0][0] if mine else start, 3),
            "end": round(mine[-1][1] if mine else max(end, start), 3),
            "words": _words(heard, mine or [(start, max(end, start))]),
            "unheard": unheard,
        })  # fmt: skip
    return found


def _heard_shares(call: Call, spans: list[CallSpan]) -> dict[str, float]:
    """How much was heard of what a cascade was to say and was cut off, by the ids of the spans that hold the words.

    A transcript of a service's own is cut where its answer was.
    """
    shares = {}
    for cut in call.spans:
        heard, generated = cut.fact("heard_ms"), cut.fact("generated_ms")
        before = [span for span in spans if span.start_ns <= cut.start_ns]
        if (
            cut.name == "interrupted"
            and before
            and before[-1].name == "tts"
            and heard is not None
            and generated
        ):
            shares[before[-1].span_id] = min(heard / generated, 1.0)
    return shares


def _cut_text(text: str, share: float) -> tuple[str, str]:
    """What was heard of a text, to the end of a word, and the rest."""
    done = 0
    for word in _WORDS.findall(text):
        if done >= share * len(text):
            break
        done += len(word)
    return text[:done], text[done:]


def _words(text: str, speech: list[tuple[float, float]]) -> list[tuple[str, float, float]]:
    """Each word with its times: all of the speech, shared by the lengths of the words."""
    words = _WORDS.findall(text)
    letters = sum(map(len, words)) or 1
    whole = sum(end - start for start, end in speech)
    times, done = [], 0
    for word in words:
        begins, done = _at(speech, whole * done / letters), done + len(word)
        ends = _at(speech, whole * done / letters, ending=True)
        times.append((word, round(begins, 3), round(max(ends, begins), 3)))
    return times


def _at(speech: list[tuple[float, float]], spoken: float, *, ending: bool = False) -> float:
    """When so many seconds of the speech have been spoken."""
    for start, end in speech:
        if spoken < end - start or (ending and spoken <= end - start):
            return start + spoken
        spoken -= end - start
    return speech[-1][1]


def _text(span: CallSpan) -> str:
    return " ".join(str(message.get("content") or "") for message in span.messages).strip()


def _gap(call: Call, span: CallSpan, said: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The response gap before an answer, with its parts one after the other."""
    whole = span.fact("response_gap_ms")
    if not isinstance(whole, (int, float)):
        return None
    answer = _answer(call, span, said)
    if answer is None:
        # Nothing says where it ends: the figure stands on its span, and no bracket is drawn in a wrong place.
        return None
    ends = answer["start"]
    at = ends - whole / 1000
    parts = []
    for name in _PARTS:
        lasts = span.fact(f"{name}_ms")
        if isinstance(lasts, (int, float)) and lasts:
            parts.append({"name": name, "ms": lasts})
    return {
        "span": span.span_id,
        "start": round(at, 3),
        "end": round(ends, 3),
        "ms": round(whole),
        "parts": parts,
        "basis": span.fact("response_gap_basis"),
    }


def _answer(call: Call, span: CallSpan, said: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What of what was said is this answer."""
    response = span.fact("response_id")
    by_id = {each.span_id: each for each in call.spans}
    for each in said:
        its = by_id[each["span"]]
        if each["who"] == "agent" and (
            its is span
            or (response is not None and its.fact("response_id") == response)
            or (response is None and span.start_ns <= its.start_ns <= span.end_ns)
        ):
            return each
    return None


def _cut(call: Call, span: CallSpan) -> dict[str, Any]:
    return {
        "span": span.span_id,
        "at": round(call.seconds(span.start_ns), 3),
        "cause": span.fact("cause"),
        "heard_ms": span.fact("heard_ms"),
        "generated_ms": span.fact("generated_ms"),
        "barge_in_ms": span.fact("barge_in_ms"),
    }


def _unheard(call: Call, said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was generated and never heard: it would have followed what was."""
    found = []
    for span in call.spans:
        heard, generated = span.fact("heard_ms"), span.fact("generated_ms")
        is_cut = span.fact("interrupted") is True or (span.name == "interrupted" and _is_cascade(call))
        if not is_cut or not heard or not generated or generated <= heard:
            continue
        answer = _answer(call, span, said)
        if answer is None:
            answer = next(
                (each for each in reversed(said) if each["who"] == "agent" and each["unheard"]), None
            )
        begins = answer["end"] if answer is not None else call.seconds(span.end_ns)
        found.append({
            "span": span.span_id,
            "start": round(begins, 3),
            "end": round(begins + (generated - heard) / 1000, 3),
        })  # fmt: skip
    return found


def _is_cascade(call: Call) -> bool:
    return any(span.name == "tts" for span in call.spans)


def _figures(root: CallSpan) -> dict[str, Any]:
    figures = {
        name: value
        for key, value in root.attributes.items()
        if key.startswith(semconv.METADATA)
        and not (name := key.removeprefix(semconv.METADATA)).startswith(_NOT_FIGURES)
    }
    attached = root.attributes.get(semconv.AUDIO_ATTACH_STATUS)
    if attached is not None:
        # What became of the recording is known after the root has said what was known of it.
        figures["recording"] = attached
    return figures


def _span(call: Call, span: CallSpan) -> dict[str, Any]:
    return {
        "id": span.span_id,
        "parent": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "start": round(call.seconds(span.start_ns), 3),
        "end": round(call.seconds(span.end_ns), 3),
        "error": span.error,
        "attributes": dict(span.attributes),
    }
