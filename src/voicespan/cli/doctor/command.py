"""The command: runs all checks, prints the findings, and returns an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

from voicespan.cli.doctor import (
    destination,
    devices,
    duplicates,
    libraries,
    opentelemetry,
    report,
    spool,
    variables,
    versions,
    zero_code,
)
from voicespan.cli.doctor.findings import Mark, Surroundings, listening, problem
from voicespan.cli.doctor.masked_output import SecretMask
from voicespan.cli.doctor.report import Section
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from voicespan.cli.doctor.findings import Finding

    Look = Callable[[Surroundings], Iterator[Finding]]

FINE, WRONG = 0, 1

#: What is looked at, in the order of the report: its name for scripts, its title, and by whom.
SECTIONS: tuple[tuple[str, str, Look], ...] = (
    ("versions", "Versions", versions.look),
    ("libraries", "Client libraries", libraries.look),
    ("settings", "Settings", variables.look),
    ("destination", "Destination", destination.look),
    ("spool", "Spool", spool.look),
    ("opentelemetry", "OpenTelemetry's own settings", opentelemetry.look),
    ("roads", "Other roads to the same place", duplicates.look),
    ("zero-code", "opentelemetry-instrument", zero_code.look),
    ("devices", "Sound devices", devices.look),
)


def _send(surroundings: Surroundings) -> Iterator[Finding]:
    module = versions.loaded("voicespan.cli.doctor.send")
    if isinstance(module, str):
        yield problem("send.conversation", f"nothing can be sent: {module}", "see Versions, above")
        return
    yield from module.look(surroundings)


#: What `--send` adds.
SENDING: tuple[tuple[str, str, Look], ...] = (("send", "A test conversation", _send),)


def run(options: argparse.Namespace) -> int:
    """Look, and print.

    Args:
        options: `spool_dir`, `offline`, `json`, `problems`, `send` and `strict`, as the command line has them.

    Returns:
        The exit status: 0, or 1 where there is a problem (`strict`: or a warning).
    """
    surroundings = Surroundings(os.environ, options.spool_dir, options.offline)
    sections = examine(surroundings, send=options.send)
    bad = (Mark.PROBLEM, Mark.WARNING) if options.strict else (Mark.PROBLEM,)
    status = WRONG if report.worst(sections) in bad else FINE
    if options.problems:
        sections = report.only(sections, bad)
    if options.json:
        text = report.as_json(sections, status) + "\n"
    else:
        as_text = report.as_problems if options.problems else report.as_text
        text = as_text(sections, colours=report.has_colours(sys.stdout, os.environ))
    # A terminal without UTF-8 must not be what keeps the report away.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    return status


def examine(surroundings: Surroundings, *, send: bool = False) -> list[Section]:
    """Look at everything; without secrets. `send`: deliver a test conversation as well."""
    mask = SecretMask(surroundings.environ)
    with warnings.catch_warnings():
        # Those of other people's packages, which are imported here.
        warnings.simplefilter("ignore")
        return [
            Section(name, title, _findings(name, look, surroundings)).masked(mask)
            for name, title, look in (*SECTIONS, *(SENDING if send else ()))
        ]


def _findings(name: str, look: Look, surroundings: Surroundings) -> list[Finding]:
    found: list[Finding] = []
    looked = False
    with listening() as heard, guard():
        for finding in look(surroundings):
            found.append(finding)  # noqa: PERF402  what was seen before it failed counts
        looked = True
    if not looked:
        found.append(
            problem(
                f"{name}.failed",
                f"could not be looked at to the end: {heard[-1].getMessage() if heard else 'unknown'}",
                "something is broken that this command did not expect; please report it",
            )
        )
    return found
