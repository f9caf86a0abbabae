"""Runs the Python blocks of one page, or the examples in the docstrings of one module, and says how many.

A process for each, since pages set up what a process has once: a global tracer provider, for example. The
services that a page speaks to are on this machine, and the environment says so.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import sys
import unittest
from pathlib import Path

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from voicespan.runtime import guard


def run_page(page: Path) -> int:
    document = Sybil([PythonCodeBlockParser(), SkipParser()]).parse(page)
    examples = list(document.examples())
    ran = 0
    for example in examples:
        # What a block needs that is not installed here runs in an environment of its own: tests/compat/run.py.
        with contextlib.suppress(unittest.SkipTest):
            example.evaluate()
            ran += 1
    return ran


def run_docstrings(module: str) -> int:
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    if result.failed:
        sys.exit(1)
    return result.attempted


if __name__ == "__main__":
    guard.reraise = True
    what = sys.argv[1]
    count = run_page(Path(what)) if what.endswith(".md") else run_docstrings(what)
    sys.stdout.write(f"{count} ran\n")
