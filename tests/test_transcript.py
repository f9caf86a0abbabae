"""The transcript as the root tells it, again and again while a call goes on."""

from __future__ import annotations

import json

import pytest

from voicespan.spans.transcript import Transcript


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda transcript, entry: transcript.write(entry, "Hello again"), {"content": "Hello again"}),
        (lambda transcript, entry: transcript.write(entry, "again", 1), {"content": "Hello again"}),
        (
            lambda transcript, entry: transcript.call(entry, {"id": "call_1"}),
            {"tool_calls": [{"id": "call_1"}]},
        ),
        (lambda _, entry: entry.note(interrupted=True), {"metadata": {"interrupted": True}}),
        (lambda _, entry: entry.answers("call_1", "add"), {"tool_call_id": "call_1", "name": "add"}),
    ],
)
def test_a_message_that_was_told_before_is_told_anew_when_it_has_changed(change, told):
    transcript = Transcript(10_000)
    entry = transcript.place("item_1", "assistant")
    transcript.write(entry, "Hello")
    assert transcript.messages() == [("assistant", '{"role":"assistant","content":"Hello"}')]

    change(transcript, entry)

    ((_, message),) = transcript.messages()
    assert json.loads(message) == {"role": "assistant", "content": "Hello", **told}
