"""`voicespan spool` and `voicespan recover`, and what a person sees when a process ends."""

from __future__ import annotations

import io
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from voicespan.cli import main, recover, spool
from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.spool.folder import read_meta
from voicespan.delivery.spool.recovery_command import recover_command
from voicespan.testing import LangSmithServer

TALKER = pathlib.Path(__file__).parent / "programs" / "talker.py"


@pytest.fixture
def voice(manual):
    return manual()


@pytest.fixture
def destination(monkeypatch, langsmith_server):
    monkeypatch.setenv("LANGSMITH_API_KEY", langsmith_server.api_key)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith_server.url)


def converse(voice, thread_id=None):
    conversation = voice.conversation(thread_id=thread_id)
    voice.child(conversation)
    voice.finish(conversation)
    return conversation


def listed(clock):
    out = io.StringIO()
    assert spool.spool(out=out, clock=clock) == 0
    return out.getvalue().splitlines()


def recovered(clock, **arguments):
    out = io.StringIO()
    code = recover.recover(out=out, clock=clock, sleep=clock.advance, **arguments)
    return code, out.getvalue().splitlines()


def test_an_empty_spool_says_so(spool_dir, fake_clock):
    assert listed(fake_clock) == [str(spool_dir), "nothing waits"]


def test_the_spool_tells_what_waits_since_when_why_and_for_whom(voice, langsmith_server, spool_dir):
    voice.conversation(thread_id="caller-1")
    langsmith_server.fail(status=503, text="busy", times=None)
    converse(voice, "caller-2")
    voice.send()
    langsmith_server.clear_failures()
    langsmith_server.fail(status=422, text="no")
    voice.clock.advance(2)
    converse(voice, "caller-3")
    voice.send()
    dead = voice.conversation(thread_id="caller-4")
    next(
        entry for entry in voice.pipeline.writer._entries.values() if entry.trace.conversation is dead
    ).folder.release()
    voice.clock.advance(7200)

    lines = listed(voice.clock)

    assert lines[0] == str(spool_dir)
    rows = {columns[1]: columns for columns in (re.split(r"\s{2,}", line) for line in lines[1:])}
    url = langsmith_server.traces_url
    assert rows["conversation"] == ["since", "conversation", "state", "size", "destination"]
    assert rows["caller-1"][:3] == ["2 h", "caller-1", "open"]
    assert rows["caller-2"][2] == "waits: 503: busy"
    assert rows["caller-3"][2] == "refused: no"
    assert rows["caller-4"][2].startswith(f"its process ({os.getpid()} on ")
    assert {columns[4] for name, columns in rows.items() if name != "conversation"} == {
        f"project default, {url}"
    }


def test_a_folder_that_is_not_ours_is_shown_and_left_alone(spool_dir, fake_clock, destination):
    (spool_dir / "20260101T000000-something").mkdir(parents=True)
    (spool_dir / "20260101T000000-something" / "meta.json").write_text('{"version": 99}')
    (spool_dir / "20260101T000000-something" / "lock").touch()
    assert "not a folder of this version" in listed(fake_clock)[-1]
    code, lines = recovered(fake_clock)
    assert code == 3
    assert lines[1] == (
        f"1 folder waits in {spool_dir}: 20260101T000000-something cannot be read: "
        "not a folder of this version and this user"
    )
    assert len(list(spool_dir.iterdir())) == 1


def test_the_spool_names_the_folder_in_which_it_waits(voice, langsmith_server, monkeypatch, tmp_path):
    """Where the one that was named could not be used, another was."""
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    waits = elsewhere / f"voicespan-{os.getuid()}"
    langsmith_server.down()
    moved = voice.__class__(langsmith_server, voice.clock, spool_dir="/proc/none")
    converse(moved)
    moved.send()
    out = io.StringIO()
    assert spool.spool(spool_dir="/proc/none", out=out, clock=voice.clock) == 0
    assert out.getvalue().splitlines()[0] == str(waits)


def test_recover_sends_and_tells_of_what_is_for_others(
    voice, langsmith_server, destination, spool_dir, caplog
):
    converse(voice)
    converse(voice)
    other = voice.__class__(langsmith_server, voice.clock, project="other")
    converse(other)
    for each in (voice, other):
        langsmith_server.down()
        each.send_for(20)
        langsmith_server.up()
    caplog.clear()
    code, lines = recovered(voice.clock)
    url = langsmith_server.traces_url
    assert (code, lines) == (
        0,
        [
            f"2 conversations sent to project default, {url}",
            f"1 conversation waits in {spool_dir}: for another destination: project other, {url}",
        ],
    )
    # Nor is it said a second time, in a line of the log.
    assert "for another key or project" not in caplog.text
    assert recovered(voice.clock, project="other") == (0, [f"1 conversation sent to project other, {url}"])
    assert len(langsmith_server.roots) == 3


def test_recover_gives_up_when_nothing_is_taken_and_says_why(voice, langsmith_server, destination, spool_dir):
    converse(voice)
    langsmith_server.fail(status=503, text="busy", times=None)
    voice.send()
    began = voice.clock.monotonic_ns()
    code, lines = recovered(voice.clock, patience=100)
    assert code == 1
    url = langsmith_server.traces_url
    assert lines[1] == f"1 conversation waits in {spool_dir}: not sent to LangSmith at {url}: 503: busy"
    assert (voice.clock.monotonic_ns() - began) / 1e9 <= 100


def test_recover_takes_no_longer_than_it_may(voice, langsmith_server, destination):
    converse(voice)
    langsmith_server.fail(status=503, text="busy", times=None)
    voice.send()
    began = voice.clock.monotonic_ns()
    assert recovered(voice.clock, timeout=10)[0] == 1
    assert (voice.clock.monotonic_ns() - began) / 1e9 <= 10


def test_recover_leaves_what_a_process_works_on_and_says_which(voice, destination, spool_dir):
    voice.conversation()
    code, lines = recovered(voice.clock)
    assert code == 1
    where = f"{os.getpid()} on {socket.gethostname()}"
    assert lines[1] == f"1 conversation waits in {spool_dir}: in use by another process ({where})"


def test_recover_counts_late_spans_apart_from_conversations(voice, langsmith_server, destination):
    conversation = voice.conversation()
    with conversation.use():
        late = voice.tracer.start_span("late")
    voice.finish(conversation)
    voice.send()
    late.end()
    voice.write()
    voice.clock.advance(5)
    voice.write()
    langsmith_server.fail(status=503, times=None)
    voice.send()
    langsmith_server.clear_failures()
    lines = recovered(voice.clock)[1]
    assert lines == [
        f"0 conversations and 1 folder of late spans sent to project default, {langsmith_server.traces_url}"
    ]


def test_towards_a_collector_no_line_says_langsmith(manual, monkeypatch, langsmith_server, spool_dir, caplog):
    monkeypatch.setenv("VOICESPAN_ENDPOINT", langsmith_server.traces_url)
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    langsmith_server.fail(status=503, text="busy", times=None)
    voice = manual(langsmith_server, endpoint=None, api_key=None)
    converse(voice)
    voice.send()
    code, lines = recovered(voice.clock)
    url = langsmith_server.traces_url
    assert (code, lines) == (
        1,
        [
            f"0 conversations sent to {url}",
            f"1 conversation waits in {spool_dir}: not sent to the Collector at {url}: 503: busy",
        ],
    )
    assert "LangSmith" not in caplog.text
    assert f"the Collector at {url} did not take traces" in caplog.text


@pytest.fixture
def old(voice, langsmith_server, destination, manual):
    """A conversation of 40 days ago for another project, and one of now; both cannot be sent."""
    langsmith_server.fail(status=503, text="busy", times=None)
    other = manual(project="other")
    converse(other, "caller-1")
    other.send()
    voice.clock.advance(40 * 86_400)
    converse(voice, "caller-2")
    voice.send()
    return voice


def names(spool_dir):
    return sorted(read_meta(path).thread_id for path in spool_dir.glob("[!.]*"))


def test_what_is_old_is_dropped_when_the_person_says_yes(old, langsmith_server, spool_dir):
    asked = []

    def yes(question):
        asked.append(question)
        return True

    code, lines = recovered(old.clock, drop_older_than=30, confirm=yes)
    url = langsmith_server.traces_url
    assert code == 1
    assert re.fullmatch(
        f"older than 30 days: caller-1, 40 d old, 0.0 MB, project other, {re.escape(url)}", lines[-2]
    )
    assert asked == ["Remove it for good? [y/N] "]
    assert lines[-1].startswith("dropped: caller-1, 40 d old, ")
    assert names(spool_dir) == ["caller-2"]


def test_what_is_old_stays_when_nobody_says_yes(old, spool_dir, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, lines = recovered(old.clock, drop_older_than=30)
    assert (code, lines[-1]) == (1, "nothing dropped")
    assert names(spool_dir) == ["caller-1", "caller-2"]


@pytest.mark.parametrize(("days", "told"), [("0", "0 is not more than 0"), ("soon", "soon is no number")])
def test_an_age_that_is_none_is_refused_in_plain_words(days, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["recover", "--drop-older-than", days])
    assert f"argument --drop-older-than: {told}" in capsys.readouterr().err


def test_what_is_not_old_enough_is_not_asked_about(old, spool_dir):
    lines = recovered(old.clock, drop_older_than=50, confirm=pytest.fail)[1]
    assert lines[-1] == "nothing that waits is older than 50 days"
    assert names(spool_dir) == ["caller-1", "caller-2"]


def test_what_a_process_works_on_is_not_dropped(voice, destination, spool_dir):
    voice.conversation(thread_id="caller-1")
    voice.clock.advance(40 * 86_400)
    assert recovered(voice.clock, drop_older_than=30, confirm=pytest.fail)[0] == 1
    assert names(spool_dir) == ["caller-1"]


@pytest.mark.usefixtures("destination")
def test_recover_takes_folders_of_a_replaced_key_when_told_so(
    voice, langsmith_server, monkeypatch, spool_dir
):
    converse(voice)
    langsmith_server.api_keys[:] = ["lsv2_pt_replaced"]
    voice.send()
    monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2_pt_replaced")
    code, lines = recovered(voice.clock)
    assert code == 3
    assert (
        lines[1] == f"1 conversation waits in {spool_dir}: for another key; if it was replaced, add --new-key"
    )
    assert langsmith_server.roots == []
    recovered(voice.clock, new_key=True)
    assert len(langsmith_server.roots) == 1


def test_the_command_that_is_told_at_exit_names_what_the_environment_does_not(
    monkeypatch, tmp_path, spool_dir
):
    mine = resolve(api_key="k", endpoint="https://h.example/api/v1", project="my calls", workspace="w")
    command = recover_command(mine, spool_dir)
    assert (
        command == "voicespan recover --project 'my calls' --endpoint https://h.example/api/v1 --workspace w"
    )
    monkeypatch.setenv("LANGSMITH_API_KEY", "k")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "https://h.example/api/v1")
    monkeypatch.setenv("LANGSMITH_PROJECT", "my calls")
    monkeypatch.setenv("LANGSMITH_WORKSPACE_ID", "w")
    assert recover_command(mine, spool_dir) == "voicespan recover"
    assert recover_command(mine, tmp_path) == f"voicespan recover --spool-dir {tmp_path}"


class Terminal:
    """A process that talks on a terminal."""

    def __init__(self, environment):
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(TALKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env=environment,
        )
        os.close(theirs)
        self.shown = ""

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def wait_for(self, words, seconds=20):
        """Read the terminal until it shows `words`."""
        end = time.monotonic() + seconds
        while words not in self.shown:
            ready, _, _ = select.select([self.terminal], [], [], max(end - time.monotonic(), 0))
            assert ready, self.shown
            self.shown += self.read()

    def read(self):
        try:
            return os.read(self.terminal, 10_000).decode()
        except OSError:  # what a terminal reads as when nobody holds its other side
            return ""

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        while more := self.read():
            self.shown += more
        os.close(self.terminal)
        self.process.stdout.close()


@pytest.fixture
def terminal(monkeypatch):
    with LangSmithServer() as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        started = Terminal({**os.environ})
        started.server = server
        yield started
        if started.process.poll() is None:
            started.process.kill()
            started.process.communicate()


def visible(shown):
    """What stands on the line after all that was written over it."""
    line = ""
    for text in shown.split("\r"):
        line = text + line[len(text) :]
    return line.strip()


def test_a_terminal_shows_how_far_the_sending_is_and_then_nothing(terminal):
    terminal.server.fail(bytes_per_second=2_000_000, times=None)
    terminal.tell("open")
    terminal.tell("attach 2000000")
    terminal.tell("end")
    terminal.process.stdin.close()
    terminal.wait_for("voicespan: sending 1 conversation to LangSmith")
    terminal.wait_for("of 2.7 MB), Ctrl-C to leave them for later")
    terminal.process.wait(20)
    terminal.close()
    assert visible(terminal.shown) == ""
    assert len(terminal.server.roots) == 1


def test_a_second_ctrl_c_leaves_it_for_later_and_says_how(terminal, spool_dir):
    terminal.server.fail(hang="answer", times=None)
    terminal.tell("open")
    terminal.tell("end")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("voicespan: sending 1 conversation")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for(f"voicespan: 1 conversation waits in {spool_dir}; send with: voicespan recover")
    terminal.close()
    # Of the application's own KeyboardInterrupt, and of nothing else.
    assert terminal.shown.count("Traceback") == 1
