"""Prints the findings: as text for a person, and as JSON for scripts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TextIO

from voicespan.cli.doctor.findings import Mark
from voicespan.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicespan.cli.doctor.findings import Finding
    from voicespan.cli.doctor.masked_output import SecretMask

_COLOURS = {Mark.OK: "32", Mark.NOTE: "36", Mark.WARNING: "33", Mark.PROBLEM: "31;1"}
_WIDTH = max(len(mark.value) for mark in Mark)


@dataclass(frozen=True)
class Section:
    """What was seen of one thing."""

    name: str
    title: str
    findings: Sequence[Finding]

    def masked(self, mask: SecretMask) -> Section:
        """The same without secrets."""
        return replace(self, findings=[_masked(finding, mask) for finding in self.findings])


def worst(sections: Sequence[Section]) -> Mark:
    """The worst mark of all."""
    marks = {finding.mark for section in sections for finding in section.findings}
    return next((mark for mark in (Mark.PROBLEM, Mark.WARNING) if mark in marks), Mark.OK)


def as_text(sections: Sequence[Section], *, colours: bool) -> str:
    """One line for each finding, below it what to do; at the end what matters, once more."""
    lines = [f"voicespan {__version__}"]
    for section in sections:
        lines += ["", section.title]
        for finding in section.findings:
            lines.append(f"  {_mark(finding.mark, colours=colours)}  {finding.text}")
            if finding.advice:
                lines.append(f"  {'':{_WIDTH}}    -> {finding.advice}")
    return "\n".join([*lines, "", *_summary(sections, colours=colours), ""])


def only(sections: Sequence[Section], marks: Sequence[Mark]) -> list[Section]:
    """The findings with one of these marks."""
    return [
        replace(section, findings=[finding for finding in section.findings if finding.mark in marks])
        for section in sections
    ]


def as_problems(sections: Sequence[Section], *, colours: bool) -> str:
    """Each finding with what to do about it, and nothing else: nothing at all where there is none."""
    return "".join(
        f"{_mark(finding.mark, colours=colours)}  {section.title}: {finding.text}\n"
        + (f"{'':{_WIDTH}}    -> {finding.advice}\n" if finding.advice else "")
        for section in sections
        for finding in section.findings
    )


def as_json(sections: Sequence[Section], status: int) -> str:
    """The same; the keys are documented and stay."""
    findings = [
        {
            "section": section.name,
            "check": finding.check,
            "mark": finding.mark.value,
            "text": finding.text,
            "advice": finding.advice,
            "facts": dict(finding.facts),
        }
        for section in sections
        for finding in section.findings
    ]
    counted = _counted(sections)
    return json.dumps(
        {
            "voicespan": __version__,
            "status": worst(sections).value,
            "exit_status": status,
            "counts": {mark.value: counted[mark] for mark in Mark},
            "findings": findings,
        },
        indent=2,
    )


def has_colours(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether colours are wanted there (https://no-color.org)."""
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _summary(sections: Sequence[Section], *, colours: bool) -> list[str]:
    counted = _counted(sections)
    counts = [
        f"{counted[mark]} {mark.value}{'' if counted[mark] == 1 else 's'}"
        for mark in (Mark.PROBLEM, Mark.WARNING)
        if counted[mark]
    ]
    bad = [
        f"  {_mark(finding.mark, colours=colours)}  {section.title}: {finding.text}"
        for mark in (Mark.PROBLEM, Mark.WARNING)
        for section in sections
        for finding in section.findings
        if finding.mark is mark
    ]
    return [" and ".join(counts) or "Nothing wrong was found.", *bad]


def _mark(mark: Mark, *, colours: bool) -> str:
    padded = f"{mark.value:{_WIDTH}}"
    return f"\x1b[{_COLOURS[mark]}m{padded}\x1b[0m" if colours else padded


def _counted(sections: Sequence[Section]) -> Counter[Mark]:
    return Counter(finding.mark for section in sections for finding in section.findings)


def _masked(finding: Finding, mask: SecretMask) -> Finding:
    facts = {name: mask(fact) if isinstance(fact, str) else fact for name, fact in finding.facts.items()}
    return replace(finding, text=mask(finding.text), advice=mask(finding.advice), facts=facts)
