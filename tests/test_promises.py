"""What the pages say is held by a test: that test exists, under that name.

A page names a test as `` `tests/recording/test_recording_layout.py::test_odd_pieces_are_put_together` ``, a
method with its class in between.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.exists()
]
_REFERENCE = re.compile(r"`(tests/[^`\s:]+)((?:::\w+)+)(?:\[[^`\]]*\])?`")


def references(text):
    """Every test that a text names: its file, and the path of names inside it."""
    return [(path, tuple(names.split("::")[1:])) for path, names in _REFERENCE.findall(text)]


@functools.cache
def found_in(path):
    """The path of names to every test of a file, or none where there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    return frozenset(_named(ast.parse(file.read_text(encoding="utf-8")).body))


def _named(body, *inside):
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield (*inside, node.name)
        elif isinstance(node, ast.ClassDef):
            yield from _named(node.body, *inside, node.name)


def missing(text):
    return ["::".join((path, *names)) for path, names in references(text) if names not in found_in(path)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_exist(page):
    assert missing(page.read_text(encoding="utf-8")) == []


def promises(text):
    """The rows of every table that says what holds its promises."""
    holds = False
    for line in text.splitlines():
        if not line.startswith("|"):
            holds = False
        elif re.search(r"\|\s*held by\s*\|$", line):
            holds = True
        elif holds and not line.startswith("|---"):
            yield line


def unheld(text):
    """Promises that no test holds, and that do not say so."""
    return [row for row in promises(text) if not references(row) and "*not done*" not in row]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promise_names_a_test(page):
    assert unheld(page.read_text(encoding="utf-8")) == []


def test_a_promise_without_a_test_is_found():
    here = "`tests/test_promises.py::test_every_promise_names_a_test`"
    table = f"| promise | held by |\n|---|---|\n| a | {here} |\n| b | |\n| c | *not done*: why |\n| d | `tests/` |"
    assert unheld(table) == ["| b | |", "| d | `tests/` |"]
    assert len([row for page in PAGES for row in promises(page.read_text(encoding="utf-8"))]) > 150


def test_a_test_that_was_renamed_or_moved_is_missing():
    here = "tests/test_promises.py"
    assert missing(f"`{here}::test_the_tests_that_a_page_names_exist[README.md]`") == []
    for gone in (f"{here}::test_of_before", f"{here}::TestOfBefore::test_it", "tests/test_gone.py::test_it"):
        assert missing(f"| held by `{gone}` |") == [gone]
    # Only what is written like this is looked for, so nothing else may pass for it.
    assert re.findall(r"tests/\S+::\w+", "".join(_without_references(page) for page in PAGES)) == []


def _without_references(page):
    return _REFERENCE.sub("", page.read_text(encoding="utf-8"))


def test_each_runtime_dependency_has_its_reason():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(
        r"^\| `([a-z-]+)` \| \S.*\|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(re.findall(r'"([a-z-]+)', declared)) == sorted(rows)
    assert len(rows) > 5


def test_no_private_module_of_the_langsmith_package_is_imported():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").glob("**/*.py"))
    assert re.findall(r"langsmith(?:\.\w+)*\._\w+|from langsmith[\w.]* import _\w+", source) == []
    assert "from langsmith import Client" in source
