"""The viewer's server: calls, also while they run, to whoever may see them and nobody else."""

from __future__ import annotations

import html
import http.client
import json
import os
import subprocess
import sys
import threading

import pytest
from made_call import NAME, write_call
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.cli import view
from voicespan.report.server import Viewer


@pytest.fixture
def viewer(folder):
    folder.mkdir(mode=0o700, exist_ok=True)
    started = []

    def start(host="127.0.0.1"):
        server = Viewer(folder, host, tidy=lambda: view.finish(folder))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


def get(server, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_the_list_and_a_call(viewer, call):
    server = viewer()
    status, content, _ = get(server, "/")
    assert status == 200
    assert f'href="/call/{NAME}"'.encode() in content
    assert b"booking-7" in content
    status, content, headers = get(server, f"/call/{NAME}")
    assert status == 200
    assert headers["X-Frame-Options"] == "DENY"
    assert f'src="/call/{NAME}/recording"'.encode() in content


def test_the_list_is_searched_and_what_went_wrong_comes_first(viewer, folder, call):
    failed = write_call(folder, NAME.replace("14", "12"))
    (failed / "conversation.json").write_text(json.dumps({"thread_id": "late", "error": "process ended"}))
    server = viewer()
    content = get(server, "/")[1].decode()
    assert content.index("late") < content.index("booking-7")
    assert b"booking-7" not in get(server, "/?q=late")[1]


def test_a_recording_comes_in_parts(viewer, call):
    server = viewer()
    whole = (call / "recording.ogg").read_bytes()
    status, content, headers = get(server, f"/call/{NAME}/recording", Range="bytes=10-19")
    assert (status, content) == (206, whole[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert get(server, f"/call/{NAME}/recording", Range="bytes=-5")[1] == whole[-5:]
    assert get(server, f"/call/{NAME}/recording", Range=f"bytes={len(whole)}-")[0] == 416
    assert get(server, f"/call/{NAME}/recording")[:2] == (200, whole)


@pytest.mark.parametrize(
    "path", ["/call/", "/call/../../etc/passwd", f"/call/{NAME}/other", "/other", "/call/%2e%2e"]
)
def test_nothing_else_is_there(viewer, call, path):
    assert get(viewer(), path)[0] == 404


def test_pages_of_others_cannot_read_it(viewer, call):
    server = viewer()
    assert get(server, "/", Host=f"rebound.example:{server.port}")[0] == 403
    assert get(server, "/", Origin="https://rebound.example")[0] == 403
    assert get(server, "/", Origin=f"http://127.0.0.1:{server.port}")[0] == 200


def test_beyond_loopback_the_url_has_a_token(viewer, call):
    server = viewer("0.0.0.0")
    assert get(server, "/")[0] == 401
    assert get(server, "/?token=wrong")[0] == 401
    status, _, headers = get(server, f"/?token={server.token}")
    assert status == 200
    assert server.token in server.url
    assert get(server, f"/call/{NAME}", Cookie=headers["Set-Cookie"].split(";")[0])[0] == 200


KILLED = """
import os, sys
from opentelemetry.sdk.trace import TracerProvider
import voicespan

provider = TracerProvider()
provider.add_span_processor(voicespan.FolderSpanProcessor(sys.argv[1]))
conversation = voicespan.Conversation(tracer_provider=provider, thread_id="killed")
provider.force_flush()
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_finished_for_the_list(viewer, folder):
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False, env={**os.environ})
    [left] = [path for path in folder.iterdir() if path.is_dir()]
    assert left.name.startswith(".")
    content = get(viewer(), "/")[1].decode()
    assert "process ended" in content
    assert "<td>running" not in content
    assert (folder / left.name.removeprefix(".") / "conversation.json").exists()


def test_a_running_call_grows_and_is_complete_in_the_end(viewer, folder):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(voicespan.FolderSpanProcessor(folder))
    server = viewer()
    conversation = voicespan.Conversation(tracer_provider=provider, thread_id="growing")
    assert provider.force_flush(10_000)
    [name] = [path.name.removeprefix(".") for path in folder.iterdir() if path.is_dir()]
    before = json.loads(get(server, f"/call/{name}/data")[1])
    assert before["running"]
    with conversation.use():
        provider.get_tracer("application").start_span("look up").end()
    assert provider.force_flush(10_000)
    during = json.loads(get(server, f"/call/{name}/data")[1])
    assert len(during["spans"]) == len(before["spans"]) + 1
    assert b"running" in get(server, "/")[1]
    conversation.end()
    assert provider.force_flush(10_000)
    after = json.loads(get(server, f"/call/{name}/data")[1])
    assert not after["running"]
    assert {"look up", "conversation"} <= {span["name"] for span in after["spans"]}
    provider.shutdown()


def test_a_long_thread_is_cut_off_and_whole_where_one_points_at_it(viewer, call):
    thread = "<b>" + "x" * 100
    (call / "conversation.json").write_text(json.dumps({"thread_id": thread}))
    content = get(viewer(), "/")[1].decode()
    assert f'<td title="{html.escape(thread)}">{html.escape(thread)}' in content
    assert 'title="<a' not in content
