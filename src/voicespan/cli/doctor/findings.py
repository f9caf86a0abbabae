"""What every check is given, and what it yields."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from voicespan.delivery.destination.handed_over import resolve_here
from voicespan.delivery.folder.settings import FolderSettings, named_folder
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.handed_over import HandedOver
    from voicespan.runtime.clock import Clock

    Fact: TypeAlias = str | int | float | bool | None


#: What a library that is broken, or half installed, raises when it is imported or looked into.
BROKEN = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


class Mark(str, Enum):
    """How bad it is."""

    OK = "ok"
    #: Worth knowing; nothing is wrong.
    NOTE = "note"
    #: Something is lost, or may be.
    WARNING = "warning"
    #: No traces arrive, or none with a recording.
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was seen."""

    mark: Mark
    #: Its name for scripts: the section, a dot, what was looked at.
    check: str
    #: One line, for a person.
    text: str
    #: What to do about it; problems and warnings have it.
    advice: str = ""
    #: The same for scripts.
    facts: Mapping[str, Fact] = field(default_factory=dict)


def ok(check: str, text: str, /, **facts: Fact) -> Finding:
    """As it should be."""
    return Finding(Mark.OK, check, text, "", facts)


def note(check: str, text: str, advice: str = "", /, **facts: Fact) -> Finding:
    """Worth knowing."""
    return Finding(Mark.NOTE, check, text, advice, facts)


def warning(check: str, text: str, advice: str, /, **facts: Fact) -> Finding:
    """Something may be lost."""
    return Finding(Mark.WARNING, check, text, advice, facts)


def problem(check: str, text: str, advice: str, /, **facts: Fact) -> Finding:
    """This is why."""
    return Finding(Mark.PROBLEM, check, text, advice, facts)


@dataclass(frozen=True)
class Surroundings:
    """Where the checks look."""

    environ: Mapping[str, str]
    #: `--spool-dir`.
    spool_dir: str | None = None
    #: Nothing is asked over the network.
    offline: bool = False
    clock: Clock = SYSTEM

    @cached_property
    def settings(self) -> Settings:
        """What conversations would be given."""
        return self._read[0]

    @cached_property
    def spool(self) -> SpoolSettings:
        """What the spool would be given."""
        return self._read[1]

    @cached_property
    def folder(self) -> FolderSettings:
        """What the folder that conversations are kept in would be given."""
        return self._read[2]

    @cached_property
    def misread(self) -> frozenset[str]:
        """The variables whose values are not understood: those of which voicespan says so in the log."""
        return frozenset(
            str(record.args[0]) for record in self._read[3] if isinstance(record.args, tuple) and record.args
        )

    @cached_property
    def _read(self) -> tuple[Settings, SpoolSettings, FolderSettings, list[logging.LogRecord]]:
        # Once: the log has each of them a single time.
        with listening() as heard:
            settings = Settings.from_environment(self.environ)
            spool = SpoolSettings.from_environment(self.environ, folder=self.spool_dir)
            folder = FolderSettings.from_environment(named_folder(self.environ) or "", self.environ)
        return settings, spool, folder, heard

    @cached_property
    def destination(self) -> Destination | HandedOver | None:
        """Where conversations would go; None: there is nowhere, or it must not be used."""
        try:
            return resolve_here(environ=self.environ)
        except BROKEN:  # DeliverySettingsError is a ValueError
            return None


@contextmanager
def listening() -> Iterator[list[logging.LogRecord]]:
    """Collect what is logged meanwhile, by us and by others, instead of having it written between the lines."""
    heard: list[logging.LogRecord] = []

    class _Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    listener, root = _Listener(logging.WARNING), logging.getLogger()
    root.addHandler(listener)
    try:
        yield heard
    finally:
        root.removeHandler(listener)
