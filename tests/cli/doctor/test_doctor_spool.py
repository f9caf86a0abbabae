"""The spool: usable or not, how full, and what waits for whom."""

from __future__ import annotations

import os

import pytest
from opentelemetry.sdk.trace import TracerProvider

from voicespan.cli.doctor import spool
from voicespan.cli.doctor.findings import Mark
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.delivery.spool.spool import MEMORY_BYTES
from voicespan.testing import FakeClock
from voicespan.tracing.conversation import Conversation


@pytest.fixture
def wait(langsmith, tmp_path, monkeypatch):
    """Has a conversation wait, as nobody listens; answers its folder."""
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "no-profiles.json"))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "0.3")
    monkeypatch.setattr("voicespan.delivery.shutdown._logger.disabled", True)

    def wait(**arguments):
        langsmith.down()
        before = set((tmp_path / "spool").glob("[!.]*"))
        provider = TracerProvider(shutdown_on_exit=False)
        arguments = {"endpoint": langsmith.url, "api_key": langsmith.api_key, **arguments}
        provider.add_span_processor(LangSmithSpanProcessor(spool_dir=tmp_path / "spool", **arguments))
        Conversation(tracer_provider=provider).end()
        provider.shutdown()
        [made] = set((tmp_path / "spool").glob("[!.]*")) - before
        return made

    return wait


def names(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def test_a_folder_that_is_not_there_is_not_made(look, tmp_path):
    found = look(spool.look, VOICESPAN_SPOOL_DIR=str(tmp_path / "a" / "b"))
    assert found["spool.folder"].mark is Mark.OK
    assert found["spool.folder"].facts["exists"] is False
    assert found["spool.waiting"].text == "nothing waits"
    assert names(tmp_path) == []


def test_one_that_is_there_is_left_as_it_was(look, tmp_path):
    (tmp_path / "spool").mkdir(mode=0o700)
    found = look(spool.look)
    assert found["spool.folder"].text == f"{tmp_path / 'spool'} can be written"
    assert names(tmp_path / "spool") == []


def test_a_file_where_the_folder_should_be(look, tmp_path):
    (tmp_path / "spool").write_text("")
    found = look(spool.look)
    assert found["spool.writable"].mark is Mark.PROBLEM
    assert found["spool.folder"].mark is Mark.WARNING
    assert "among the temporary files" in found["spool.folder"].text
    assert (tmp_path / "spool").is_file()


def test_no_place_at_all(look, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nothing")
    found = look(spool.look, VOICESPAN_SPOOL_DIR="/proc/nothing/spool")
    assert found["spool.memory"].mark is Mark.PROBLEM
    assert f"{MEMORY_BYTES // 1_000_000} MB of memory" in found["spool.memory"].text


def test_a_disk_without_room(look, tmp_path, monkeypatch):
    import tempfile

    real = tempfile.NamedTemporaryFile

    class Full:
        def __init__(self, **where):
            self._file = real(**where)

        def __enter__(self):
            self._file.__enter__()
            return self

        def __exit__(self, *left):
            return self._file.__exit__(*left)

        def write(self, _content):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", Full)
    (tmp_path / "spool").mkdir(mode=0o700)
    full = look(spool.look)["spool.writable"]
    assert full.facts["reason"] == "No space left on device"
    assert names(tmp_path / "spool") == []


def test_a_file_system_without_locks(look, tmp_path, monkeypatch):
    def none(*_args, **_kwargs):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("voicespan.delivery.spool.spool.FolderLock.take", none)
    (tmp_path / "spool").mkdir(mode=0o700)
    assert look(spool.look)["spool.writable"].facts["reason"] == "No locks available"
    assert names(tmp_path / "spool") == []


def test_a_folder_that_others_can_write_to(look, tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    found = look(spool.look)["spool.folder"]
    assert found.mark is Mark.NOTE
    assert found.facts["folder"] == str(tmp_path / "spool" / f"voicespan-{os.geteuid()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks into the spools of others")
def test_somebody_elses(look, tmp_path):
    (tmp_path / "spool").mkdir(mode=0o700)
    os.chown(tmp_path / "spool", 12345, 12345)
    owner = look(spool.look)["spool.owner"]
    assert owner.mark is Mark.WARNING
    assert owner.facts["owner"] == 12345


def test_how_full(look, wait, to):
    folder = wait()
    used = sum(path.stat().st_size for path in folder.iterdir())
    fullness = look(spool.look, **to)["spool.fullness"]
    assert fullness.mark is Mark.OK
    assert fullness.facts["used_bytes"] == used
    assert fullness.facts["max_bytes"] <= 2 << 30

    nearly = look(spool.look, VOICESPAN_SPOOL_MAX_BYTES=str(used), **to)["spool.fullness"]
    assert nearly.mark is Mark.PROBLEM
    assert nearly.facts["max_bytes"] == used


def test_what_waits_for_this_destination(look, wait, to):
    wait()
    wait()
    waiting = look(spool.look, clock=_Later(7200), **to)["spool.waiting"]
    assert waiting.mark is Mark.WARNING
    url = f"{to['LANGSMITH_ENDPOINT']}/otel/v1/traces"
    assert waiting.text.startswith(
        f"2 conversations for this destination, {url}, the oldest 2 h old: 2 waiting after no answer"
    )
    assert waiting.facts["waiting"] == 2
    assert "voicespan recover" in waiting.advice


class _Later(FakeClock):
    """So many seconds from now."""

    def __init__(self, seconds):
        super().__init__()
        self._seconds = seconds

    def time_ns(self):
        import time

        return time.time_ns() + self._seconds * 1_000_000_000


def test_what_waits_for_others_and_how_it_is_sent(look, wait, langsmith, to):
    wait(project="another one")
    wait(api_key="lsv2_pt_replaced", project="default")
    found = look(spool.look, **to)
    assert "spool.waiting" not in found
    # Several of the same name: each is a line.
    assert found["spool.other_destination"].mark is Mark.WARNING

    from voicespan.cli.doctor.findings import Surroundings

    environ = {**os.environ}
    others = [each for each in spool.look(Surroundings(environ)) if each.check == "spool.other_destination"]
    assert {finding.facts["command"] for finding in others} == {
        "voicespan recover --project 'another one'",
        "voicespan recover --new-key",
    }
    assert {finding.facts["url"] for finding in others} == {langsmith.traces_url}


def test_what_waits_for_a_collector(look, wait, to, monkeypatch):
    monkeypatch.setenv("VOICESPAN_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    wait(endpoint=None, api_key=None)
    monkeypatch.delenv("VOICESPAN_ENDPOINT")
    found = look(spool.look, **to)["spool.other_destination"]
    command = "VOICESPAN_ENDPOINT=http://127.0.0.1:9/v1/traces voicespan recover"
    # No key is asked for: a Collector wants none.
    assert (found.facts["command"], found.advice) == (command, f"to send them: {command}")


def test_what_is_set_aside_and_what_is_of_nobody(look, wait, to, tmp_path):
    folder = wait()
    folder.rename(folder.with_name(f"kept-{folder.name}"))
    (tmp_path / "spool" / "20260101T000000-something").mkdir(mode=0o700)
    found = look(spool.look, **to)
    assert found["spool.kept"].mark is Mark.WARNING
    assert found["spool.kept"].facts == {"folders": 1, "refused": 0}
    assert found["spool.unknown"].facts == {"folders": 1}


def test_one_whose_process_died(look, wait, to):
    folder = wait()
    (folder / "settled.json").unlink()
    assert "1 of a process that died" in look(spool.look, **to)["spool.waiting"].text


def test_without_any_destination_nothing_is_this_ones(look, wait):
    wait()
    assert look(spool.look)["spool.other_destination"].facts["folders"] == 1
