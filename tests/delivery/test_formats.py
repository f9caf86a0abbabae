"""What stands on disk and goes over the wire: journals that a kill tore, bodies that are larger than memory."""

from __future__ import annotations

import base64
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from voicespan.delivery.encoding import journal
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.encoding.protobuf import Base64, Message, field, varint
from voicespan.delivery.export import requests
from voicespan.delivery.export.delivery_state import Batch, DeliveryState, Encoding, Step
from voicespan.delivery.export.responses import Action, Answer, retry_after
from voicespan.delivery.spool.files import Memory
from voicespan.delivery.spool.folder import Folder, RecordingResult
from voicespan.delivery.spool.meta import Meta


def read(content, *where):
    return [(record.kind, record.payload) for record in journal.read(io.BytesIO(content), *where)]


records = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=300)), max_size=8)


@given(records)
def test_a_journal_gives_back_what_was_written(written):
    content = b"".join(journal.record(kind, payload) for kind, payload in written)
    assert read(content) == written


@given(records, st.data())
def test_a_journal_that_was_cut_anywhere_gives_every_whole_record(written, data):
    encoded = [journal.record(kind, payload) for kind, payload in written]
    content = b"".join(encoded)
    cut = data.draw(st.integers(0, len(content)))
    whole, end = 0, 0
    for record in encoded:
        end += len(record)
        whole += end <= cut
    assert read(content[:cut]) == written[:whole]


@given(records, records, st.binary(min_size=1, max_size=200))
def test_damage_in_the_middle_costs_only_what_it_hit(before, after, damage):
    content = [b"".join(journal.record(kind, payload) for kind, payload in part) for part in (before, after)]
    found = read(content[0] + damage + content[1])
    assert found[: len(before)] == before
    # The damage may look like the beginning of a record, and swallow what it claims to hold.
    assert all(record in after for record in found[len(before) :])
    if not any(magic in damage for magic in (b"\xf5",)):
        assert found == before + after


def test_a_record_with_a_flipped_bit_is_not_read():
    first, second = journal.record(Kind.SPAN, b"first"), journal.record(Kind.SPAN, b"second")
    broken = first[:-1] + bytes([first[-1] ^ 1])
    assert read(broken + second) == [(Kind.SPAN, b"second")]


def test_an_envelope_keeps_its_two_parts_apart():
    envelope = Envelope(b"resource", b"scope")
    assert Envelope.of(envelope.payload()) == envelope


@given(st.integers(1, 0xFFFFFFFF))
def test_varints_are_protobufs(value):
    encoded = Span(dropped_attributes_count=value).SerializeToString()
    assert encoded == varint(10 << 3) + varint(value)


@given(st.binary(max_size=700_000))
def test_base64_is_the_same_in_pieces(content):
    part = Base64(len(content), lambda: io.BytesIO(content))
    assert b"".join(part) == base64.b64encode(content)
    assert len(part) == len(base64.b64encode(content))


def test_a_recording_that_grows_is_sent_as_long_as_it_was():
    part = Base64(3, lambda: io.BytesIO(b"abcdef"))
    assert b"".join(part) == base64.b64encode(b"abc")


def test_a_message_knows_its_length_and_comes_in_pieces():
    message = Message(
        [*field(1, b"x" * 500_000, Base64(900_000, lambda: io.BytesIO(bytes(900_000)))), b"end"]
    )
    pieces = list(message)
    assert sum(map(len, pieces)) == len(message)
    assert max(map(len, pieces)) <= 600_000
    assert list(message) == pieces


@pytest.fixture
def folder(tmp_path):
    made = Folder.create(tmp_path, "one", Meta({}, 0, "aa" * 16, "bb" * 8), None, Memory(0))
    yield made
    made.release()


def envelope(name):
    resource = ResourceSpans(resource=Resource(), schema_url=f"of {name}")
    return Envelope(resource.SerializeToString(), ScopeSpans(schema_url=name).SerializeToString())


def span(number, size=0):
    return Span(name=f"span {number}", span_id=bytes([number]) * 8, trace_state="x" * size)


def contents(body):
    request = ExportTraceServiceRequest.FromString(b"".join(body))
    return [
        (scope.schema_url, [each.name for each in scope.spans])
        for resource in request.resource_spans
        for scope in resource.scope_spans
    ]


def test_batches_are_valid_requests_grouped_by_what_spans_have_in_common(folder):
    folder.append(envelope("a"), [span(1).SerializeToString(), span(2).SerializeToString()])
    folder.append(envelope("b"), [span(3).SerializeToString()])
    folder.append(envelope("a"), [span(4).SerializeToString()])
    progress = DeliveryState()
    assert requests.cut(folder, progress)
    [batch] = progress.batches
    assert contents(requests.batch_body(folder, batch)) == [
        ("a", ["span 1", "span 2", "span 4"]),
        ("b", ["span 3"]),
    ]


def test_batches_are_cut_once_by_count_and_size(folder, monkeypatch):
    monkeypatch.setattr(requests, "BATCH_SPANS", 3)
    monkeypatch.setattr(requests, "BATCH_BYTES", 1000)
    folder.append(envelope("a"), [span(number).SerializeToString() for number in range(7)])
    folder.append(
        envelope("b"), [span(7, size=600).SerializeToString(), span(8, size=600).SerializeToString()]
    )
    progress = DeliveryState()
    requests.cut(folder, progress)
    assert [batch.spans for batch in progress.batches] == [3, 3, 2, 1]
    assert not requests.cut(folder, progress)
    folder.append(envelope("b"), [span(9).SerializeToString()])
    requests.cut(folder, progress)
    assert [batch.spans for batch in progress.batches] == [3, 3, 2, 1, 1]
    seen = [contents(requests.batch_body(folder, batch)) for batch in progress.batches]
    assert seen[2] == [("a", ["span 6"]), ("b", ["span 7"])]
    assert seen[4] == [("b", ["span 9"])]


def test_halves_hold_what_the_whole_held(folder):
    folder.append(envelope("a"), [span(number).SerializeToString() for number in range(4)])
    folder.append(envelope("b"), [span(4).SerializeToString()])
    progress = DeliveryState()
    requests.cut(folder, progress)
    first, second = requests.halves(folder, progress.batches[0])
    assert contents(requests.batch_body(folder, first)) == [("a", ["span 0", "span 1"])]
    assert contents(requests.batch_body(folder, second)) == [("a", ["span 2", "span 3"]), ("b", ["span 4"])]
    assert (first.spans, second.spans) == (2, 3)


def test_the_root_carries_its_recording_as_langsmith_wants_it(folder):
    request = ExportTraceServiceRequest()
    root = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(name="conversation", start_time_unix_nano=10**18)
    )
    root.attributes.add(key="kept").value.int_value = 1
    folder.end(request.SerializeToString())
    folder.files.replace("attachment.ogg", b"recording")
    settled = RecordingResult("attached", "attachment.ogg", 'audio/"odd', 10**9 - 0.25)
    body = requests.root_body(folder, DeliveryState(), settled)
    [(_, [name])] = contents(body)
    assert name == "conversation"
    sent = ExportTraceServiceRequest.FromString(b"".join(body)).resource_spans[0].scope_spans[0].spans[0]
    values = {attribute.key: attribute.value for attribute in sent.attributes}
    assert json.loads(values["langsmith.attachments"].string_value) == [
        {
            "name": "conversation",
            "mime_type": 'audio/"odd',
            "content": base64.b64encode(b"recording").decode(),
        }
    ]
    assert values["kept"].int_value == 1
    assert values["langsmith.metadata.ls_audio_recording_start_offset_ms"].int_value == -250


def test_a_damaged_progress_sends_again_and_believes_a_409():
    progress = DeliveryState.of(b'{"batches": [{"segm')
    assert progress.next(0.0, has_root=True) is Step.ROOT
    assert progress.sending(Step.ROOT)
    progress.answered(Step.ROOT, Answer(409), 1.0, sent_before=True)
    assert progress.next(1.0, has_root=True) is Step.DONE
    assert not progress.root_was_there


def test_progress_is_read_as_it_was_written():
    progress = DeliveryState(
        {"a": 3}, [Batch("a", 0, 3, 0, 1, sent=True, delivered_at=2.0)], encoding=Encoding.SMALLER
    )
    assert DeliveryState.of(progress.encoded()) == progress
    assert DeliveryState.of(None) == DeliveryState()


def test_every_status_has_a_reaction():
    reactions = {status: Answer(status).action for status in range(200, 600)}
    assert {status for status, reaction in reactions.items() if reaction is Action.DELIVERED} == set(
        range(200, 300)
    )
    assert {status for status, reaction in reactions.items() if reaction is Action.LATER} == {
        408,
        425,
        429,
        *range(500, 600),
    }
    assert {status for status, reaction in reactions.items() if reaction is Action.REFUSED} == {400, 422}
    assert {status for status, reaction in reactions.items() if reaction is Action.KEY} == {401, 403}
    assert (reactions[409], reactions[413]) == (Action.DUPLICATE, Action.TOO_LARGE)
    assert Answer(None).action is Action.LATER


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_with_care(header, seconds):
    assert retry_after(header, 0.0) == seconds
