"""The command line that sends what a process left behind."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from voicespan.delivery.destination.destination import TRACES_PATH, resolve
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.delivery.spool.settings import SpoolSettings

if TYPE_CHECKING:
    from pathlib import Path

    from voicespan.delivery.destination.destination import Destination


def recover_command(destination: Destination, spool_dir: Path) -> str:
    """The command line that sends what waits for this destination from a shell with the same environment."""
    command = ["voicespan", "recover"]
    try:
        here = resolve()
    except DeliverySettingsError:
        here = None
    if (
        not destination.through_collector
        and destination.project
        and (here is None or here.project != destination.project)
    ):
        command += ["--project", destination.project]
    if here is None or here.url != destination.url:
        command += ["--endpoint", destination.url.removesuffix(TRACES_PATH)]
    if destination.workspace and (here is None or here.workspace != destination.workspace):
        command += ["--workspace", destination.workspace]
    if SpoolSettings.from_environment().folder != spool_dir:
        command += ["--spool-dir", str(spool_dir)]
    return shlex.join(command)
