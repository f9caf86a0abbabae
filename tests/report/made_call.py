"""A call in which everything happens that a page shows, with a recording that was drawn and not spoken."""

from __future__ import annotations

import json

import numpy as np
import soundfile

RATE = 16_000
#: The recording begins here, and the conversation a second before.
STARTED = 1_790_000_000.0
TRACE, ROOT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NAME = f"20260921T143319-{TRACE}-{ROOT[:6]}"
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def attribute(key, value):
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def span(name, number, start, end, *, error=None, kind="chain", **attributes):
    """A span with times in seconds of the recording; `__` in a name is a dot."""
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": ROOT,
        "name": name,
        "startTimeUnixNano": str(round((STARTED + start) * 1e9)),
        "endTimeUnixNano": str(round((STARTED + end) * 1e9)),
        "attributes": [attribute("langsmith.span.kind", kind), *(attribute(*each) for each in named.items())],
        "status": {} if error is None else {"code": 2, "message": error},
    }


def message(role, content):
    return json.dumps({"messages": [{"role": role, "content": content}]})


META = "langsmith__metadata__"


def spans():
    """The user asks from 1 to 2 s; the agent answers from 3 to 4.5 s, where the user cuts in, with half of it unheard."""
    root = span("conversation", 0, -1.0, 8.0, **{
        META + "ls_modality": "audio", META + "thread_id": "booking-7", META + "status": "completed",
        META + "turn_count": 1, META + "user_turn_count": 3, META + "unanswered_turn_count": 1,
        META + "ls_audio_recording_started_at": STARTED, META + "customer": "Ms Smith",
    })  # fmt: skip
    root.update(spanId=ROOT, parentSpanId="")
    return [
        span("input_transcription", 1, 2.2, 2.3, gen_ai__prompt=message("user", "Is a table free tonight?")),
        span("function_call: find", 2, 2.4, 2.7, kind="tool", gen_ai__prompt='{"people": 4}'),
        span("lookup", 3, 2.4, 2.6, error="no such table", kind=""),
        span("output_transcription", 4, 2.9, 4.6, gen_ai__completion=message("assistant", "Yes one by the window")),
        span("turn_complete", 5, 2.3, 4.6, kind="llm", **{
            META + "response_gap_ms": 1000, META + "endpointing_ms": 300, META + "model_ms": 400,
            META + "tool_ms": 300, META + "response_gap_basis": "app", META + "interrupted": True,
            META + "heard_ms": 1500, META + "generated_ms": 3000,
        }),
        span("interrupted", 6, 4.5, 4.5, **{META + "cause": "conversation.item.truncate"}),
        span("input_transcription", 7, 6.2, 6.2, gen_ai__prompt=message("user", HOSTILE)),
        root,
    ]  # fmt: skip


def write_call(folder, name=NAME, written=None):
    """A directory as it is kept."""
    call = folder / name
    call.mkdir(parents=True, mode=0o700)
    lines = [
        json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "voicespan"}, "spans": [each]}]}]})
        for each in (spans() if written is None else written)
    ]
    (call / "spans.jsonl").write_text("\n".join(lines) + "\n")
    facts = {
        "thread_id": "booking-7",
        "duration_s": 9.0,
        "metadata": {
            "status": "completed",
            "turn_count": 1,
            "unanswered_turn_count": 1,
            "longest_silence_s": 7.25,
        },
    }
    (call / "conversation.json").write_text(json.dumps(facts))
    seconds = np.arange(8 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * seconds)
    user = tone * (((seconds >= 1) & (seconds < 2)) | ((seconds >= 4.4) & (seconds < 6)))
    agent = tone * ((seconds >= 3) & (seconds < 4.5))
    soundfile.write(
        call / "recording.ogg", np.stack([user, agent], axis=1), RATE, format="OGG", subtype="OPUS"
    )
    return call
