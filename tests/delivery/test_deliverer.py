"""`VOICESPAN_DELIVERY=spool` and `voicespan deliver`: an application writes, another process encodes and sends."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from opentelemetry import trace as otel

from voicespan.cli import main
from voicespan.cli.deliver import Delivery
from voicespan.delivery.deliverer import spool_watch, status_server
from voicespan.delivery.deliverer.deliverer import Deliverer
from voicespan.delivery.deliverer.status_server import StatusServer
from voicespan.delivery.destination.destination import traces_url
from voicespan.delivery.destination.keys import Keys
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.processor import LangSmithSpanProcessor
from voicespan.delivery.spool import machine
from voicespan.delivery.spool.folder import read_meta
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.runtime.clock import SYSTEM
from voicespan.testing import LangSmithServer


@pytest.fixture
def spooling(agent, langsmith_server, monkeypatch):
    """Applications that leave delivery to somebody else; they have no key."""
    monkeypatch.setenv("VOICESPAN_DELIVERY", "spool")

    def start(**arguments):
        return agent(api_key=None, **arguments)

    return start


def converse(agent, **arguments):
    conversation = agent.conversation(**arguments)
    agent.child(conversation)
    conversation.end()
    assert agent.deliver()
    return conversation


def speak(conversation):
    conversation.recorder.user(b"\x10\x20" * 4800)
    conversation.recorder.agent(b"\x20\x10" * 4800)


def environment(server, **more):
    return {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url, **more}


def deliverer(environ):
    return Deliverer(
        SpoolSettings.from_environment(), Keys(environ), Privacy.from_environment(environ), SYSTEM
    )


def until_idle(work):
    while work.is_busy():
        time.sleep(0.001)


def deliver(environ, timeout=10.0):
    """What `voicespan deliver --once` does; the exit status and what it says."""
    out = io.StringIO()
    status = Delivery(deliverer(environ), grace=5.0, out=out).once(timeout)
    return status, out.getvalue().splitlines()


def folders(spool_dir):
    return sorted(path for path in spool_dir.iterdir() if not path.name.startswith("."))


def keys_file(path, keys, mode=0o600):
    path.write_text(json.dumps(keys), encoding="utf-8")
    path.chmod(mode)
    return {"VOICESPAN_KEYS_FILE": str(path)}


def test_an_application_that_leaves_delivery_to_another_sends_and_encodes_nothing(
    spooling, langsmith_server, spool_dir
):
    # One that encoded for an earlier test may not have ended.
    before = set(threading.enumerate())
    agent = spooling()
    conversation = agent.conversation()
    agent.child(conversation)
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    [folder] = folders(spool_dir)
    assert (folder / "conversation.flac").stat().st_size
    assert not list(folder.glob("*.ogg"))
    assert langsmith_server.requests == []
    assert "voicespan-transcode" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_a_deliverer_encodes_finishes_and_sends_it(spooling, langsmith_server, spool_dir):
    agent = spooling(project="calls")
    conversation = agent.conversation()
    child = agent.child(conversation)
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    assert deliver(environment(langsmith_server)) == (0, ["1 conversation delivered"])
    [root] = langsmith_server.roots
    assert (root.id, root.project, root.status) == (conversation.run_id, "calls", "success")
    assert root.attachments["conversation"].mime_type == "audio/ogg"
    assert root.metadata["ls_audio_attach_status"] == "attached"
    assert len(langsmith_server.runs) == 2
    assert child.name in {run.name for run in langsmith_server.runs}
    assert folders(spool_dir) == []


def test_the_recording_is_attached_as_the_application_asks(spooling, langsmith_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "wav")
    agent = spooling()
    conversation = agent.conversation()
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    monkeypatch.delenv("VOICESPAN_RECORDING_FORMAT")
    assert deliver(environment(langsmith_server))[0] == 0
    assert langsmith_server.roots[0].attachments["conversation"].mime_type in ("audio/wav", "audio/x-wav")


def test_no_key_is_in_the_spool(agent, langsmith_server, spool_dir, monkeypatch):
    monkeypatch.setenv("VOICESPAN_DELIVERY", "spool")
    monkeypatch.setenv("LANGSMITH_API_KEY", langsmith_server.api_key)
    converse(agent(api_key=None))
    files = [file for folder in folders(spool_dir) for file in folder.iterdir()]
    assert files
    assert not [file for file in files if langsmith_server.api_key.encode() in file.read_bytes()]
    named = read_meta(folders(spool_dir)[0]).destination
    assert set(named) == {"url", "project", "workspace", "kind", "delivery"}


def test_one_deliverer_serves_all_destinations(spooling, langsmith_server, tmp_path):
    with LangSmithServer() as other:
        for project in ("first", "second"):
            converse(spooling(project=project, workspace="w-1"))
        converse(spooling(endpoint=other.url, project="third"))
        keys = keys_file(tmp_path / "keys.json", {other.url: other.api_key})
        assert deliver(environment(langsmith_server, **keys)) == (0, ["3 conversations delivered"])
        assert sorted(root.project for root in langsmith_server.roots) == ["first", "second"]
        assert {request.headers["x-tenant-id"] for request in langsmith_server.requests} == {"w-1"}
        assert [root.project for root in other.roots] == ["third"]


def test_what_no_key_is_for_waits_and_is_said(spooling, langsmith_server, spool_dir, tmp_path):
    converse(spooling())
    url = traces_url(langsmith_server.url)
    assert deliver({}) == (
        1,
        ["0 conversations delivered", f"1 folder left: there is no key here for {url}"],
    )
    assert len(folders(spool_dir)) == 1
    assert langsmith_server.requests == []


def test_a_key_that_comes_later_counts_at_once(spooling, langsmith_server, tmp_path):
    path = tmp_path / "keys.json"
    work = deliverer(keys_file(path, {"https://elsewhere.example": "k"}))
    converse(spooling())
    work.look()
    assert (work.status().waiting, work.status().without_key) == (1, 1)
    keys_file(path, {"https://elsewhere.example": "k", langsmith_server.url: langsmith_server.api_key})
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)


def test_a_key_that_was_replaced_is_tried_at_once(spooling, langsmith_server, tmp_path):
    path = tmp_path / "keys.json"
    work = deliverer(keys_file(path, {langsmith_server.url: "an old key"}))
    converse(spooling())
    work.look()
    langsmith_server.wait_for(lambda server: server.requests)
    until_idle(work)
    assert (langsmith_server.roots, work.status().waiting) == ([], 1)
    keys_file(path, {langsmith_server.url: langsmith_server.api_key})
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_of_keys_that_others_can_read_is_refused(tmp_path, mode):
    with pytest.raises(DeliverySettingsError, match="others can read") as refused:
        Keys(keys_file(tmp_path / "keys.json", {"https://x.example": "sécret"}, mode))
    assert "sécret" not in str(refused.value)


@pytest.mark.parametrize(
    "written", ["", "[]", "sécret", '{"https://x.example": 7}', '{"https://x.example": ""}']
)
def test_a_file_of_keys_that_is_none_is_refused_without_its_words(tmp_path, written):
    path = tmp_path / "keys.json"
    path.write_text(written, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(DeliverySettingsError) as refused:
        Keys({"VOICESPAN_KEYS_FILE": str(path)})
    assert "sécret" not in str(refused.value)


def test_a_file_that_became_unreadable_changes_nothing(spooling, langsmith_server, tmp_path, caplog):
    path = tmp_path / "keys.json"
    work = deliverer(keys_file(path, {langsmith_server.url: langsmith_server.api_key}))
    path.write_text("half a fi", encoding="utf-8")
    converse(spooling())
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)
    assert "the keys that were read before count" in caplog.text


def test_a_project_that_would_begin_a_header_is_not_sent(spooling, langsmith_server, spool_dir, caplog):
    converse(spooling())
    [folder] = folders(spool_dir)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    meta["destination"]["project"] = "calls\r\nX-Api-Key: theirs"
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(DeliverySettingsError, match="line break"):
        Keys(environment(langsmith_server)).destination(meta["destination"])
    assert deliver(environment(langsmith_server))[0] == 1
    assert langsmith_server.requests == []


def test_headers_of_the_applications_own_are_refused(spooling):
    with pytest.raises(DeliverySettingsError, match="another process sends"):
        spooling(headers={"x-gateway": "1"})


def test_an_agent_of_langsmith_is_named_as_by_the_application_itself(spooling, langsmith_server, monkeypatch):
    monkeypatch.setenv("LANGSMITH_AGENT_ID", "receptionist")
    monkeypatch.setenv("LANGSMITH_AGENT_ENVIRONMENT", "staging")
    converse(spooling())
    assert deliver(environment(langsmith_server))[0] == 0
    headers = langsmith_server.requests[0].headers
    assert (headers["langsmith-agent-id"], headers["langsmith-agent-environment"]) == (
        "receptionist",
        "staging",
    )
    assert "langsmith-project" not in headers


def test_to_a_collector_no_key_goes(spooling, langsmith_server, monkeypatch, spool_dir):
    monkeypatch.setenv("VOICESPAN_ENDPOINT", langsmith_server.traces_url)
    agent = LangSmithSpanProcessor()
    assert agent.destination.through_collector
    converse(spooling(endpoint=None))
    named = read_meta(folders(spool_dir)[0]).destination
    assert (named["kind"], named["project"]) == ("collector", None)
    # The fake is no Collector: it wants a key, which is how it can be seen that there was none.
    assert deliver(environment(langsmith_server), timeout=0.5)[0] == 1
    assert {"x-api-key" in request.headers for request in langsmith_server.requests} == {False}


def test_what_another_deliverer_sends_again_is_the_same_byte_for_byte(
    spooling, langsmith_server, monkeypatch
):
    sent = []
    send = HttpClient.__call__
    monkeypatch.setattr(
        HttpClient, "__call__", lambda self, body: sent.append(b"".join(body)) or send(self, body)
    )
    agent = spooling()
    conversation = agent.conversation()
    agent.child(conversation)
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    # Each takes something and is killed before it knows: the children, the root, and nothing.
    for passed in (0, 1):
        langsmith_server.fail(reset="answer", stored=True, after=passed)
        work = deliverer(environment(langsmith_server))
        work.look()
        langsmith_server.wait_for(
            lambda server: (
                any(request.status is None for request in server.requests[-1:]) and not server.underway
            )
        )
        work.stop()
        until_idle(work)
    assert deliver(environment(langsmith_server)) == (0, ["1 conversation delivered"])
    children, again, root, root_again = sent
    assert children == again
    assert root == root_again
    assert [request.status for request in langsmith_server.requests] == [None, 409, None, 409]
    assert [len(langsmith_server.runs), langsmith_server.dropped] == [2, []]


# Both ways on one spool.


def test_what_a_dead_process_that_delivers_itself_left_is_delivered(manual, langsmith_server, spool_dir):
    voice = manual(project="theirs")
    open_, ended = voice.conversation(), voice.conversation()
    voice.child(open_)
    voice.finish(ended)
    die(voice)
    assert deliver(environment(langsmith_server))[0] == 0
    assert {root.id: root.status for root in langsmith_server.roots} == {
        open_.run_id: "error",
        ended.run_id: "success",
    }
    assert {root.project for root in langsmith_server.roots} == {"theirs"}


def test_but_not_with_another_key(manual, langsmith_server, spool_dir):
    voice = manual()
    voice.finish(voice.conversation())
    die(voice)
    assert deliver(environment(langsmith_server, LANGSMITH_API_KEY="of somebody else"))[0] == 1
    assert langsmith_server.requests == []


def test_what_a_living_process_works_on_is_left_alone(manual, langsmith_server, spool_dir):
    voice = manual()
    voice.conversation()
    voice.finish(voice.conversation())
    status, said = deliver(environment(langsmith_server))
    assert (status, said[1:]) == (1, ["2 folders left: in use by another process"])
    assert langsmith_server.requests == []


def test_a_process_that_delivers_itself_leaves_alone_what_is_handed_over(
    spooling, manual, monkeypatch, langsmith_server, spool_dir
):
    converse(spooling())
    monkeypatch.delenv("VOICESPAN_DELIVERY")
    voice = manual()
    voice.finish(voice.conversation())
    while voice.send() == 0.0:
        pass
    assert len(langsmith_server.roots) == 1
    assert len(folders(spool_dir)) == 1


# Who dies.


def die(voice):
    """What the kernel does for a process that is killed: nothing is written any more, and the locks are free."""
    for entry in voice.pipeline.writer._entries.values():
        entry.folder.release()
    for job in voice.pipeline.scheduler._jobs.values():
        job.folder.release()


def test_an_application_that_dies_leaves_a_conversation_with_its_error(spooling, manual, langsmith_server):
    voice = manual(api_key=None)
    conversation = voice.conversation()
    voice.child(conversation)
    voice.write()
    work = deliverer(environment(langsmith_server))
    work.look()
    assert (work.status().open, work.status().waiting) == (1, 0)
    for entry in voice.pipeline.writer._entries.values():
        entry.folder.release()
    work._watch._look_at = 0.0
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)
    [root] = langsmith_server.roots
    assert (root.id, root.status, root.metadata["status"]) == (conversation.run_id, "error", "process ended")


@pytest.mark.parametrize("hidden", ["INPUTS", "METADATA"])
def test_what_the_application_hides_its_deliverer_hides(
    manual, langsmith_server, monkeypatch, spool_dir, hidden
):
    monkeypatch.setenv("VOICESPAN_DELIVERY", "spool")
    monkeypatch.setenv(f"LANGSMITH_HIDE_{hidden}", "true")
    voice = manual(api_key=None)
    conversation = voice.conversation()
    voice.write()
    [folder] = folders(spool_dir)
    (folder / "attachment.ogg").write_bytes(b"OggS")
    for entry in voice.pipeline.writer._entries.values():
        entry.folder.release()
    monkeypatch.delenv(f"LANGSMITH_HIDE_{hidden}")
    assert deliver(environment(langsmith_server))[0] == 0
    [root] = langsmith_server.roots
    assert root.id == conversation.run_id
    assert ("conversation" in root.attachments) == (hidden == "METADATA")
    assert ("ls_audio_attach_status" in root.metadata) == (hidden == "INPUTS")


def test_of_many_folders_a_few_are_asked_and_a_dead_process_is_found_among_living_ones(
    spooling, langsmith_server, manual, spool_dir, monkeypatch
):
    voice = manual(api_key=None)
    for _ in range(30):
        voice.conversation()
    asked = []
    monkeypatch.setattr(spool_watch, "is_held", lambda path: asked.append(path) or path not in free)
    free = set()
    watch = deliverer(environment(langsmith_server))._watch
    assert list(watch.look(set())) == []
    assert len(asked) == 8
    # Two processes of one number, as two containers of one pod have them: one of them dies.
    free |= set(folders(spool_dir)[17:])
    looks = [{each.path for each in watch.look(set())} for _ in range(4)]
    assert free in looks


def test_another_machines_folder_is_left_alone_but_not_that_of_another_container(
    spooling, langsmith_server, monkeypatch, spool_dir
):
    monkeypatch.setattr("socket.gethostname", lambda: "pod-1")
    converse(spooling())
    monkeypatch.setattr("socket.gethostname", lambda: "deliverer")
    machine.machine.cache_clear()
    monkeypatch.setattr(machine, "_BOOT_ID", pathlib.Path("/dev/null"))
    assert deliver(environment(langsmith_server), timeout=0.3)[0] == 1
    machine.machine.cache_clear()
    monkeypatch.undo()
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(spool_dir))
    monkeypatch.setattr("socket.gethostname", lambda: "deliverer")
    assert deliver(environment(langsmith_server))[0] == 0


# How it is looked after.


def test_a_call_that_ends_is_seen_before_the_next_whole_look(spooling, langsmith_server):
    agent = spooling()
    # With another call the file of locks stays, so that nothing of the directory changes by itself.
    conversation, other = agent.conversation(), agent.conversation()
    agent.child(conversation)
    assert agent.deliver()
    work = deliverer(environment(langsmith_server))
    work.look()
    work._watch._look_at = math.inf
    conversation.end()
    assert agent.deliver()
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)
    other.end()


def test_a_look_that_finds_nothing_new_reads_no_directory(spooling, langsmith_server, monkeypatch, spool_dir):
    converse(spooling())
    work = deliverer({})
    work.look()
    read = []
    monkeypatch.setattr(work.spool, "waiting", lambda: read.append(1) or [])
    work.look()
    assert read == []
    os.utime(spool_dir)
    work.look()
    assert read == [1]


@pytest.fixture
def watching(langsmith_server):
    """`voicespan deliver` in a thread, which is waited for."""
    threads = []

    def start(grace=5.0):
        work = Delivery(deliverer(environment(langsmith_server)), grace=grace, out=io.StringIO())
        status = []
        threads.append(threading.Thread(target=lambda: status.append(work.watch())))
        threads[-1].start()
        work.status, work.thread = status, threads[-1]
        return work

    yield start
    langsmith_server.release()
    for thread in threads:
        thread.join(10)


def test_who_is_asked_to_end_finishes_what_it_holds_and_begins_nothing(
    spooling, langsmith_server, watching, spool_dir
):
    langsmith_server.fail(hang="answer", stored=True)
    agent = spooling()
    work = watching()
    first = converse(agent)
    langsmith_server.wait_for(lambda server: server.hanging)
    work.end()
    second = converse(agent)
    langsmith_server.release()
    work.thread.join(10)
    assert work.status == [0]
    left = [path.name for path in folders(spool_dir)]
    # The children were taken, which it cannot know: that waits, with what it had not begun.
    assert len(left) == 2
    assert deliver(environment(langsmith_server))[0] == 0
    assert {root.id for root in langsmith_server.roots} == {first.run_id, second.run_id}


def test_a_request_under_way_is_finished_within_the_grace(spooling, langsmith_server, watching, spool_dir):
    langsmith_server.fail(bytes_per_second=3000)
    agent = spooling()
    work = watching()
    conversation = converse(agent)
    langsmith_server.wait_for(lambda server: server.underway)
    work.end()
    work.thread.join(10)
    assert [root.id for root in langsmith_server.roots] == [conversation.run_id]
    assert folders(spool_dir) == []


@pytest.mark.parametrize("how", ["after the grace", "at the second signal"])
def test_a_server_that_hangs_holds_up_the_end_no_longer_than_it_may(
    spooling, langsmith_server, watching, spool_dir, how
):
    langsmith_server.fail(hang="answer")
    agent = spooling()
    work = watching(grace=0.2 if how == "after the grace" else 60.0)
    converse(agent)
    langsmith_server.wait_for(lambda server: server.hanging)
    work.end()
    if how == "at the second signal":
        work.end()
    work.thread.join(10)
    assert work.status == [0]
    assert len(folders(spool_dir)) == 1


def test_several_share_the_work(spooling, langsmith_server, watching, spool_dir):
    work = [watching(), watching()]
    agent = spooling()
    runs = {converse(agent).run_id for _ in range(20)}
    langsmith_server.wait_for(lambda server: len(server.roots) == 20)
    for each in work:
        each.end()
    assert {root.id for root in langsmith_server.roots} == runs
    assert all(langsmith_server.received_count(run) == 1 for run in runs)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_root_looks_after_everybodys_and_what_it_writes_is_theirs(
    spooling, langsmith_server, tmp_path, monkeypatch
):
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(volume / "voicespan-4242"))
    agent = spooling()
    conversation = agent.conversation()
    agent.child(conversation)
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    own = volume / "voicespan-4242"
    for path in (own, *own.rglob("*")):
        os.chown(path, 4242, 4242)
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(volume))
    langsmith_server.fail(status=503, after=1, times=None)
    assert deliver(environment(langsmith_server), timeout=0.5)[0] == 1
    [folder] = folders(own)
    assert {"progress.json", "conversation.ogg"} <= {path.name for path in folder.iterdir()}
    assert {path.stat().st_uid for path in (own, *own.rglob("*"))} == {4242}
    langsmith_server.clear_failures()
    assert deliver(environment(langsmith_server))[0] == 0
    assert [root.id for root in langsmith_server.roots] == [conversation.run_id]


def asked(url):
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, answer.read().decode()
    return None


def figures(url):
    return dict(line.split() for line in asked(f"{url}/metrics")[1].splitlines() if not line.startswith("#"))


def test_it_says_how_it_stands(spooling, langsmith_server):
    work = deliverer({})
    server = StatusServer("127.0.0.1:0", work.status)
    try:
        assert asked(f"{server.url}/ready") is None
        converse(spooling())
        work.look()
        assert asked(f"{server.url}/ready") == (200, "ready\n")
        found = figures(server.url)
        assert (found["voicespan_deliver_waiting"], found["voicespan_deliver_without_key"]) == ("1", "1")
        assert float(found["voicespan_deliver_oldest_seconds"]) > 0
        assert asked(f"{server.url}/anything") is None
    finally:
        server.close()


def test_a_client_that_says_nothing_holds_up_nobody_for_long(monkeypatch):
    monkeypatch.setattr(status_server._Handler, "timeout", 0.05)
    server = StatusServer("127.0.0.1:0", deliverer({}).status)
    try:
        host, port = server.server_address[:2]
        with socket.create_connection((host, port)):
            assert "voicespan_deliver_ready 0" in asked(f"{server.url}/metrics")[1]
    finally:
        server.close()


def test_keys_that_cannot_be_used_are_misuse(tmp_path, monkeypatch, capsys):
    for name, value in keys_file(tmp_path / "keys.json", {"https://x.example": "k"}, 0o644).items():
        monkeypatch.setenv(name, value)
    assert main.main(["deliver", "--once"]) == 2
    assert "others can read" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x", "127.0.0.1:99999999", "203.0.113.1:80"])
def test_an_address_that_cannot_be_listened_at_is_misuse(address, capsys):
    assert main.main(["deliver", "--once", "--http", address]) == 2
    assert "cannot listen at" in capsys.readouterr().err


def test_the_command_serves_until_sigterm(spooling, langsmith_server, spool_dir):
    conversation = converse(spooling())
    process = subprocess.Popen(
        [sys.executable, "-m", "voicespan", "deliver", "--http", "127.0.0.1:0"],
        env={**os.environ, **environment(langsmith_server)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        url = process.stdout.readline().split()[-1]
        langsmith_server.wait_for(lambda server: server.roots)
        assert asked(f"{url}/ready") == (200, "ready\n")
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 10
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert [root.id for root in langsmith_server.roots] == [conversation.run_id]


def shown(work, server, ready):
    """Has a deliverer look until `ready(server)`."""
    ends_at = time.monotonic() + 10
    while not ready(server):
        assert time.monotonic() < ends_at, server.render()
        work.look()
        time.sleep(0.01)


def test_a_deliverer_shows_a_conversation_while_it_goes_on(
    spooling, langsmith_server, spool_dir, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    monkeypatch.setattr(spool_watch, "LOOK_EVERY", 0.05)
    agent = spooling()
    conversation = agent.conversation()
    with conversation.use():
        tool = agent.tracer.start_span("function_call: x")
        agent.tracer.start_span("query", context=otel.set_span_in_context(tool)).end()
    work = deliverer(environment(langsmith_server))
    shown(work, langsmith_server, lambda server: len(server.runs) == 3)
    [root] = langsmith_server.roots
    assert (root.id, root.status) == (conversation.run_id, "pending")
    assert [(run.name, run.status) for run in root.children] == [("function_call: x", "pending")]

    tool.end()
    conversation.attach_recording(b"OggS" * 100, "audio/ogg")
    conversation.end()
    assert agent.deliver()
    shown(work, langsmith_server, lambda server: server.roots[0].status == "success")
    assert root.attachments["conversation"].size == 400
    assert {request.path.rpartition("/")[2] for request in langsmith_server.requests} == {"multipart"}
    assert (langsmith_server.dropped, langsmith_server.waiting) == ([], [])
    until_idle(work)
    work.stop()
    assert folders(spool_dir) == []


def test_one_of_two_deliverers_shows_a_conversation_and_the_other_takes_over(
    spooling, langsmith_server, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    monkeypatch.setattr(spool_watch, "LOOK_EVERY", 0.05)
    agent = spooling()
    conversation = agent.conversation()
    first, second = (deliverer(environment(langsmith_server)) for _ in range(2))
    shown(first, langsmith_server, lambda server: server.roots)
    second.look()
    agent.child(conversation)
    shown(first, langsmith_server, lambda server: len(server.runs) == 2)
    first.stop()
    until_idle(first)
    agent.child(conversation)
    shown(second, langsmith_server, lambda server: len(server.runs) == 3)
    conversation.end()
    assert agent.deliver()
    shown(second, langsmith_server, lambda server: server.roots[0].status == "success")
    until_idle(second)
    second.stop()
    assert [langsmith_server.received_count(run.id, "post") for run in langsmith_server.runs] == [1, 1, 1]


def test_the_figures_become_feedback_where_the_application_asks_for_it(
    spooling, langsmith_server, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_FEEDBACK", "1")
    scored = converse(spooling())
    monkeypatch.setenv("VOICESPAN_FEEDBACK", "0")
    not_scored = converse(spooling())
    assert deliver(environment(langsmith_server))[0] == 0
    assert langsmith_server.run(scored.run_id).scores["user_turn_count"] == 0
    assert langsmith_server.run(not_scored.run_id).feedback == {}


def test_a_thread_that_has_ended_leaves_no_connection_open(spooling, langsmith_server):
    work = deliverer(environment(langsmith_server))
    closed = []
    converse(spooling())
    [found] = list(work._watch.look(set()))
    outlet = work._outlets.to(work._keys.destination(found.meta.destination))
    outlet.http._sessions[-1] = SimpleNamespace(close=lambda: closed.append(1))
    work._watch._look_at = 0.0
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)
    assert closed == [1]


@pytest.mark.parametrize("took", [0.001, 1.0])
def test_looking_takes_a_share_of_a_core_however_many_folders_there_are(monkeypatch, took):
    watch = deliverer({})._watch
    spent = iter((0.0, took))
    monkeypatch.setattr(spool_watch.time, "thread_time", lambda: next(spent))
    assert list(watch.look(set())) == []
    assert watch._look_at - watch._now() == pytest.approx(max(1.0, took * 50), abs=0.5)


# Where there is more to encode than there is time for.


@pytest.mark.parametrize(("seconds", "kind"), [(50, "audio/ogg"), (70, "audio/flac")])
def test_a_recording_that_has_waited_for_a_minute_goes_as_it_is(
    spooling, langsmith_server, spool_dir, seconds, kind
):
    agent = spooling()
    conversation = agent.conversation()
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    work = deliverer(environment(langsmith_server))
    [folder] = folders(spool_dir)
    outlet = work._outlets.to(work._keys.destination(read_meta(folder).destination))
    outlet._begun_at = time.time() - seconds
    os.utime(folder / "settled.json", (outlet._begun_at, outlet._begun_at))
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)
    assert langsmith_server.roots[0].attachments["conversation"].mime_type == kind


def test_what_was_sent_as_it_is_is_sent_again_as_it_is(spooling, langsmith_server, spool_dir):
    agent = spooling()
    conversation = agent.conversation()
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    langsmith_server.fail(reset="answer")
    work = deliverer(environment(langsmith_server))
    [folder] = folders(spool_dir)
    outlet = work._outlets.to(work._keys.destination(read_meta(folder).destination))
    outlet._begun_at = time.time() - 70
    os.utime(folder / "settled.json", (outlet._begun_at, outlet._begun_at))
    work.look()
    langsmith_server.wait_for(lambda server: server.requests and not server.underway)
    work.stop()
    until_idle(work)
    # Another one has just begun, and has time.
    assert deliver(environment(langsmith_server))[0] == 0
    assert len({request.length for request in langsmith_server.requests}) == 1
    assert langsmith_server.roots[0].attachments["conversation"].mime_type == "audio/flac"


def test_while_nothing_is_taken_there_is_time_to_encode(spooling, langsmith_server, spool_dir):
    agent = spooling()
    conversation = agent.conversation()
    agent.child(conversation)  # goes first, and fails: what was sent of a root stays as it is
    speak(conversation)
    conversation.end()
    assert agent.deliver()
    langsmith_server.fail(status=503, times=1)
    work = deliverer(environment(langsmith_server))
    [folder] = folders(spool_dir)
    outlet = work._outlets.to(work._keys.destination(read_meta(folder).destination))
    outlet._begun_at = time.time() - 70
    os.utime(folder / "settled.json", (outlet._begun_at, outlet._begun_at))
    work.look()
    langsmith_server.wait_for(lambda server: server.roots)
    work.stop()
    until_idle(work)
    assert langsmith_server.requests[0].status == 503
    assert langsmith_server.roots[0].attachments["conversation"].mime_type == "audio/ogg"


def test_a_conversation_whose_request_is_under_way_is_let_go_of_when_the_keys_change(
    spooling, langsmith_server, monkeypatch, tmp_path
):
    monkeypatch.setenv("VOICESPAN_LIVE", "1")
    monkeypatch.setattr(spool_watch, "LOOK_EVERY", 0.05)
    langsmith_server.fail(hang="answer", stored=True)
    path = tmp_path / "keys.json"
    work = deliverer(keys_file(path, {langsmith_server.url: langsmith_server.api_key}))
    agent = spooling()
    conversation = agent.conversation()
    shown(work, langsmith_server, lambda server: server.hanging)
    keys_file(path, {langsmith_server.url: langsmith_server.api_key, "https://more.example": "k"})
    work.look()
    conversation.end()
    assert agent.deliver()
    langsmith_server.release()
    shown(work, langsmith_server, lambda server: server.roots and server.roots[0].status == "success")
    until_idle(work)
    work.stop()
    until_idle(work)
