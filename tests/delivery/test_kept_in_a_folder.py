"""Conversations kept in a folder: complete or hidden, whole after a kill, within their bounds, beside any other destination."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.delivery.destination.folder_destination import FolderDestination, not_delivered
from voicespan.delivery.folder.call_folders import CallFolders
from voicespan.delivery.folder.settings import FolderSettings
from voicespan.delivery.processor import LangSmithSpanProcessor
from voicespan.delivery.spool.files import Files
from voicespan.runtime import settings

SECOND = (np.sin(np.arange(24_000) / 10) * 9_000).astype("<i2").tobytes()


@pytest.fixture
def calls(tmp_path):
    return tmp_path / "calls"


class Keeper:
    """A process that keeps its conversations, as far as one test needs it."""

    def __init__(self, calls, *others):
        self.processor = voicespan.FolderSpanProcessor(calls)
        self.provider = TracerProvider(shutdown_on_exit=False)
        for processor in (*others, self.processor):
            self.provider.add_span_processor(processor)

    def hold(self, **arguments):
        """A conversation with a second of sound on either side and one span below it."""
        conversation = voicespan.Conversation(tracer_provider=self.provider, **arguments)
        conversation.recorder.user(SECOND, 24_000)
        conversation.recorder.agent(SECOND, 24_000)
        with conversation.use():
            self.provider.get_tracer("application").start_span("look up").end()
        return conversation

    def finish(self, conversation):
        conversation.end()
        assert self.provider.force_flush(10_000)


@pytest.fixture
def keeper(calls):
    started = []

    def start(*others):
        started.append(Keeper(calls, *others))
        return started[-1]

    yield start
    for each in started:
        each.provider.shutdown()


def spans_of(call):
    """Every span of the file by its name, as plain JSON."""
    spans = {}
    for line in (call / "spans.jsonl").read_text().splitlines():
        for resource_spans in json.loads(line)["resourceSpans"]:
            for scope_spans in resource_spans["scopeSpans"]:
                spans.update({span["name"]: span for span in scope_spans["spans"]})
    return spans


def listed(calls):
    """The directories in the folder; while one is worked on there is a file for the locks beside them."""
    return [path for path in calls.iterdir() if path.is_dir()]


def attributes_of(span):
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_a_complete_conversation_is_a_directory_with_three_files(keeper, calls):
    kept = keeper()
    conversation = kept.hold(thread_id="booking-7")
    assert kept.provider.force_flush(10_000)
    [running] = listed(calls)
    assert running.name.startswith(".")
    located = conversation._root.span.attributes["voicespan.recording.path"]

    kept.finish(conversation)
    [call] = listed(calls)
    assert call.name == running.name.removeprefix(".")
    assert sorted(path.name for path in call.iterdir()) == [
        "conversation.json",
        "recording.ogg",
        "spans.jsonl",
    ]
    assert located == str(call / "recording.ogg")
    assert {path.stat().st_mode & 0o077 for path in (calls, call, *call.iterdir())} == {0}

    facts = json.loads((call / "conversation.json").read_text())
    assert (facts["trace_id"], facts["thread_id"]) == (conversation.trace_id, "booking-7")
    assert facts["recording"]["status"] == "attached"
    assert facts["metadata"]["status"] == "completed"
    sound, rate = soundfile.read(call / "recording.ogg")
    assert sound.shape[1] == 2
    assert sound.shape[0] / rate == pytest.approx(1.0, abs=0.1)

    spans = spans_of(call)
    root, child = spans["conversation"], spans["look up"]
    assert root["traceId"] == child["traceId"] == conversation.trace_id
    assert child["parentSpanId"] == root["spanId"]
    assert root["endTimeUnixNano"].isdigit()
    assert attributes_of(root)["langsmith.metadata.ls_audio_attach_status"] == "attached"


def test_a_killed_process_leaves_what_the_next_one_finishes(keeper, calls):
    program = (
        "import os, sys, time, voicespan; sys.path.insert(0, sys.argv[1])\n"
        "from test_kept_in_a_folder import Keeper\n"
        "kept = Keeper(sys.argv[2]); kept.hold(thread_id='killed')\n"
        "time.sleep(1.5); kept.provider.force_flush(5000)\n"
        "print('here', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, Path(__file__).parent, str(calls)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    [left] = listed(calls)
    assert left.name.startswith(".")

    kept = keeper()
    kept.finish(kept.hold(thread_id="next"))
    found = {
        json.loads((call / "conversation.json").read_text())["thread_id"]: call for call in listed(calls)
    }
    assert found["killed"].name == left.name.removeprefix(".")
    facts = json.loads((found["killed"] / "conversation.json").read_text())
    assert facts["error"] == "process ended"
    assert facts["recording"]["status"] == "attached"
    assert soundfile.info(found["killed"] / "recording.ogg").duration == pytest.approx(1.0, abs=0.1)


def test_beside_langsmith_both_have_the_whole_conversation(keeper, calls, langsmith_server):
    sent = LangSmithSpanProcessor(endpoint=langsmith_server.url, api_key=langsmith_server.api_key)
    kept = keeper(sent)
    kept.finish(kept.hold())
    [call] = listed(calls)
    [root] = langsmith_server.roots
    [attached] = root.attachments.values()
    assert (call / "recording.ogg").read_bytes() == attached.read()
    assert root.metadata["thread_id"] == json.loads((call / "conversation.json").read_text())["thread_id"]


def test_a_disk_that_is_full_shows_nothing_and_the_next_try_finishes(keeper, calls, monkeypatch):
    kept = keeper()
    conversation = kept.hold()
    assert kept.provider.force_flush(10_000)
    replace = Files.replace
    refusals = []

    def refuse(files, name, content):
        if name == "conversation.json":
            refusals.append(name)
            files.keep(name, content)
        else:
            replace(files, name, content)

    monkeypatch.setattr(Files, "replace", refuse)
    conversation.end()
    kept.provider.force_flush(1_500)
    assert refusals
    assert [call.name[0] for call in listed(calls)] == ["."]
    monkeypatch.undo()
    assert kept.provider.force_flush(10_000)
    [call] = listed(calls)
    assert (call / "conversation.json").exists()


def test_what_comes_late_still_joins(keeper, calls):
    kept = keeper()
    conversation = voicespan.Conversation(tracer_provider=kept.provider)
    late = None
    with conversation.use():
        late = kept.provider.get_tracer("application").start_span("slow tool")
    kept.finish(conversation)
    [call] = listed(calls)
    assert "slow tool" not in spans_of(call)
    assert not list(call.glob("recording.*"))

    late.end()
    conversation.attach_recording(b"OggS from a browser", "audio/ogg").wait(10)
    assert kept.provider.force_flush(10_000)
    assert [each.name for each in listed(calls)] == [call.name]
    assert spans_of(call)["slow tool"]["parentSpanId"] == spans_of(call)["conversation"]["spanId"]
    assert (call / "recording.ogg").read_bytes() == b"OggS from a browser"
    assert json.loads((call / "conversation.json").read_text())["recording"]["status"] == "attached"


def make_call(calls, day, size):
    call = calls / f"202601{day:02}T120000-{day:032x}-{day:06x}"
    call.mkdir(parents=True, mode=0o700)
    (call / "conversation.json").write_bytes(b"{}")
    (call / "recording.ogg").write_bytes(bytes(size))
    return call


@pytest.fixture
def folders(calls, fake_clock):
    def at(day, **bounds):
        wanted = datetime(2026, 1, day, 13, tzinfo=timezone.utc).timestamp()
        fake_clock.advance(wanted - fake_clock.time_ns() / 1e9)
        folders = CallFolders(FolderSettings(calls, **bounds), fake_clock)
        assert folders.root == calls
        return folders

    return at


def test_the_oldest_go_when_there_are_too_many_bytes(calls, folders):
    oldest, middle, newest = (make_call(calls, day, 1_000) for day in (1, 2, 3))
    running = calls / f".{oldest.name}"
    running.mkdir()
    folders(4, max_bytes=2_100).tidy()
    assert {path.name for path in listed(calls)} == {middle.name, newest.name, running.name}


def test_those_go_that_are_too_old(calls, folders):
    make_call(calls, 1, 10), make_call(calls, 2, 10)
    newest = make_call(calls, 9, 10)
    folders(9, max_age=7 * 86_400.0).tidy()
    assert [path.name for path in listed(calls)] == [newest.name]


def test_the_bound_holds_while_conversations_are_kept(keeper, calls, monkeypatch):
    older = [make_call(calls, day, 40_000) for day in (1, 2)]
    monkeypatch.setenv("VOICESPAN_FOLDER_MAX_BYTES", "90000")
    monkeypatch.setenv("VOICESPAN_FOLDER_MAX_AGE", "36500")
    kept = keeper()
    kept.finish(kept.hold())
    assert [call.exists() for call in older] == [False, True]
    assert len(listed(calls)) == 2


def test_nothing_that_is_not_ours_is_removed(calls, folders):
    calls.mkdir(mode=0o700)
    for name in ("notes", "20260101-backup", "20260101T120000-mine"):
        (calls / name).mkdir()
        (calls / name / "file").write_bytes(bytes(5_000))
    folders(30, max_bytes=10, max_age=1.0).tidy()
    assert len(listed(calls)) == 3


def test_what_a_kill_left_beside_the_three_files_is_removed(calls, folders):
    call = make_call(calls, 3, 10)
    for name in ("meta.json", "spans-000.journal", "lock"):
        (call / name).write_bytes(b"{}")
    folders(3).tidy()
    assert sorted(path.name for path in call.iterdir()) == ["conversation.json", "recording.ogg"]


def test_what_langsmiths_variables_hide_is_hidden_here_too(keeper, calls, monkeypatch):
    monkeypatch.setenv("LANGSMITH_HIDE_INPUTS", "true")
    kept = keeper()
    kept.finish(kept.hold())
    [call] = listed(calls)
    assert not list(call.glob("recording.*"))
    assert json.loads((call / "conversation.json").read_text())["recording"]["status"] == "hidden"


def test_a_call_that_is_not_recorded_says_no_place(keeper):
    kept = keeper()
    conversation = kept.hold(record=False)
    assert "voicespan.recording.path" not in conversation._root.span.attributes
    kept.finish(conversation)


def test_an_application_says_where_it_puts_recordings(keeper, request):
    request.addfinalizer(lambda: settings.set_recording_url(None))
    settings.set_recording_url(
        lambda conversation: f"https://store.example/{conversation.thread_id}.ogg?api_key=s3cr3t-s3cr3t"
    )
    kept = keeper()
    conversation = kept.hold(thread_id="t-9")
    located = conversation._root.span.attributes["voicespan.recording.path"]
    assert located == "https://store.example/t-9.ogg?api_key=[secret]"
    kept.finish(conversation)


def test_a_folder_is_written_to_and_nothing_is_sent_there(calls):
    assert not_delivered(FolderDestination(calls)) == f"not written to {calls}"
