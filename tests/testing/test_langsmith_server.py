"""The LangSmith server as its clients see it: the real OTLP exporter, and bare requests."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExportResult
from otlp_requests import Spans, attachments, body, headers, post

from voicespan.testing import Attachment, Dropped, FakeClock, LangSmithServer

pytest_plugins = ["voicespan.testing.fixtures"]

HOUR = 3600.0
BOOM = requests.exceptions.ConnectionError


@pytest.fixture
def server(langsmith_server):
    return langsmith_server


@pytest.fixture
def spans():
    return Spans()


def run_id(span) -> str:
    digits = f"{span.context.span_id:016x}"
    return f"00000000-0000-0000-{digits[:4]}-{digits[4:]}"


# ---- what is taken in


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_real_exporter_delivers_a_tree(server, spans, compression):
    root = spans.make("conversation", {"langsmith.metadata.thread_id": "t"}, ms=900)
    late = spans.make("turn_complete", {"langsmith.span.kind": "llm"}, parent=root, at_ms=400)
    early = spans.make("input_transcription", parent=root, at_ms=100)
    inner = spans.make("function_call: f", {"gen_ai.tool.name": "f"}, parent=late, at_ms=410)
    exporter = OTLPSpanExporter(
        server.traces_url,
        headers={"x-api-key": server.api_key, "Langsmith-Project": "voice"},
        compression=compression,
    )
    try:
        assert exporter.export([inner, late, early, root]) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()

    (top,) = server.roots
    assert [(depth, run.name, run.run_type) for depth, run in server.tree(top)] == [
        (0, "conversation", "chain"),
        (1, "input_transcription", "chain"),
        (1, "turn_complete", "llm"),
        (2, "function_call: f", "tool"),
    ]
    assert {run.project for run in server.runs} == {"voice"}
    assert {run.trace_id for run in server.runs} == {run_id(root)}
    leaf = server.run(run_id(inner))
    assert leaf.dotted_order.split(".")[:-1] == server.run(run_id(late)).dotted_order.split(".")
    assert leaf.otel_trace_id == f"{root.context.trace_id:032x}"


@pytest.mark.parametrize("path", ["/otel/v1/traces", "/api/v1/otel/v1/traces", "/v1/traces"])
def test_the_paths_that_take_traces(server, spans, path):
    answer = post(server, spans.make(), path=path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    assert len(server.runs) == 1


@pytest.mark.parametrize("path", ["/otel/v1/traces/v1/traces", "/otel", "/runs/batch"])
def test_other_paths_are_not_found(server, spans, path):
    assert post(server, spans.make(), path=path).status_code == 404
    assert server.runs == []


def test_json_has_its_ids_in_hexadecimal(server, spans):
    root = spans.make(
        "conversation",
        {"langsmith.metadata.n": 3, "langsmith.attachments": attachments(("note", b"words", "text/plain"))},
    )
    child = spans.make("child", parent=root, events=[("exception", {"exception.message": "boom"})])
    message = MessageToDict(ExportTraceServiceRequest.FromString(body(root, child)))
    for span in message["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        original = root if span["name"] == "conversation" else child
        span["traceId"] = f"{original.context.trace_id:032x}"
        span["spanId"] = f"{original.context.span_id:016x}"
        if "parentSpanId" in span:
            span["parentSpanId"] = f"{root.context.span_id:016x}"
    answer = requests.post(
        server.traces_url,
        data=json.dumps(message),
        headers=headers(server) | {"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()) == (200, {})
    (top,) = server.roots
    assert (top.id, top.metadata, top.attachments["note"].read()) == (run_id(root), {"n": 3}, b"words")
    assert [(run.id, run.error) for run in top.children] == [(run_id(child), "boom")]


def test_chunked_bodies(server, spans):
    content = body(spans.make())
    parts = (content[:10], content[10:11], content[11:])
    assert requests.post(server.traces_url, data=iter(parts), headers=headers(server)).status_code == 200
    assert len(server.runs) == 1
    assert (server.requests[0].length, server.requests[0].body_bytes) == (None, len(content))


def test_one_connection_serves_many_requests(server, spans):
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]))
    with contextlib.closing(connection):
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("POST", "/otel/v1/traces", body(spans.make()), headers(server))
            assert connection.getresponse().read() == b""
            assert connection.sock is first
    assert len(server.runs) == 3


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"x-api-key": None}, 401),
        ({"x-api-key": "lsv2_pt_unknown"}, 401),
        ({"Content-Encoding": "zstd"}, 415),
        ({"Content-Encoding": "br"}, 415),
        ({"Content-Encoding": "gzip"}, 400),  # says so, but is not
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": None}, 415),
        ({"Content-Type": "application/json"}, 400),
        ({"Langsmith-Project": "voice", "Langsmith-Agent-Id": "agent"}, 400),
    ],
)
def test_refused_by_the_head(server, spans, change, status):
    sent = {name: value for name, value in (headers(server) | change).items() if value is not None}
    assert requests.post(server.traces_url, data=body(spans.make()), headers=sent).status_code == status
    assert server.runs == []


@pytest.mark.parametrize(
    "content",
    [
        b"no protobuf at all",
        b"\x0a\x7f",  # a field that reaches beyond the end
        b"\x0a\x19langsmith.attachments\xff\xff\xff\xff",
        b"langsmith.attachments" + b"\xff" * 20,
    ],
)
def test_malformed_protobuf(server, content):
    assert requests.post(server.traces_url, data=content, headers=headers(server)).status_code == 400


def test_org_scoped_keys_need_a_workspace(spans):
    with LangSmithServer(org_scoped=True) as server:
        refused = post(server, spans.make())
        assert (refused.status_code, refused.json()["detail"]) == (403, "org_scoped_key_requires_workspace")
        assert post(server, spans.make(), X_Tenant_Id="workspace").status_code == 200
        server.org_scoped = False
        assert post(server, spans.make()).status_code == 200


def test_keys_can_be_replaced(server, spans):
    old = headers(server)
    server.api_keys = ["lsv2_sk_better"]
    assert requests.post(server.traces_url, data=body(spans.make()), headers=old).status_code == 401
    assert post(server, spans.make()).status_code == 200


def test_without_keys_everybody_may_send(spans):
    with LangSmithServer(api_keys=()) as server:
        sent = {"Content-Type": "application/x-protobuf"}
        answer = requests.post(f"{server.url}/v1/traces", data=body(spans.make()), headers=sent)
        assert answer.status_code == 200


def test_the_key_is_never_shown(server, spans):
    post(server, spans.make(), Authorization="Bearer secret")
    requests.post(server.traces_url, data=b"", headers={"x-api-key": "lsv2_pt_unknown"})
    told = repr(server) + repr(server.requests) + repr([dict(one.headers) for one in server.requests])
    assert server.api_key not in told
    assert "unknown" not in told
    assert "secret" not in told


def test_requests_are_recorded(server, spans, fake_clock):
    fake_clock.advance(2.5)
    content = body(spans.make())
    post(server, spans.make())
    requests.get(f"{server.url}/info?x=1")
    traces, info = server.requests
    assert (traces.method, traces.path, traces.status, traces.at) == ("POST", "/otel/v1/traces", 200, 2.5)
    assert traces.body_bytes == traces.length == len(content)
    assert traces.headers["content-type"] == "application/x-protobuf"
    assert (info.method, info.path, info.status, info.body_bytes) == ("GET", "/info?x=1", 200, 0)


# ---- the tree


def test_nothing_is_shown_before_the_root(server, spans):
    root = spans.make("root")
    middle = spans.make("middle", parent=root)
    leaf = spans.make("leaf", parent=middle)
    assert post(server, leaf).status_code == 200
    assert post(server, middle).status_code == 200
    assert server.runs == []
    assert {run.name for run in server.waiting} == {"leaf", "middle"}
    assert post(server, root).status_code == 200
    assert [run.name for _, run in server.tree(run_id(root))] == ["root", "middle", "leaf"]
    assert server.waiting == []
    assert server.dropped == []


def test_orphans_are_dropped_after_the_window(server, spans, fake_clock):
    root = spans.make("root")
    lost, kept = spans.make("lost", parent=root), spans.make("kept", parent=root)
    post(server, lost)
    fake_clock.advance(HOUR)
    post(server, kept)
    fake_clock.advance(11 * HOUR)
    assert server.dropped == []
    fake_clock.advance(1)
    assert server.dropped == [Dropped("orphan", run_id(lost), "lost")]
    post(server, root)
    assert [run.name for run in server.roots[0].children] == ["kept"]
    # What was dropped is forgotten, so it can be sent again.
    assert post(server, lost).status_code == 200
    assert [run.name for run in server.roots[0].children] == ["lost", "kept"]


def test_a_trace_has_a_limit(spans):
    root = spans.make("root")
    children = [spans.make(f"child {number}", parent=root) for number in range(5)]
    with LangSmithServer(runs_per_trace=4) as server:
        assert post(server, *children[:4]).status_code == 200
        assert post(server, root).status_code == 200
        assert post(server, children[4]).status_code == 200
        assert [run.name for run in server.roots[0].children] == ["child 0", "child 1", "child 2"]
        assert [(one.reason, one.name) for one in server.dropped] == [
            ("over_limit", "child 3"),
            ("over_limit", "child 4"),
        ]
        # Another trace has its own limit.
        assert post(server, spans.make()).status_code == 200
        assert len(server.roots) == 2


def test_known_spans_are_refused_and_the_batch_with_them(server, spans):
    known, fresh = spans.make("known"), spans.make("fresh")
    post(server, known)
    again = post(server, known, fresh)
    assert (again.status_code, again.json()["detail"]) == (409, "payloads already received")
    assert [run.name for run in server.runs] == ["known"]
    assert server.received_count(run_id(known)) == 2
    assert server.received_count(run_id(fresh)) == 1
    assert server.received_count("nobody") == 0
    assert post(server, fresh).status_code == 200


def test_a_waiting_run_is_known_too(server, spans):
    child = spans.make("child", parent=spans.make("root"))
    assert post(server, child).status_code == 200
    assert post(server, child).status_code == 409


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trace_id", "01950000-0000-7000-8000-000000000009"),
        ("dotted_order", "20260102T030405000000Z01950000-0000-7000-8000-000000000009"),
    ],
)
def test_ids_that_contradict_the_tree_drop_the_run(server, spans, name, value):
    attribute = "langsmith.trace.id" if name == "trace_id" else "langsmith.span.dotted_order"
    root = spans.make("root", {attribute: value})
    assert post(server, root).status_code == 200
    assert server.dropped == [Dropped(name, run_id(root), "root")]
    assert server.runs == []


def test_overriding_only_the_root_orphans_its_children(server, spans):
    own = "01950000-0000-7000-8000-000000000001"
    root = spans.make("root", {"langsmith.span.id": own})
    post(server, spans.make("child", parent=root), root)
    assert [run.id for run in server.runs] == [own]
    assert [run.name for run in server.waiting] == ["child"]


def test_a_large_trace_is_quick(server, spans):
    root = spans.make("root")
    children = [spans.make("child", parent=root, at_ms=5000 - number) for number in range(5000)]
    content = body(*children, root)
    began = time.perf_counter()
    assert requests.post(server.traces_url, data=content, headers=headers(server)).status_code == 200
    assert time.perf_counter() - began < 5
    made = server.roots[0].children
    assert len(made) == 5000
    assert made == sorted(made, key=lambda run: run.start_ns)


def test_clear_forgets_everything(server, spans):
    root = spans.make()
    post(server, root)
    server.clear()
    assert (server.runs, server.requests, server.received_count(run_id(root))) == ([], [], 0)
    assert post(server, root).status_code == 200


# ---- attachments


def test_attachments_are_decoded(server, spans):
    wav, text = b"RIFF\0\xff" * 1000, b"words"
    files = attachments(("conversation", wav, "audio/wav"), ("content", text, "text/plain"))
    post(server, spans.make("conversation", {"langsmith.attachments": files, "langsmith.metadata.k": "v"}))
    (root,) = server.roots
    assert root.metadata == {"k": "v"}
    assert set(root.attachments) == {"conversation", "content"}
    recording = root.attachments["conversation"]
    assert recording == Attachment.of("conversation", "audio/wav", wav)
    assert (recording.size, recording.sha256) == (len(wav), hashlib.sha256(wav).hexdigest())
    assert root.attachments["content"].read() == text


def test_attachments_of_any_length_survive(server, spans):
    # Around the ends of base64 groups and of the pieces in which the text is read.
    sizes = [0, 1, 2, 3, 4, 196_607, 196_608, 196_609]
    contents = {f"f{size}": bytes(range(256)) * (size // 256) + bytes(size % 256) for size in sizes}
    files = attachments(*((name, content, "x/y") for name, content in contents.items()))
    post(server, spans.make("conversation", {"langsmith.attachments": files}))
    assert {name: one.read() for name, one in server.roots[0].attachments.items()} == contents


def test_json_may_escape_the_slash(server, spans):
    files = attachments(("f", b"\xff\xff\xff" * 10, "x/y"))
    assert "//" in files
    post(server, spans.make("conversation", {"langsmith.attachments": files.replace("/", "\\/")}))
    assert server.roots[0].attachments["f"].read() == b"\xff\xff\xff" * 10


def test_a_period_in_its_name_rejects_an_attachment(server, spans):
    files = attachments(("conversation.wav", b"RIFF", "audio/wav"), ("notes", b"n", "text/plain"))
    root = spans.make("conversation", {"langsmith.attachments": files})
    assert post(server, root).status_code == 200
    assert set(server.roots[0].attachments) == {"notes"}
    assert server.dropped == [Dropped("attachment_name", run_id(root), "conversation.wav")]


@pytest.mark.parametrize(
    "written",
    [
        "no JSON",
        '{"name": "f", "content": "AAAA", "mime_type": "x/y"}',
        '[{"name": "f", "content": "AAAA"}]',
        '[{"name": "f", "content": "AAAA", "mime_type": "x/y", "size": 3}]',
        '[{"name": "f", "content": 7, "mime_type": "x/y"}]',
        '[{"name": "f", "content": "data:x/y;base64,AAAA", "mime_type": "x/y"}]',
        '[{"name": "f", "content": "AAAAA", "mime_type": "x/y"}]',
        '[{"name": "f", "content": "AAAA',  # cut by an attribute length limit
    ],
)
def test_unreadable_attachments_are_dropped(server, spans, written, tmp_path):
    root = spans.make("conversation", {"langsmith.attachments": written})
    assert post(server, root).status_code == 200
    assert server.roots[0].attachments == {}
    assert server.dropped == [Dropped("attachment_unreadable", run_id(root), "langsmith.attachments")]


def test_attachments_are_saved_to_a_folder(spans, tmp_path):
    files = attachments(("conversation", b"OggS" * 9, "audio/ogg"), ("/etc/passwd", b"x", "text/plain"))
    root = spans.make("conversation", {"langsmith.attachments": files})
    broken = attachments(("half", bytes(99), "audio/ogg")).replace('A"', '!"')
    with LangSmithServer(save_attachments=tmp_path / "saved") as server:
        post(server, root)
        post(server, spans.make("broken", {"langsmith.attachments": broken}))
        recording = server.run(run_id(root)).attachments["conversation"]
    assert recording.path == tmp_path / "saved" / f"{run_id(root)}-conversation.ogg"
    assert recording.content is None
    assert recording.read() == b"OggS" * 9
    # Nothing outside the folder, and nothing of what was broken.
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        f"{run_id(root)}-_etc_passwd.txt",
        f"{run_id(root)}-conversation.ogg",
    ]


def test_a_large_recording_is_never_in_memory_as_a_whole(tmp_path):
    """32 MB of base64 inside a gzipped protobuf; the client is another process."""
    size = 24_000_000
    client = """
import gzip, io, sys
from otlp_requests import Spans, START_NS, attachments, body
import requests
size, url, key = int(sys.argv[1]), *sys.argv[2:]
root = Spans().make("conversation", {"langsmith.attachments": attachments(("conversation", bytes(size), "audio/wav"))})
content = gzip.compress(body(root), 1)
sent = {"x-api-key": key, "Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
sys.exit(requests.post(url, data=content, headers=sent).status_code != 200)
"""
    with LangSmithServer(save_attachments=tmp_path) as server:
        tracemalloc.start()
        try:
            subprocess.run(
                [sys.executable, "-c", client, str(size), server.traces_url, server.api_key],
                check=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        recording = server.roots[0].attachments["conversation"]
        assert recording.size == recording.path.stat().st_size == size
        assert peak < 8_000_000


# ---- failures


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 425, 429, 500, 502, 503, 504])
def test_a_status_is_answered_and_nothing_stored(server, spans, status):
    server.fail(status=status, headers={"Retry-After": "1"}, text="in the server's words")
    span = spans.make()
    failed = post(server, span)
    assert (failed.status_code, failed.headers["Retry-After"]) == (status, "1")
    assert failed.text == "in the server's words"
    assert server.runs == []
    assert server.received_count(run_id(span)) == 0
    assert post(server, span).status_code == 200
    assert [request.status for request in server.requests] == [status, 200]
    assert server.received_count(run_id(span)) == 1


def test_a_status_though_it_was_stored(server, spans):
    server.fail(status=504, stored=True)
    span = spans.make()
    assert post(server, span).status_code == 504
    assert len(server.runs) == 1
    assert post(server, span).status_code == 409
    assert server.received_count(run_id(span)) == 2


def test_failures_are_met_in_the_order_in_which_they_were_given(server, spans):
    server.fail(status=429, times=2)
    server.fail(status=503)
    statuses = [post(server, spans.make()).status_code for _ in range(4)]
    assert statuses == [429, 429, 503, 200]


def test_which_requests_fail(server, spans):
    server.fail(status=500, match="/runs/")
    server.fail(status=413, times=None, match=lambda request: request.length > 1000)
    small = spans.make
    assert post(server, small()).status_code == 200
    large = {"langsmith.metadata.text": "x" * 1000}
    assert [post(server, spans.make("s", large)).status_code for _ in range(2)] == [413, 413]
    assert post(server, small(), path="/runs/multipart").status_code == 500
    server.clear_failures()
    assert post(server, spans.make("s", large)).status_code == 200


def test_one_request_does_not_wait_for_what_a_function_thinks_about_another(server, spans):
    both_are_thought_about = threading.Barrier(2, timeout=10)
    server.fail(status=503, times=None, match=lambda _: both_are_thought_about.wait() >= 0)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: post(server, spans.make()).status_code, range(2)))
    assert answers == [503, 503]


def test_some_requests_pass_before_the_failure(server, spans):
    server.fail(status=503, after=2)
    assert [post(server, spans.make()).status_code for _ in range(4)] == [200, 200, 503, 200]


def test_a_reset_in_the_middle_of_the_body(server, spans):
    server.fail(reset="body")
    span = spans.make()
    with pytest.raises(BOOM):
        post(server, span)
    assert server.runs == []
    (request,) = server.wait_for(lambda server: server.requests)
    assert request.status is None
    assert request.body_bytes == request.length // 2
    assert post(server, span).status_code == 200


def test_a_reset_in_a_chunked_body(server, spans):
    server.fail(reset="body")
    with pytest.raises(BOOM):
        requests.post(server.traces_url, data=iter([b"first", b"second"]), headers=headers(server))
    assert server.wait_for(lambda server: server.requests)[0].body_bytes == len(b"first")


@pytest.mark.parametrize("stored", [False, True])
def test_a_reset_instead_of_the_answer(server, spans, stored):
    server.fail(reset="answer", stored=stored)
    span = spans.make()
    with pytest.raises(BOOM, match="reset"):
        post(server, span)
    assert len(server.runs) == stored
    assert post(server, span).status_code == (409 if stored else 200)
    assert server.received_count(run_id(span)) == (2 if stored else 1)
    assert len(server.runs) == 1


@pytest.mark.parametrize("stage", ["body", "answer"])
def test_a_request_hangs_until_it_is_released(server, spans, stage):
    server.fail(hang=stage)
    span = spans.make()
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post, server, span)
        server.wait_for(lambda server: server.hanging == 1)
        assert server.requests[0].status is None
        assert not posting.done()
        server.release()
        assert isinstance(posting.exception(), BOOM)
    server.wait_for(lambda server: server.hanging == 0)
    assert server.runs == []
    assert post(server, span).status_code == 200


def test_a_client_gives_up_on_a_request_that_was_stored(server, spans):
    server.fail(hang="answer", stored=True)
    span = spans.make()
    with pytest.raises(requests.exceptions.ReadTimeout):
        post(server, span, timeout=(10, 0.05))
    server.wait_for(lambda server: server.hanging == 1)
    assert len(server.runs) == 1
    assert post(server, span).status_code == 409


def test_closing_does_not_wait_for_what_hangs(spans):
    with ThreadPoolExecutor(2) as pool:
        with LangSmithServer() as server:
            server.fail(hang="answer")
            server.fail(hang="body")
            posting = [pool.submit(post, server, spans.make()) for _ in range(2)]
            server.wait_for(lambda server: server.hanging == 2)
            began = time.perf_counter()
        assert time.perf_counter() - began < 2
        assert all(isinstance(one.exception(), BOOM) for one in posting)
    assert server.hanging == 0


def test_closing_does_not_wait_for_idle_connections(spans):
    with requests.Session() as session:
        with LangSmithServer() as server:
            session.post(server.traces_url, data=body(spans.make()), headers=headers(server))
            began = time.perf_counter()
        assert time.perf_counter() - began < 2
    # What was received can be read on.
    assert len(server.roots) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LangSmithServer")]


@pytest.fixture
def secure():
    """A server with TLS, and the context of a client that trusts it."""
    authority = trustme.CA()
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(shown)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with LangSmithServer(tls=shown) as server:
        yield server, trusting


def secure_connection(server, context):
    address = urlsplit(server.url)
    assert address.scheme == "https"
    return contextlib.closing(http.client.HTTPSConnection(address.hostname, address.port, context=context))


def test_with_a_certificate_it_speaks_tls(secure, spans):
    server, trusting = secure
    with secure_connection(server, trusting) as connection:
        for _ in range(2):
            connection.request("POST", "/otel/v1/traces", body(spans.make()), headers(server))
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
    with secure_connection(server, ssl.create_default_context()) as connection:
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.connect()
    with pytest.raises(BOOM):
        requests.post(server.traces_url.replace("https", "http"), data=body(spans.make()))
    assert len(server.requests) == 2
    server.fail(status=503)
    with secure_connection(server, trusting) as connection:
        connection.request("POST", "/otel/v1/traces", body(spans.make()), headers(server))
        assert connection.getresponse().status == 503


def test_closing_waits_for_no_handshake(secure):
    server, trusting = secure
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as silent:
        with secure_connection(server, trusting) as idle:
            idle.connect()
            began = time.perf_counter()
            server.close()
            assert time.perf_counter() - began < 2
        assert silent.recv(1) == b""


def test_a_body_is_read_slowly(server, spans):
    server.fail(bytes_per_second=10_000)
    span = spans.make("s", {"langsmith.metadata.text": "x" * 2000})
    began = time.perf_counter()
    assert post(server, span).status_code == 200
    assert time.perf_counter() - began >= 0.2
    assert len(server.runs) == 1


def test_closing_does_not_wait_for_a_slow_body(spans):
    with ThreadPoolExecutor(1) as pool:
        with LangSmithServer() as server:
            server.fail(bytes_per_second=1)
            posting = pool.submit(post, server, spans.make())
            server.wait_for(lambda server: server.underway == 1)
            began = time.perf_counter()
        assert time.perf_counter() - began < 2
        assert isinstance(posting.exception(), BOOM)
    assert server.requests[0].status is None


def test_down_and_up_on_the_same_port(server, spans):
    with requests.Session() as session:
        session.post(server.traces_url, data=body(spans.make()), headers=headers(server))
        for _ in range(3):
            server.down()
            server.down()
            with pytest.raises(BOOM, match="refused"):
                session.post(server.traces_url, data=body(spans.make()), headers=headers(server))
            server.up()
            server.up()
            assert session.post(server.traces_url, data=body(spans.make()), headers=headers(server)).ok
    assert len(server.runs) == 4


def test_nobody_gets_the_port_while_the_server_is_down(server):
    server.down()
    port = int(server.url.rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_a_closed_server_does_not_come_up_again():
    with LangSmithServer() as server:
        pass
    with pytest.raises(RuntimeError, match="enter the server first"):
        server.up()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"stored": True},
        {"status": 500, "reset": "body"},
        {"status": 500, "hang": "answer"},
        {"reset": "body", "stored": True},
        {"hang": "body", "stored": True},
    ],
)
def test_contradicting_failures_are_refused(server, wrong):
    with pytest.raises(ValueError, match=r"^(a request|say what fails|a body)"):
        server.fail(**wrong)


@pytest.mark.parametrize("compressed", [False, True])
def test_too_large_a_body(spans, compressed):
    content = body(spans.make("s", {"langsmith.metadata.text": "x" * 50_000}))
    sent = gzip.compress(content) if compressed else content
    with LangSmithServer(max_body_bytes=40_000) as server:
        encoding = {"Content-Encoding": "gzip"} if compressed else {}
        for data in (sent, iter([sent])):
            answer = requests.post(server.traces_url, data=data, headers=headers(server) | encoding)
            assert answer.status_code == 413
        assert server.runs == []
        server.max_body_bytes = 60_000
        answer = requests.post(server.traces_url, data=sent, headers=headers(server) | encoding)
        assert answer.status_code == 200
        # The body was read, and the connection lives, although it was refused.
        assert [request.body_bytes for request in server.requests] == [len(sent)] * 3


def test_the_real_exporter_retries(server, spans):
    server.fail(status=429, headers={"Retry-After": "0"}, times=2)
    exporter = OTLPSpanExporter(server.traces_url, headers={"x-api-key": server.api_key})
    try:
        assert exporter.export([spans.make()]) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()
    assert [request.status for request in server.requests] == [429, 429, 200]


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /otel/v1/traces HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf",
        b"POST /otel/v1/traces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /otel/v1/traces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_client_that_goes_away_in_its_body(server, sent):
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        client.sendall(sent)
    (request,) = server.wait_for(lambda server: server.requests)
    assert request.status is None


@pytest.mark.parametrize(
    "sent",
    [
        b"no HTTP at all\r\n\r\n",
        b"POST /otel/v1/traces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /otel/v1/traces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_malformed_http(server, sent):
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        client.sendall(sent)
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert b"400" in answer
    assert server.runs == []


# ---- waiting, and many at once


def test_waiting_ends_when_the_run_is_there(server, spans):
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(server.wait_for, lambda server: server.roots)
        post(server, spans.make("late"))
        assert [run.name for run in found.result(10)] == ["late"]


def test_waiting_in_vain_says_what_is_there(server, spans):
    post(server, spans.make("child", parent=spans.make()))
    with pytest.raises(TimeoutError, match=r"not after 0\.01 s: .* 0 runs in 0 traces, 1 waiting"):
        server.wait_for(lambda server: server.roots, timeout=0.01)


def test_a_hundred_clients_at_once():
    clients, each = 100, 3
    together = threading.Barrier(clients)

    def converse(client):
        spans = Spans(first=1 + client * 1000)
        root = spans.make(f"root {client}")
        batches = [
            [spans.make("child", parent=root, at_ms=number) for number in range(5)] for _ in range(each)
        ]
        with requests.Session() as session:
            together.wait(20)
            return [
                session.post(
                    server.traces_url, data=body(*batch), headers=headers(server), timeout=20
                ).status_code
                for batch in [*batches, [root]]
            ]

    with LangSmithServer(clock=FakeClock()) as server:
        with ThreadPoolExecutor(clients) as pool:
            statuses = [status for statuses in pool.map(converse, range(clients)) for status in statuses]
        assert statuses == [200] * clients * (each + 1)
        assert len(server.roots) == clients
        assert {len(root.children) for root in server.roots} == {each * 5}
        assert len(server.requests) == clients * (each + 1)
        assert (server.waiting, server.dropped) == ([], [])
        assert server.underway == 0
        assert 1 < server.most_underway <= clients


def test_of_two_that_send_the_same_at_once_one_is_refused(server, spans):
    content = body(spans.make())
    together = threading.Barrier(8)

    def send(_):
        together.wait(10)
        return requests.post(server.traces_url, data=content, headers=headers(server)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [200] + [409] * 7
    assert len(server.runs) == 1
