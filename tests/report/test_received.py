"""`voicespan view --otlp`: any process that sends its traces here shows up, with its recording."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from made_call import NAME, TRACE, write_call
from opentelemetry.exporter.otlp.proto.http.trace_exporter import Compression, OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import voicespan
from voicespan.cli import view
from voicespan.delivery.encoding import otlp_json
from voicespan.report import find, otlp
from voicespan.report.received import Received
from voicespan.report.server import Viewer

SECOND = (np.sin(np.arange(24_000) / 10) * 9_000).astype("<i2").tobytes()
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def viewer(folder):
    folder.mkdir(mode=0o700, exist_ok=True)
    started, tidied = [], []

    def start(host="127.0.0.1"):
        received = Received(folder, tidy=lambda: tidied.append(folder))
        server = Viewer(folder, host, tidy=lambda: view.finish(folder), received=received)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server, method, path, body=None, headers=None, *, chunked=False):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, headers or {}, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def lines_of(call):
    """The spans of a kept call as one request."""
    groups = [json.loads(line) for line in (call / "spans.jsonl").read_text().splitlines()]
    return {"resourceSpans": [group for each in groups for group in each["resourceSpans"]]}


@pytest.fixture
def sent(tmp_path):
    """A call as somebody's exporter sends it; the recording is on its root."""
    call = write_call(tmp_path / "elsewhere")
    request = lines_of(call)
    content = base64.b64encode((call / "recording.ogg").read_bytes()).decode()
    attached = [{"name": "conversation", "content": content, "mime_type": "audio/ogg"}]
    root = next(
        span
        for group in request["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
        if not span.get("parentSpanId")
    )
    root["attributes"].append(
        {"key": "langsmith.attachments", "value": {"stringValue": json.dumps(attached)}}
    )
    return request


# Real exporters.


def test_our_own_processor_delivers_here_as_to_a_collector(viewer, folder, tmp_path, monkeypatch):
    server = viewer()
    monkeypatch.setenv("VOICESPAN_ENDPOINT", server.traces_url)
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(voicespan.LangSmithSpanProcessor())
    conversation = voicespan.Conversation(tracer_provider=provider, thread_id="booking-7")
    conversation.recorder.user(SECOND, 24_000)
    conversation.recorder.agent(SECOND, 24_000)
    with conversation.use():
        provider.get_tracer("application").start_span("look up").end()
    conversation.end()
    assert provider.force_flush(20_000)
    provider.shutdown()
    [call] = find.calls(folder)
    found = find.read(call)
    assert (found.thread_id, [span.name for span in found.spans]) == ("booking-7", ["look up"])
    assert found.recording is not None
    assert found.recording.stat().st_mode & 0o077 == call.stat().st_mode & 0o077 == 0
    facts = find.facts(call)
    assert facts["recording"]["status"] == "attached"
    assert b"langsmith.attachments" not in (call / "spans.jsonl").read_bytes()
    assert b"booking-7" in ask(server, "GET", "/")[1]
    page = ask(server, "GET", f"/call/{call.name}")
    assert page[0] == 200
    assert f"/call/{call.name}/recording".encode() in page[1]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_exporter_of_opentelemetry_shows_a_call_while_it_runs(viewer, folder, compression):
    server = viewer()
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(server.traces_url, compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    conversation = voicespan.Conversation(tracer_provider=provider, thread_id="booking-7")
    with conversation.llm(model="m", messages=[]) as llm:
        llm.output("Good evening")
    with conversation.use():
        clearing_up = provider.get_tracer("web").start_span("clear up")
    conversation.flush()
    [running] = find.calls(folder)
    assert running.name.startswith(".received-")
    name = running.name.removeprefix(".")
    assert b"running" in ask(server, "GET", "/")[1]
    data = json.loads(ask(server, "GET", f"/call/{name}/data")[1])
    assert (data["running"], data["thread"]) == (True, "booking-7")
    conversation.end()
    clearing_up.end()
    # Whoever looks at it goes on looking at it.
    data = json.loads(ask(server, "GET", f"/call/{name}/data")[1])
    assert (data["running"], data["thread"]) == (False, "booking-7")
    [call] = find.calls(folder)
    # What ends after the conversation is appended.
    assert [span.name for span in find.read(call).spans] == ["llm", "clear up"]
    provider.shutdown()


def test_what_is_no_conversation_is_not_shown(viewer, folder):
    server = viewer()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(server.traces_url)))
    provider.get_tracer("web").start_span("GET /").end()
    provider.shutdown()
    assert find.calls(folder) == []
    assert len(find.received(folder)) == 1


# Requests.


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_json_is_taken_whole(viewer, folder, sent, packed, chunked):
    server = viewer()
    body = json.dumps(sent).encode()
    headers = {**JSON, **({"Content-Encoding": "gzip"} if packed else {})}
    body = gzip.compress(body) if packed else body
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
        parts = iter([body[:1000], body[1000:]])
        assert ask(server, "POST", "/v1/traces", parts, headers, chunked=True) == (200, b"{}")
    else:
        assert ask(server, "POST", "/v1/traces", body, headers) == (200, b"{}")
    [call] = find.calls(folder)
    assert call.name.partition("-")[2] == NAME.partition("-")[2]
    there = find.read(call)
    elsewhere = find.read(folder.parent / "elsewhere" / NAME)
    assert (there.root.name, there.thread_id) == (elsewhere.root.name, elsewhere.thread_id)
    assert {span.span_id: dict(span.attributes) for span in there.spans} == {
        span.span_id: dict(span.attributes) for span in elsewhere.spans
    }
    assert there.recording.read_bytes() == elsewhere.recording.read_bytes()


def test_a_request_that_is_sent_again_changes_nothing(viewer, folder, sent):
    server = viewer()
    for _ in range(2):
        ask(server, "POST", "/v1/traces", json.dumps(sent), JSON)
    [call] = find.calls(folder)
    spans = find.read(call).everything
    assert len({span.span_id for span in spans}) == len(spans)


def test_a_recording_that_the_sender_keeps_in_a_folder_is_heard_from_there(viewer, folder, tmp_path):
    server = viewer()
    kept = write_call(tmp_path / "elsewhere")
    request = lines_of(kept)
    for group in request["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                if not span.get("parentSpanId"):
                    named = {"stringValue": str(kept / "recording.ogg")}
                    span["attributes"].append({"key": "voicespan.recording.path", "value": named})
    (kept / "conversation.json").write_text(json.dumps({"trace_id": TRACE}))
    ask(server, "POST", "/v1/traces", json.dumps(request), JSON)
    [call] = find.calls(folder)
    assert find.read(call).recording == kept / "recording.ogg"
    # Not any file that a sender names.
    (kept / "conversation.json").write_text(json.dumps({"trace_id": "0" * 32}))
    assert find.read(call).recording is None


def test_what_the_folder_has_already_is_not_there_twice(viewer, folder, sent):
    server = viewer()
    call = write_call(folder)
    before = (call / "spans.jsonl").read_bytes()
    assert ask(server, "POST", "/v1/traces", json.dumps(sent), JSON)[0] == 200
    assert find.calls(folder) == [call]
    assert (call / "spans.jsonl").read_bytes() == before


GZIP = {**JSON, "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "refused",
    [
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"\xff\xff", {"Content-Type": "application/x-protobuf"}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {**JSON, "Content-Encoding": "br"}, 415),
        (b"no gzip", GZIP, 400),
        (gzip.compress(b"{}")[:-9], GZIP, 400),
        (gzip.compress(bytes(2_000)), GZIP, 413),
        (bytes(2_000), JSON, 413),
        (b"{}", {**JSON, "Origin": "http://elsewhere.example"}, 403),
        (b"{}", {**JSON, "Host": "elsewhere.example"}, 403),
    ],
)
def test_what_is_no_request_is_refused(viewer, folder, monkeypatch, refused):
    body, headers, status = refused
    monkeypatch.setattr(otlp, "MOST", 1_000 if status == 413 else otlp.MOST)
    server = viewer()
    assert ask(server, "POST", "/v1/traces", body, headers)[0] == status
    assert list(folder.iterdir()) == []


def test_without_otlp_nothing_is_taken(viewer, folder):
    server = viewer()
    server.received = None
    assert ask(server, "POST", "/v1/traces", b"{}", JSON)[0] == 404
    assert ask(server, "POST", "/", b"{}", JSON)[0] == 404


def test_elsewhere_than_on_loopback_a_sender_needs_the_token(viewer, sent):
    server = viewer("0.0.0.0")
    body = json.dumps(sent)
    assert ask(server, "POST", "/v1/traces", body, JSON)[0] == 401
    assert ask(server, "POST", "/v1/traces?token=wrong", body, JSON)[0] == 401
    assert ask(server, "POST", f"/v1/traces?token={server.token}", body, JSON)[0] == 200
    assert (
        ask(server, "POST", "/v1/traces", body, {**JSON, "Authorization": f"Bearer {server.token}"})[0] == 200
    )
    assert server.token in server.traces_url


def test_traces_that_never_become_a_call_are_bounded(viewer, folder, monkeypatch):
    monkeypatch.setattr("voicespan.report.received._MOST_WAITING", 3)
    server = viewer()
    for number in range(1, 9):
        span = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "GET /"}
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
        assert ask(server, "POST", "/v1/traces", json.dumps(body), JSON)[0] == 200
    assert len(find.received(folder)) == 3


@pytest.mark.parametrize(
    "attached",
    ["no json", "{}", "[1]", '[{"name": "x"}]', '[{"name": "x", "mime_type": "audio/ogg", "content": "a"}]',
     '[{"name": "x", "mime_type": "audio/ogg", "content": 5}]', '[{"name": "x", "mime_type": 5, "content": "YQ=="}]',
     '[{"name": "../../x", "mime_type": "text/html", "content": "YQ=="}]'],
)  # fmt: skip
def test_an_attachment_that_is_none_costs_nothing_else(viewer, folder, sent, attached):
    server = viewer()
    for group in sent["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                for attribute in span["attributes"]:
                    if attribute["key"] == "langsmith.attachments":
                        attribute["value"] = {"stringValue": attached}
    assert ask(server, "POST", "/v1/traces", json.dumps(sent), JSON)[0] == 200
    [call] = find.calls(folder)
    assert find.read(call).recording is None
    assert sorted(path.name for path in call.iterdir()) == ["conversation.json", "spans.jsonl"]
    assert isinstance(call, Path)


def test_the_folders_bounds_hold_for_what_is_received(folder, sent):
    """The call of these tests began long ago."""
    folder.mkdir(mode=0o700)
    Received(folder, tidy=lambda: view.make_room(folder)).take(otlp_json.read(json.dumps(sent).encode()))
    assert find.calls(folder) == []
