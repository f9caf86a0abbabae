"""The table of what was tested, and what is said of a version."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from voicespan.cli.doctor import libraries, versions
from voicespan.cli.doctor.findings import Mark
from voicespan.runtime import supported

ROOT = Path(__file__).parents[3]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
KNOWN = {**supported.DEPENDENCIES, **supported.LIBRARIES}


def runs():
    """The table of `tests/compat/run.py`."""
    spec = importlib.util.spec_from_file_location("runs_of_compat", ROOT / "tests" / "compat" / "runs.py")
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks for its module.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def pinned(package):
    """Every version of it that a run names."""
    packages = [each for run in runs().RUNS for each in run.packages]
    found = [re.fullmatch(rf"{package}(?:\[.*\])?==([\d.]+?)(?:\.\*)?", each) for each in packages]
    return sorted({match[1] for match in found if match}, key=supported._number)


# The table


@pytest.mark.parametrize("package", ["openai", "google-genai", "websockets"])
def test_the_table_begins_with_the_oldest_that_is_run_and_holds_all_others(package):
    assert supported.LIBRARIES[package].judge(pinned(package)[0]) == "tested"
    assert supported._number(pinned(package)[0])[:2][
        : len(supported._number(supported.LIBRARIES[package].oldest))
    ] == (supported._number(supported.LIBRARIES[package].oldest))
    assert {supported.LIBRARIES[package].judge(version) for version in pinned(package)} == {"tested"}


def test_wrapt_as_it_is_run():
    assert supported.DEPENDENCIES["wrapt"].oldest in pinned("wrapt")
    assert (
        supported._number(pinned("wrapt")[-1])[0]
        == supported._number(supported.DEPENDENCIES["wrapt"].newest)[0]
    )


@pytest.mark.parametrize("package", sorted(KNOWN, key=str.lower))
def test_the_oldest_are_those_of_the_metadata(package):
    asked = re.search(rf'"{package}(?:\[\w+\])?>=([\d.]+)', PYPROJECT, re.IGNORECASE)
    if package == "websockets":
        return  # of the providers' choosing
    assert KNOWN[package].oldest == asked[1]


def test_every_dependency_is_in_the_table():
    needed = PYPROJECT.split("dependencies = [")[1].split("]")[0]
    assert set(re.findall(r'"([\w-]+)>=', needed)) == set(supported.DEPENDENCIES)


@pytest.mark.parametrize("package", sorted(KNOWN, key=str.lower))
def test_what_these_tests_run_with_is_no_other_major_version(package):
    version = versions.installed(package)
    if version is None:
        pytest.skip(f"{package} is not installed")
    assert KNOWN[package].judge(version) in ("tested", "newer")


def test_python_is_what_the_metadata_says():
    named = re.findall(r"Python :: (3\.\d+)", PYPROJECT)
    assert (supported.PYTHON.oldest, supported.PYTHON.newest) == (named[0], named[-1])
    assert (supported.PYTHON.oldest, supported.PYTHON.newest) == runs().ENDS


@pytest.mark.parametrize(
    ("version", "where"),
    [
        ("1.106.9", "older"),
        ("1.107", "tested"),
        ("1.107.0", "tested"),
        ("2.0.0b1", "tested"),
        ("3.54.9", "tested"),
        ("3.55.0", "newer"),
        ("4.0", "far newer"),
        ("", "older"),
    ],
)
def test_where_a_version_stands(version, where):
    assert supported.Supported("1.107", "3.54").judge(version) == where


# What is said


def test_what_is_installed_here_is_fine(look):
    found = look(versions.look)
    assert {finding.mark for finding in found.values()} <= {Mark.OK, Mark.NOTE}
    assert set(found) >= {
        f"versions.{name}" for name in (*supported.DEPENDENCIES, "python", "voicespan", "libsndfile")
    }


def of_version(monkeypatch, changed):
    real = metadata.version

    def version(name):
        if name not in changed:
            return real(name)
        if changed[name] is None:
            raise metadata.PackageNotFoundError(name)
        return changed[name]

    monkeypatch.setattr(metadata, "version", version)


def test_too_old_too_new_and_not_there(look, monkeypatch):
    of_version(monkeypatch, {"wrapt": "1.14.1", "langsmith": "1.0.0", "requests": None, "soxr": "1.9.0"})
    found = look(versions.look)
    assert found["versions.wrapt"].mark is Mark.PROBLEM
    assert "pip install --upgrade wrapt" in found["versions.wrapt"].advice
    assert found["versions.langsmith"].mark is Mark.WARNING
    assert found["versions.requests"].mark is Mark.PROBLEM
    assert found["versions.soxr"].mark is Mark.NOTE


def test_another_system(look, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert look(versions.look)["versions.system"].mark is Mark.WARNING


def test_a_format_that_libsndfile_cannot_write(look, monkeypatch):
    import soundfile

    monkeypatch.setattr(soundfile, "check_format", lambda container, _codec: container != "MP3")
    assert look(versions.look)["versions.libsndfile"].mark is Mark.OK
    missing = look(versions.look, VOICESPAN_RECORDING_FORMAT="mp3")["versions.libsndfile"]
    assert missing.mark is Mark.WARNING
    assert "FLAC" in missing.text


# Libraries


def test_the_seams_of_what_is_installed_are_there(look):
    found = look(libraries.look)
    fewest = {
        "openai": 6,
        "openai.live": 18,
        "google-genai": 6,
        "websockets": 5,
        "aiohttp": 2,
        "websocket-client": 1,
    }
    for name, count in fewest.items():
        if f"libraries.{name}.seams" in found:
            assert found[f"libraries.{name}.seams"].mark is Mark.OK
            assert found[f"libraries.{name}.seams"].facts["seams"] >= count
    assert any(name.endswith(".seams") for name in found)


@pytest.mark.parametrize(
    ("name", "module", "owner", "seam"),
    [
        ("openai", "openai.resources.realtime.realtime", "RealtimeConnection", "recv_bytes"),
        ("openai.live", "openai.resources.live.sideband", "SidebandConnection", "recv_bytes"),
        ("google-genai", "google.genai.live", "AsyncSession", "_receive"),
        ("websockets", "websockets.sync.client", "ClientConnection", "handshake"),
        ("aiohttp", "aiohttp.client", "ClientSession", "_ws_connect"),
        ("websocket-client", "websocket._core", "WebSocket", "connect"),
    ],
)
def test_a_seam_that_has_gone(look, monkeypatch, *, name, module, owner, seam):
    loaded = pytest.importorskip(module)
    monkeypatch.delattr(getattr(loaded, owner), seam)
    gone = look(libraries.look)[f"libraries.{name}.seams"]
    assert gone.mark is Mark.PROBLEM
    assert seam in gone.text


def test_looking_sets_no_seam(look):
    realtime = pytest.importorskip("openai.resources.realtime.realtime")
    before = dict(vars(realtime.RealtimeConnection))
    look(libraries.look)
    assert dict(vars(realtime.RealtimeConnection)) == before


def test_without_any_library_there_is_nothing_to_trace(look, monkeypatch):
    nothing = ("openai", "google-genai", "websockets", "aiohttp", "websocket-client")
    of_version(monkeypatch, dict.fromkeys(nothing))
    found = look(libraries.look)
    assert found["libraries.openai"].mark is Mark.NOTE
    assert found["libraries.none"].mark is Mark.PROBLEM


def test_an_old_openai_says_what_to_install(look, monkeypatch):
    of_version(monkeypatch, {"openai": "1.60.0"})
    old = look(libraries.look)["libraries.openai"]
    assert old.mark is Mark.PROBLEM
    assert "voicespan[openai]" in old.advice


def test_websockets_is_needed_and_frameworks_are_told(look, monkeypatch):
    of_version(monkeypatch, {"websockets": None, "openai-agents": "0.24.0", "google-adk": "2.13.0"})
    found = look(libraries.look)
    assert found["libraries.websockets"].mark is Mark.PROBLEM
    assert "are traced by their URL" in found["libraries.openai-agents"].text
    assert "are traced" in found["libraries.google-adk"].text


def test_an_openai_without_live_says_since_when(look, monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    found = look(libraries.look)
    assert "3.12" in found["libraries.openai.live"].text


def test_a_library_of_sockets_alone_is_something_to_trace(look, monkeypatch):
    gone = ("openai", "google-genai", "aiohttp", "websocket-client")
    of_version(monkeypatch, {**dict.fromkeys(gone), "websockets": "15.0.1"})
    found = look(libraries.look)
    assert "libraries.none" not in found
    assert found["libraries.websockets"].mark is Mark.OK


def test_a_library_that_cannot_be_imported(look, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai.resources.realtime.realtime", None)
    broken = look(libraries.look)["libraries.openai.seams"]
    assert broken.mark is Mark.PROBLEM
    assert "cannot be imported" in broken.text
