"""`voicespan report` and `voicespan view`: a conversation as one file, and all of a folder in a browser."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.delivery.destination.folder_destination import FolderDestination, default_folder
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.folder.call_folders import CallFolders, is_running
from voicespan.delivery.folder.settings import FolderSettings, named_folder
from voicespan.delivery.folder_pipeline import folder_scheduler
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool, own_place
from voicespan.report import find, page
from voicespan.report.received import Received
from voicespan.report.server import Viewer
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    from argparse import Namespace

DONE, FAILED, MISUSED = 0, 1, 2
#: Directories that are finished at once at most, before whoever waits for the list gets it.
_MOST_AT_ONCE = 20


def report(options: Namespace) -> int:
    """Write one page for each conversation. Returns the exit status: 0, 1 where one cannot be read, 2 where there is none.

    Args:
        options: `calls`, `output`, `folder`, `without_audio` and `redacted`, as the command line has them.
    """
    folder = _folder(options.folder)
    if options.output and len(options.calls) > 1:
        return _refuse("report", "-o takes one conversation", MISUSED)
    for wanted in options.calls:
        try:
            call = find.read(find.find(wanted, folder, _waiting()))
            content = page.report(call, with_audio=not options.without_audio, redacted=options.redacted)
            written = Path(options.output or f"{call.name}.html")
            written.write_bytes(content)
        except find.NoCallError as error:
            return _refuse("report", str(error.args[0]), MISUSED)
        except (OSError, ValueError) as error:
            return _refuse("report", str(error), FAILED)
        sys.stdout.write(f"{written}\n")
    return DONE


def view(options: Namespace) -> int:
    """Serve a folder until Ctrl-C. Returns the exit status: 0, 2 where the port is taken.

    Args:
        options: `folder`, `host`, `port`, `otlp` and `open`, as the command line has them.
    """
    folder = _folder(options.folder)
    try:
        received = Received(folder, tidy=lambda: make_room(folder)) if options.otlp else None
        viewer = Viewer(folder, options.host, options.port, tidy=lambda: finish(folder), received=received)
    except OSError as error:
        return _refuse("view", f"cannot listen on {options.host}:{options.port}: {error.strerror}", MISUSED)
    with viewer:
        sys.stdout.write(f"{viewer.url}\n")
        if options.otlp:
            sys.stdout.write(f"takes traces at {viewer.traces_url}\n")
        sys.stdout.flush()
        if options.open:
            webbrowser.open(viewer.url)
        try:
            viewer.serve_forever()
        except KeyboardInterrupt:
            return DONE
    return DONE


def make_room(folder: Path) -> None:
    """Remove what is too old or too much."""
    CallFolders(FolderSettings.from_environment(folder), SYSTEM).tidy()


def finish(folder: Path) -> None:
    """Finish what killed processes left in `folder`."""
    if not any(map(is_running, find.calls(folder))):
        return
    settings = FolderSettings.from_environment(folder)
    folders = CallFolders(settings, SYSTEM)
    scheduler = folder_scheduler(
        FolderDestination(settings.folder), folders, Privacy.from_environment(), SYSTEM
    )
    scheduler.sweep()
    for _ in range(_MOST_AT_ONCE):
        if not scheduler.left(everything=True) or scheduler.step():
            break
    scheduler.stop()


def _waiting() -> list[Path]:
    """What waits to be sent, or is kept because it could not be: the oldest first."""
    spool = Spool(SpoolSettings.from_environment(), SYSTEM)
    return sorted([*spool.waiting(), *spool.kept()])


def _folder(named: str | None) -> Path:
    """The folder that somebody names, or VOICESPAN_FOLDER, or the user's own."""
    chosen = named or named_folder() or default_folder() or "calls"
    return own_place(FolderSettings.from_environment(chosen).as_spool())


def _refuse(command: str, why: str, status: int) -> int:
    sys.stderr.write(f"voicespan {command}: {why}\n")
    return status
