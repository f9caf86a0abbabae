"""A pytest plugin: with `--voicespan-report=DIR`, each failed test leaves a page of each of its conversations there.

It is loaded in every pytest of an environment that has voicespan. Without the option it does nothing, and nothing that takes
time to import is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voicespan.tracing import tracer

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.trace import TracerProvider

    from voicespan.delivery import FolderSpanProcessor

_OPTION = "voicespan_report"
#: What a report of pytest's calls a page that was written.
_PAGE = "voicespan-report"
#: Milliseconds that a failed test waits for what it said to be written.
_PATIENCE_MS = 5_000
_LONGEST_NAME = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("voicespan")
    group.addoption(
        "--voicespan-report",
        dest=_OPTION,
        metavar="DIR",
        help="write a page of each conversation of a failed test to DIR: what was said, the trace, the recording",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch conversations, if pages are wanted."""
    if config.getoption(_OPTION):
        pages = Pages(Path(config.getoption(_OPTION)))
        config.pluginmanager.register(pages, "voicespan-pages")


class Pages:
    """The pages of one run of pytest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Every conversation is kept, as long as it is not known whether its test fails.
        self._kept = Path(tempfile.mkdtemp(prefix="voicespan-"))
        # A provider that a test has made may be gone before its page is written. What keeps its conversations is not.
        self._watched: weakref.WeakSet[TracerProvider] = weakref.WeakSet()
        self._processors: list[tuple[weakref.ref[TracerProvider], FolderSpanProcessor]] = []
        self._before: set[str] = set()
        self._failed = False
        self._written: list[str] = []
        tracer.watch(self._keep)

    def _keep(self, provider: TracerProvider) -> None:
        add = getattr(provider, "add_span_processor", None)
        if add is not None and provider not in self._watched:
            processor = _part("delivery").FolderSpanProcessor(self._kept)
            self._watched.add(provider)
            self._processors.append((weakref.ref(provider), processor))
            add(processor)

    # The older of two ways: this is loaded by every pytest, and before pluggy 1.2 there is no other.
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, None]:
        """Write the pages of a failed test when it is torn down: what its fixtures end is over by then."""
        outcome = yield
        report: pytest.TestReport = outcome.get_result()
        if call.when == "setup":
            self._failed = False
        self._failed = self._failed or report.failed
        if call.when == "teardown" and self._processors:
            if self._failed:
                report.user_properties += [(_PAGE, str(page)) for page in self._write(item.nodeid)]
            self._forget()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what was written, also by another process (pytest-xdist)."""
        self._written += [str(page) for name, page in report.user_properties if name == _PAGE]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the pages are."""
        if self._written:
            terminalreporter.section("conversations of failed tests")
            for page in self._written:
                terminalreporter.write_line(page)

    def pytest_unconfigure(self) -> None:
        """Forget everything that was kept."""
        tracer.watch(None)
        for _, processor in self._processors:
            processor.shutdown()
        shutil.rmtree(self._kept, ignore_errors=True)

    def _write(self, test: str) -> list[Path]:
        find, page = _part("report.find"), _part("report.page")
        for _, processor in self._processors:
            processor.force_flush(_PATIENCE_MS)
        calls = []
        for kept in find.calls(self._kept):
            # One that says nothing yet has no page: the test has its own failure to tell.
            with contextlib.suppress(OSError, ValueError):
                if _identity(kept) not in self._before:
                    calls.append(find.read(kept))
        pages: list[Path] = []
        for call in sorted(calls, key=lambda call: call.root.start_ns):
            with contextlib.suppress(OSError):
                path = self._folder / _file_name(test, len(pages))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(page.report(call))
                pages.append(path)
        return pages

    def _forget(self) -> None:
        """What was said until now is not the next test's."""
        find = _part("report.find")
        for provider, processor in self._processors:
            if provider() is None:
                processor.shutdown()
        self._processors = [each for each in self._processors if each[0]() is not None]
        self._before = set()
        for kept in find.calls(self._kept):
            if kept.name.startswith("."):
                self._before.add(_identity(kept))
            else:
                shutil.rmtree(kept, ignore_errors=True)


def _identity(kept: Path) -> str:
    return kept.name.removeprefix(".")


def _file_name(test: str, number: int) -> str:
    name = re.sub(r"[^\w.=-]+", "-", test).strip("-")
    if len(name) > _LONGEST_NAME:
        # The end says more: the name of the test, and its parameters.
        name = f"{hashlib.sha256(test.encode()).hexdigest()[:8]}-{name[-_LONGEST_NAME:]}"
    return f"{name}{f'-{number + 1}' if number else ''}.html"


def _part(name: str) -> Any:
    """A part of voicespan, when it is needed."""
    return importlib.import_module(f"voicespan.{name}")
