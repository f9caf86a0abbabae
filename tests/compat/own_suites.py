"""The libraries whose own tests `own_tests.py` runs: which tests, what they need, and where they are to be had."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from environments import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ABOUT_US = re.compile(r"realtime|websocket|reconnect|send_queue", re.IGNORECASE)
#: The first needs the vendor's mock of the HTTP API; the others speak of connections, but open none of ours.
_NOT_OF_OPENAI = (
    "tests/api_resources/",
    "tests/lib/responses/",
    "tests/lib/test_bedrock.py",
    "tests/lib/test_webhooks.py",
    "tests/test_httpx2.py",
    "tests/test_uv_workflows.py",
)
#: So that what their tests open on this machine counts as a conversation.
_ANY_LOCAL = "localhost/=openai-realtime,127.0.0.1/=openai-realtime"


@dataclass(frozen=True)
class Suite:
    """Tests of one library."""

    #: Of its distribution and of its source archive.
    name: str
    #: What they need beside voicespan and pytest.
    packages: tuple[str, ...]
    #: Unpacks the source of a version into a folder.
    fetch: Callable[[str, str, Path], None]
    #: The files to run, of the unpacked source.
    chosen: Callable[[Path], Sequence[Path]]
    #: Of the source, what is kept: a library that is compiled must not be imported from here.
    kept: str | None = None
    #: VOICESPAN_SOCKETS.
    sockets: str = ""
    options: tuple[str, ...] = ()

    def unpacked(self, version: str) -> Path:
        """The source of this version, fetched once."""
        suite = CACHE / f"{self.name}-{version}"
        if not suite.exists():
            CACHE.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                self.fetch(self.name, version, Path(folder))
                (source,) = (each for each in Path(folder).iterdir() if each.is_dir())
                if self.kept is not None:
                    for each in source.iterdir():
                        if each.name != self.kept:
                            shutil.rmtree(each) if each.is_dir() else each.unlink()
                    # Else it would be ours that holds for them.
                    (source / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
                source.rename(suite)
        return suite


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as unpacking:
        unpacking.extractall(folder, filter="data")


def _from_the_index(name: str, version: str, folder: Path) -> None:
    """The source distribution, where it has the tests."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command = [*pip, "--no-deps", "--no-binary", name, "--dest", str(folder)]
    subprocess.run([*command, f"{name}=={version}"], check=True)
    (archive,) = folder.glob("*.tar.gz")
    _unpack(archive, folder)


def _from_its_repository(name: str, version: str, folder: Path) -> None:
    """The tagged source, of GitHub or, where that cannot be reached, of Debian: the same archive."""
    archive = folder / "source.tar.gz"
    url = f"https://github.com/python-{name}/{name}/archive/refs/tags/{version}.tar.gz"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            archive.write_bytes(answer.read())
    except (urllib.error.URLError, TimeoutError):
        archive = _from_debian(f"python-{name}", version, folder)
    _unpack(archive, folder)


def _from_debian(source: str, version: str, folder: Path) -> Path:
    """The source that Debian's package is built of, by the mirror that this machine has."""
    mirrors = subprocess.check_output(["apt-get", "indextargets", "--format", "$(REPO_URI)"], text=True)
    apt = folder.parent / "apt"
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    mirror = next(each for each in mirrors.split() if each.rstrip("/").endswith("/debian"))
    (apt / "sources.list").write_text(f"deb-src {mirror} trixie main\n", encoding="utf-8")
    options = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt,
    }
    command = [
        "apt-get",
        "-qq",
        *(part for item in options.items() for part in ("-o", "=".join(map(str, item)))),
    ]
    subprocess.run([*command, "update"], check=True)
    command += ["source", "--download-only", "--tar-only", f"{source}={version}-1"]
    subprocess.run(command, cwd=folder, check=True)
    (archive,) = folder.glob(f"{source}_{version}.orig.tar.*")
    return archive


def _of_openai(suite: Path) -> Sequence[Path]:
    return [
        path
        for path in suite.glob("tests/**/test_*.py")
        if not str(path.relative_to(suite)).startswith(_NOT_OF_OPENAI)
        and _ABOUT_US.search(path.read_text(encoding="utf-8"))
    ]


def _named(*patterns: str) -> Callable[[Path], Sequence[Path]]:
    return lambda suite: [path for pattern in patterns for path in suite.glob(pattern)]


SUITES = (
    Suite(
        "openai",
        ("openai[realtime]", "pytest-asyncio", "rich"),
        _from_the_index,
        _of_openai,
    ),
    Suite(
        "websockets",
        ("websockets==15.0.1", "python-socks", "werkzeug"),
        _from_its_repository,
        _named("tests/asyncio/test_*.py", "tests/sync/test_*.py", "tests/legacy/test_*.py"),
        kept="tests",
        sockets=_ANY_LOCAL,
    ),
    Suite(
        "aiohttp",
        (
            "aiohttp",
            *("pytest-mock", "pytest-timeout", "pytest-cov", "blockbuster", "trustme", "freezegun"),
            *("isal", "zlib_ng", "proxy.py>=2.4.4rc5", "pytest_codspeed"),
        ),
        _from_the_index,
        _named("tests/test_client_ws*.py", "tests/test_client_session.py"),
        kept="tests",
        sockets=_ANY_LOCAL,
        options=("-o", "asyncio_mode=auto"),
    ),
    Suite(
        "openai-agents",
        ("openai-agents[realtime]", "pytest-asyncio", "pytest-mock", "inline-snapshot", "fastapi", "httpx"),
        _from_the_index,
        # Those of its examples want more than it needs itself.
        _named(
            "tests/realtime/test_[!at]*.py", "tests/realtime/test_a[!p]*.py", "tests/realtime/test_t[!w]*.py"
        ),
    ),
)
