"""The REST side of the LangSmith server, driven by LangSmith's own client and by hand."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import tracemalloc
import uuid

import pytest
import requests
import zstandard
from langsmith import Client
from langsmith.utils import LangSmithNotFoundError
from otlp_requests import START_NS, Spans, post

from voicespan.testing import Dropped, LangSmithServer

pytest_plugins = ["voicespan.testing.fixtures"]

START = dt.datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=dt.timezone.utc)
END = START + dt.timedelta(seconds=90)
WAV = b"RIFF\r\n--\r\n\r\n--C\r\n" * 50  # looks like the end of a part, and is none
ROOT = "01950000-0000-7000-8000-000000000001"
FEEDBACK, OTHER = "01950000-0000-7000-8000-0000000000f1", "01950000-0000-7000-8000-000000000002"
ORDER = f"20260102T030405123456Z{ROOT}"


@pytest.fixture
def server(langsmith_server):
    return langsmith_server


@pytest.fixture(params=[None, "zstd"])
def encoding(request):
    return request.param


@pytest.fixture
def client(server, encoding):
    info = {
        "instance_flags": {"zstd_compression_enabled": encoding == "zstd"},
        "batch_ingest_config": requests.get(f"{server.url}/info").json()["batch_ingest_config"],
    }
    made = Client(api_url=server.url, api_key=server.api_key, info=info, omit_traced_runtime_info=True)
    yield made
    made.close()


def fields(run_id: str = ROOT, **more):
    return {"id": run_id, "trace_id": run_id, "dotted_order": f"20260102T030405123456Z{run_id}", **more}


def core(kind: str, of_run: dict) -> tuple[str, str, bytes]:
    return f"{kind}.{of_run['id']}", "application/json", json.dumps(of_run).encode()


def multipart_body(*parts: tuple[str, str, bytes]) -> bytes:
    """Parts of name, MIME type and content, between boundaries `B`."""
    heads = (
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {mime_type}\r\n\r\n'
        for name, mime_type, _ in parts
    )
    written = (head.encode() + content + b"\r\n" for head, (_, _, content) in zip(heads, parts, strict=True))
    return b"".join(written) + b"--B--\r\n"


def send(server, *parts, path="/runs/multipart", encode=bytes, **more):
    return send_body(server, encode(multipart_body(*parts)), path=path, **more)


def send_body(server, content, path="/runs/multipart", **more):
    sent = {"x-api-key": server.api_key, "Content-Type": "multipart/form-data; boundary=B", **more}
    return requests.post(server.url + path, data=content, headers=sent)


def feedback(**fields):
    fields = {
        "id": FEEDBACK, "run_id": ROOT, "trace_id": ROOT, "key": "overlap_share", "score": 0.5,
        "feedback_source": {"type": "api"}, **fields,
    }  # fmt: skip
    return f"feedback.{FEEDBACK}", "application/json", json.dumps(fields).encode()


def test_the_real_client_scores_a_run(server, client):
    """At once, and not before the run is there."""
    client.create_run(
        "conversation", {}, "chain", id=ROOT, trace_id=ROOT, dotted_order=ORDER, project_name="voice"
    )
    client.flush()
    project = client.read_project(project_name="voice").id
    client.create_feedback(ROOT, "overlap_share", score=0.25, feedback_id=FEEDBACK, session_id=project)
    client.create_feedback(ROOT, "overlap_share", score=0.5, feedback_id=FEEDBACK, session_id=project)
    assert server.run(ROOT).scores == {"overlap_share": 0.5}
    assert [each.source for each in server.run(ROOT).feedback.values()] == ["api"]
    with pytest.raises(LangSmithNotFoundError):
        client.create_feedback(OTHER, "x", score=1, session_id=project, stop_after_attempt=1)


def test_feedback_beside_runs(server):
    assert send(server, feedback()).status_code == 202
    assert [dropped.reason for dropped in server.dropped] == ["feedback"]
    assert send(server, core("post", fields()), feedback()).status_code == 202
    assert send(server, feedback(score=True)).status_code == 202
    assert server.run(ROOT).scores == {"overlap_share": True}


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ROOT}, {"run_id": "no"}, {"trace_id": None}, {"key": ""}, {"key": None}, {"score": "good"},
        {"score": float("nan")}, {"feedback_source": None}, {"feedback_source": {"type": "x"}}, {"session_id": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_feedback_is_refused(server, wrong):
    send(server, core("post", fields()))
    assert send(server, feedback(**wrong)).status_code == 422
    assert server.run(ROOT).feedback == {}


def test_the_real_client_creates_and_updates(server, client, encoding):
    root_id, child_id = str(uuid.uuid4()), str(uuid.uuid4())
    order = f"{START:%Y%m%dT%H%M%S%f}Z{root_id}"
    child_order = f"{order}.{END:%Y%m%dT%H%M%S%f}Z{child_id}"
    client.create_run(
        "conversation",
        {"question": "what?"},
        "chain",
        id=root_id,
        trace_id=root_id,
        dotted_order=order,
        start_time=START,
        project_name="voice",
        tags=["demo"],
        attachments={"conversation": ("audio/wav", WAV)},
        extra={"metadata": {"thread_id": "t"}, "invocation_params": {"model": "m"}},
    )
    client.flush()
    (root,) = server.roots
    assert (root.status, root.end_ns, root.start_ns) == ("pending", None, START_NS // 1000 * 1000)
    assert (root.name, root.run_type, root.project, root.tags) == ("conversation", "chain", "voice", ["demo"])
    assert (root.inputs, root.thread_id, root.invocation_params) == (
        {"question": "what?"},
        "t",
        {"model": "m"},
    )
    assert (root.id, root.trace_id, root.dotted_order) == (root_id, root_id, order)
    assert root.attachments["conversation"].read() == WAV
    assert root.attachments["conversation"].mime_type == "audio/wav"

    client.create_run(
        "model",
        {},
        "llm",
        id=child_id,
        trace_id=root_id,
        parent_run_id=root_id,
        dotted_order=child_order,
        start_time=END,
        end_time=END,
        error="boom",
        outputs={"text": "hi", "usage_metadata": {"input_tokens": 1}},
    )
    client.update_run(root_id, trace_id=root_id, dotted_order=order, outputs={"answer": "that"}, end_time=END)
    client.flush()
    assert (root.status, root.outputs, root.duration_ns) == ("success", {"answer": "that"}, 90_000_000_000)
    assert root.inputs == {"question": "what?"}
    (child,) = root.children
    assert (child.status, child.error, child.usage) == ("error", "boom", {"input_tokens": 1})
    assert child.dotted_order == child_order
    assert server.received_count(root_id) == server.received_count(root_id, "patch") == 1
    # The first operation may leave before the client has set its compression up.
    encodings = {request.headers.get("content-encoding") for request in server.requests[2:]}
    assert encodings == {encoding}
    assert {request.status for request in server.requests[1:]} == {202}


def test_updating_a_finished_run_shows_nothing_and_then_conflicts(server, client):
    span = Spans().make("conversation")
    post(server, span)
    (root,) = server.roots
    order = f"20260102T030405123456Z{root.id}"
    assert root.dotted_order == order
    update = {"id": root.id, "trace_id": root.id, "dotted_order": order}
    for _ in range(2):
        client.multipart_ingest(update=[update | {"attachments": {"conversation": ("audio/wav", WAV)}}])
    assert [request.status for request in server.requests[-2:]] == [202, 409]
    assert root.attachments == {}
    assert server.received_count(root.id, "patch") == 2


def test_an_update_waits_for_its_run(server):
    update = fields(outputs={"answer": "early"}, end_time=END.isoformat())
    assert send(server, core("patch", update)).status_code == 202
    assert server.runs == []
    assert send(server, core("post", fields(name="late", start_time=START.isoformat()))).status_code == 202
    (root,) = server.roots
    assert (root.name, root.outputs, root.status) == ("late", {"answer": "early"}, "success")


def test_an_update_does_not_wait_for_ever(server, fake_clock):
    send(server, core("patch", fields()))
    fake_clock.advance(13 * 3600)
    assert server.dropped == [Dropped("orphan", ROOT, "update")]


def test_creation_and_update_in_one_body(server):
    answer = send(
        server,
        core("patch", fields(end_time=END.isoformat())),
        (f"patch.{ROOT}.outputs", "application/json", b'{"answer": 1}'),
        (f"post.{ROOT}.inputs", "application/json", b'{"question": 1}'),
        core("post", fields(name="root", start_time=START.isoformat(), inputs=None)),
        (f"post.{ROOT}.extra", "application/json", b'{"metadata": {"k": "v"}}'),
        (f"attachment.{ROOT}.conversation", "audio/wav; length=9", WAV),
        (f"attachment.{ROOT}.conversation.wav", "audio/wav", WAV),
        ("unknown.1", "application/json", b"{}"),
    )
    assert answer.status_code == 202
    (root,) = server.roots
    assert (root.inputs, root.outputs, root.metadata) == ({"question": 1}, {"answer": 1}, {"k": "v"})
    assert (root.status, root.duration_ns) == ("success", 90_000_000_000)
    assert {name: (one.mime_type, one.read()) for name, one in root.attachments.items()} == {
        "conversation": ("audio/wav", WAV)
    }
    assert server.dropped == [Dropped("attachment_name", ROOT, "conversation.wav")]


def test_a_repeated_creation_is_refused_whole(server):
    other = "01950000-0000-7000-8000-000000000002"
    assert send(server, core("post", fields())).status_code == 202
    assert send(server, core("post", fields()), core("post", fields(other))).status_code == 409
    assert [run.id for run in server.runs] == [ROOT]
    assert server.received_count(ROOT) == 2


def test_spans_and_runs_are_one_tree(server):
    root = Spans().make("root")
    post(server, root)
    (top,) = server.roots
    child = "01950000-0000-7000-8000-000000000002"
    order = f"{top.dotted_order}.20260102T030406000000Z{child}"
    # The parent is told by the order alone.
    send(server, core("post", {"id": child, "trace_id": top.id, "dotted_order": order, "name": "child"}))
    assert [run.id for run in top.children] == [child]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([core("post", {"id": ROOT})], 422),
        ([core("post", {"id": ROOT, "trace_id": ROOT})], 422),
        ([core("post", fields(trace_id=None))], 422),
        ([(f"post.{ROOT}", "application/json", b"no JSON")], 422),
        ([(f"post.{ROOT}", "application/json", b"[]")], 422),
        ([(f"post.{ROOT}", "application/json", json.dumps(fields("other")).encode())], 422),
        ([(f"attachment.{ROOT}.conversation", "audio/wav", WAV)], 422),
        ([core("post", fields(start_time="yesterday"))], 422),
        ([core("post", fields(name=7))], 422),
        ([core("post", fields(dotted_order=f"{ORDER}.{ORDER}"))], 400),
        (
            [core("post", fields(dotted_order="20260102T030405123456Z01950000-0000-7000-8000-000000000009"))],
            400,
        ),
    ],
)
def test_malformed_runs(server, parts, status):
    assert send(server, *parts).status_code == status
    assert (server.runs, server.waiting) == ([], [])


@pytest.mark.parametrize(
    "content",
    [b"", b"no parts", multipart_body(core("post", fields()))[:-40], b"--B\r\nno: name\r\n\r\nx\r\n--B--"],
)
def test_malformed_bodies(server, content):
    assert send_body(server, content).status_code == 400


def test_other_content_types_are_refused(server):
    content = multipart_body(core("post", fields()))
    for content_type in ("application/json", "multipart/form-data", "multipart/mixed; boundary=B"):
        assert send_body(server, content, **{"Content-Type": content_type}).status_code == 400


@pytest.mark.parametrize(
    ("content_encoding", "encode", "status"),
    [
        ("gzip", gzip.compress, 202),
        ("zstd", zstandard.compress, 202),
        ("zstd", bytes, 400),
        ("zstd", lambda content: zstandard.compress(content)[:-9], 400),
        ("br", bytes, 415),
    ],
)
def test_encodings(server, content_encoding, encode, status):
    answer = send(server, core("post", fields()), encode=encode, **{"Content-Encoding": content_encoding})
    assert answer.status_code == status
    assert len(server.runs) == (status == 202)


def test_the_limit_holds_for_what_is_decompressed():
    parts = [core("post", fields()), (f"attachment.{ROOT}.silence", "audio/wav", bytes(100_000))]
    with LangSmithServer(max_body_bytes=50_000) as server:
        answer = send(server, *parts, encode=zstandard.compress, **{"Content-Encoding": "zstd"})
        assert answer.status_code == 413
        assert server.runs == []


def test_keys_are_needed_here_too(server):
    refused = send(server, core("post", fields()), **{"x-api-key": "lsv2_pt_unknown"})
    assert refused.status_code == 401
    server.org_scoped = True
    assert send(server, core("post", fields())).status_code == 403
    assert send(server, core("post", fields()), **{"X-Tenant-Id": "w"}).status_code == 202


def test_self_hosted_paths(server):
    assert requests.get(f"{server.url}/api/v1/info").json()["instance_flags"]["zstd_compression_enabled"]
    assert send(server, core("post", fields()), path="/api/v1/runs/multipart").status_code == 202


def test_the_real_client_sees_failures(server):
    told: list[Exception] = []
    client = Client(
        api_url=server.url,
        api_key=server.api_key,
        auto_batch_tracing=False,
        tracing_error_callback=told.append,
        info={"instance_flags": {}},
    )
    try:
        server.fail(status=413, match="/runs/multipart")
        client.multipart_ingest(create=[fields(name="root", run_type="chain", inputs={})])
        assert [request.status for request in server.requests] == [413]
        assert len(told) == 1
        client.multipart_ingest(create=[fields(name="root", run_type="chain", inputs={})])
        assert [run.name for run in server.roots] == ["root"]
    finally:
        client.close()


def test_a_large_attachment_is_never_in_memory_as_a_whole(tmp_path):
    pieces, piece = 24, bytes(1_000_000)
    head, tail = multipart_body(
        core("post", fields()), (f"attachment.{ROOT}.recording", "audio/wav", b"@")
    ).split(b"@")

    def content():
        yield head
        for _ in range(pieces):
            yield piece
        yield tail

    with LangSmithServer(save_attachments=tmp_path) as server:
        tracemalloc.start()
        try:
            assert send_body(server, content()).status_code == 202
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        recording = server.run(ROOT).attachments["recording"]
    assert recording.size == recording.path.stat().st_size == pieces * len(piece)
    assert peak < 8_000_000
