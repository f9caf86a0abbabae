"""Real processes that end in every way there is; what they left is delivered, once, by somebody."""

from __future__ import annotations

import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from voicespan.cli import recover
from voicespan.testing import LangSmithServer

TALKER = pathlib.Path(__file__).parent / "programs" / "talker.py"

#: What a kill may cost at most, in seconds.
WRITTEN = 0.25


@pytest.fixture
def server():
    with LangSmithServer() as server:
        yield server


class Talker:
    """A process that holds conversations when told to."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [sys.executable, str(TALKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def tell_last(self, command):
        """A command after which there is nobody to answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.end()

    def end(self, number=None):
        """End it by a signal, or by the end of its input; its status and what it said."""
        if number is not None:
            self.process.send_signal(number)
        _, error = self.process.communicate(timeout=30)
        return self.process.returncode, error


@pytest.fixture
def talker(server, monkeypatch):
    monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
    talkers = []

    def start(**environment):
        talkers.append(Talker({**os.environ, **environment}))
        return talkers[-1]

    yield start
    for each in talkers:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def tree(server, run):
    return [(depth, run.name, run.status) for depth, run in server.tree(run)]


@pytest.mark.parametrize("way", ["end of input", "sys.exit", "exception"])
def test_an_orderly_end_delivers_what_has_ended_and_ends_what_is_open(server, talker, spool_dir, way):
    agent = talker()
    first = agent.tell("open")["run"]
    agent.tell("child turn_complete")
    agent.tell("attach 1000")
    agent.tell("end")
    second = agent.tell("open")["run"]
    agent.tell("child interrupted")
    code, _ = agent.end() if way == "end of input" else agent.tell_last(f"die {way}")

    assert code == {"end of input": 0, "sys.exit": 3, "exception": 1}[way]
    assert tree(server, first) == [(0, "conversation", "success"), (1, "turn_complete", "success")]
    assert server.run(first).attachments["conversation"].size == 1000
    assert [name for _, name, _ in tree(server, second)] == ["conversation", "interrupted"]
    assert server.run(second).metadata["status"] == "process ended"
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_process_of_multiprocessing_delivers_what_it_held(server, spool_dir, method):
    environment = {**os.environ, "LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url}
    program = [sys.executable, str(TALKER.with_name("pooled.py")), method]
    subprocess.run(program, env=environment, check=True, timeout=60)
    assert sorted(root.metadata["status"] for root in server.roots) == ["completed", "process ended"]
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize("way", ["SIGKILL", "SIGTERM", "os._exit"])
def test_an_abrupt_end_leaves_all_but_a_quarter_of_a_second_to_recover(
    server, talker, spool_dir, way, capsys
):
    server.down()
    agent = talker()
    ended = agent.tell("open caller-1")["run"]
    agent.tell("child turn_complete")
    agent.tell("attach 5000")
    agent.tell("end")
    opened = agent.tell("open caller-2")["run"]
    agent.tell("child input_transcription")
    call = agent.tell("start function_call:lookup")["run"]
    agent.tell(f"sleep {WRITTEN}")
    if way == "os._exit":
        agent.tell_last("die os._exit")
    else:
        agent.end(getattr(signal, way))
    assert server.requests == []

    server.up()
    assert recover.recover() == 0

    assert tree(server, ended) == [(0, "conversation", "success"), (1, "turn_complete", "success")]
    assert server.run(ended).attachments["conversation"].size == 5000
    assert tree(server, opened) == [
        (0, "conversation", "error"),
        (1, "input_transcription", "success"),
        (1, "function_call:lookup", "error"),
    ]
    for run in (server.run(opened), server.run(call)):
        assert run.error.startswith("process ended")
        assert run.end_ns >= run.start_ns
    assert server.run(opened).thread_id == "caller-2"
    assert list(spool_dir.iterdir()) == []
    assert "2 conversations sent" in capsys.readouterr().out


def test_a_kill_in_the_middle_of_a_recording_costs_a_second_of_it_at_most(server, talker, spool_dir):
    agent = talker()
    run = agent.tell("open")["run"]
    agent.tell("speak 2.5")
    agent.tell("child turn_complete")
    agent.tell(f"sleep {WRITTEN}")
    agent.end(signal.SIGKILL)
    assert recover.recover() == 0
    attachment = server.run(run).attachments["conversation"]
    assert attachment.mime_type == "audio/ogg"
    assert 1.5 <= soundfile.info(io.BytesIO(attachment.content)).duration <= 3.5
    metadata = server.run(run).metadata
    assert metadata["ls_audio_attach_status"] == "attached"
    assert 0 <= metadata["ls_audio_recording_start_offset_ms"] < 2000
    # And what was known of the call at the last checkpoint: half a second is not laid out yet.
    assert 1.0 <= metadata["user_talk_s"] <= 2.6
    assert (metadata["overlap_share"], metadata["figures_basis"]) == (1.0, "app")
    assert metadata["ls_audio_recording_started_at"] == pytest.approx(time.time(), abs=60)
    assert list(spool_dir.iterdir()) == []


def test_an_exit_right_after_a_call_delivers_its_recording(server, talker, spool_dir):
    agent = talker()
    run = agent.tell("open")["run"]
    agent.tell("speak 1")
    agent.end()
    attachment = server.run(run).attachments["conversation"]
    assert 0.9 <= soundfile.info(io.BytesIO(attachment.content)).duration <= 2
    assert server.run(run).metadata["ls_audio_recording_start_offset_ms"] >= 0
    assert list(spool_dir.iterdir()) == []


def test_the_next_process_with_a_conversation_sends_what_the_last_one_left(server, talker, spool_dir):
    server.down()
    first = talker()
    left = first.tell("open")["run"]
    first.tell("end")
    first.tell(f"sleep {WRITTEN}")
    first.end(signal.SIGKILL)
    server.up()

    idle = talker()
    idle.tell("flush 1")
    idle.end()
    assert server.requests == []

    second = talker()
    second.tell("open")
    server.wait_for(lambda server: [run.id for run in server.roots] == [left])
    second.end()
    assert len(server.roots) == 2


def test_nobody_sends_a_strangers_folder(server, talker, spool_dir):
    server.api_keys.append("another-key")
    server.down()
    first = talker()
    left = first.tell("open")["run"]
    first.tell("end")
    first.tell(f"sleep {WRITTEN}")
    first.end(signal.SIGKILL)
    server.up()

    for stranger in ({"LANGSMITH_API_KEY": "another-key"}, {"LANGSMITH_PROJECT": "other"}):
        other = talker(**stranger)
        own = other.tell("open")["run"]
        other.tell("end")
        assert other.tell("flush 10") == {"flushed": True}
        other.end()
        assert own in {run.id for run in server.roots}
        assert left not in {run.id for run in server.roots}
    assert len(list(spool_dir.iterdir())) == 1
    assert recover.recover() == 0
    assert left in {run.id for run in server.roots}


def test_the_folder_of_a_living_process_is_left_alone(server, talker, spool_dir):
    living = talker()
    run = living.tell("open")["run"]
    living.tell("child turn_complete")
    living.tell(f"sleep {WRITTEN}")

    assert recover.recover() == 1
    assert server.requests == []

    living.tell("end")
    living.end()
    assert tree(server, run)[0] == (0, "conversation", "success")


def test_a_forked_child_neither_sends_nor_loses_its_parents_conversation(server, talker, spool_dir):
    agent = talker()
    run = agent.tell("open")["run"]
    agent.tell("child turn_complete")
    # The child ends the conversation that it inherited, and holds one of its own.
    agent.tell("fork child:of_the_child end sleep:0.3 open child:interrupted end flush:10")
    assert len(server.roots) == 1
    assert [child.name for child in server.roots[0].children] == ["interrupted"]
    agent.tell("child turn_complete")
    agent.tell("end")
    agent.end()
    assert tree(server, run) == [
        (0, "conversation", "success"),
        (1, "turn_complete", "success"),
        (1, "turn_complete", "success"),
    ]
    assert len(server.roots) == 2


def test_what_a_forked_child_left_is_recovered(server, talker, spool_dir):
    agent = talker()
    agent.tell("fork open child:interrupted sleep:0.3")
    agent.end()
    assert server.roots == []
    assert recover.recover() == 0
    assert tree(server, server.roots[0]) == [(0, "conversation", "error"), (1, "interrupted", "success")]


def test_ctrl_c_delivers_the_conversation(server, talker):
    agent = talker()
    run = agent.tell("open")["run"]
    agent.tell("child turn_complete")
    code, _ = agent.end(signal.SIGINT)
    assert code == -signal.SIGINT
    assert tree(server, run)[1] == (1, "turn_complete", "success")


def test_an_exit_waits_no_longer_than_it_may_and_says_what_is_left(server, talker, spool_dir):
    server.fail(hang="answer", times=None)
    agent = talker(VOICESPAN_SHUTDOWN_TIMEOUT="1")
    agent.tell("open")
    agent.tell("end")
    began = time.monotonic()
    code, error = agent.end()
    assert code == 0
    assert time.monotonic() - began < 4
    assert f"1 conversation waits in {spool_dir}; send with: voicespan recover" in error


def test_a_conversation_at_the_very_end_is_delivered_too(server, spool_dir, monkeypatch):
    """When exit callbacks run, new interpreters start no threads any more."""
    monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
    program = """
import atexit, threading
from opentelemetry.sdk.trace import TracerProvider
from voicespan.tracing.scope import conversation
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.tracing import tracer
provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor())
tracer.name_provider(provider)
@atexit.register
def last_words():
    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    threading.Thread.start = refuse
    with conversation():
        pass
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert [root.name for root in server.roots] == ["conversation"]
    assert list(spool_dir.iterdir()) == []


def test_an_exit_does_not_wait_for_a_server_that_is_down(server, talker, spool_dir):
    server.down()
    agent = talker(VOICESPAN_SHUTDOWN_TIMEOUT="1")
    agent.tell("open")
    agent.tell("end")
    began = time.monotonic()
    _, error = agent.end()
    assert time.monotonic() - began < 3
    assert "send with: voicespan recover" in error


def test_a_process_without_a_conversation_starts_no_thread_and_reads_no_folder(
    server, spool_dir, monkeypatch
):
    program = """
import threading
from opentelemetry.sdk.trace import TracerProvider
from voicespan.delivery import LangSmithSpanProcessor
provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor(api_key="k"))
with provider.get_tracer("the-app").start_as_current_span("work"):
    pass
provider.force_flush()
print([thread.name for thread in threading.enumerate()])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['MainThread']"
    assert not spool_dir.exists()


def test_what_takes_time_to_import_is_imported_before_the_first_call(spool_dir):
    """An event loop that opens its first conversation would stand still for as long as that takes."""
    program = """
import sys
import voicespan
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(voicespan.LangSmithSpanProcessor(api_key="k", endpoint="http://127.0.0.1:9"))
from voicespan.tracing.conversation import Conversation
before = set(sys.modules)
conversation = Conversation(tracer_provider=provider)
conversation.recorder
print(sorted(name for name in set(sys.modules) - before if "." not in name or name.startswith("voicespan.")))
import os
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "requests" not in done.stdout
    assert "voicespan." not in done.stdout
