"""The transcript as the root tells it, again and again while a call goes on."""

from __future__ import annotations

import json

import pytest

from voicespan.tracing.messages import without_parts
from voicespan.tracing.spans.transcript import Transcript


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
    told_first = '{"role":"assistant","parts":[{"type":"text","content":"Hello"}]}'
    assert transcript.messages() == [("assistant", told_first, "")]

    change(transcript, entry)

    ((_, message, _),) = transcript.messages()
    assert without_parts(json.loads(message)) == {"role": "assistant", "content": "Hello", **told}


def test_of_a_long_call_only_the_newest_messages_are_found_by_their_id():
    transcript = Transcript(10_000_000)
    for n in range(1_200):
        transcript.write(transcript.place(f"item_{n}", "user", after=f"item_{n - 1}"), f"text {n}")
    assert transcript.find("item_699") is None
    assert transcript.find("item_700") is not None
    assert len(transcript._by_id) == 500
    # All of them are told.
    assert [without_parts(json.loads(message.json))["content"] for message in transcript.messages()] == [
        f"text {n}" for n in range(1_200)
    ]


def test_what_loses_from_its_middle_forgets_the_ids_of_what_is_gone():
    transcript = Transcript(2_000)
    for n in range(100):
        transcript.write(transcript.place(f"item_{n}", "user"), f"text {n}")
    assert transcript.omitted > 0
    assert set(transcript._by_id.values()) == set(transcript)
