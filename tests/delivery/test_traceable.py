"""`@traceable` tools nest under their function calls, though LangSmith's client starts their spans later."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from voicespan.testing import LangSmithServer

PROGRAM = pathlib.Path(__file__).parent / "programs" / "traceable.py"

EXPECTED = {
    # Both calls are answered, and the conversation is over, before LangSmith's thread looks.
    "quick/function_call: first",
    "quick/function_call: first/lookup a",
    "quick/function_call: first/lookup a/query a",
    "quick/function_response: first",
    "quick/function_call: second",
    "quick/function_call: second/lookup b",
    "quick/function_call: second/lookup b/query b",
    "quick/function_response: second",
    # The call is still open when it looks.
    "slow/function_call: first",
    "slow/function_call: first/lookup a",
    "slow/function_call: first/lookup a/query a",
    "slow/function_response: first",
    # With several calls open only `tool_call` can tell which of them a function serves.
    "parallel/function_call: first",
    "parallel/function_call: second",
    "parallel/function_call: second/lookup b",
    "parallel/function_call: second/lookup b/query b",
    "parallel/lookup a",
    "parallel/lookup a/query a",
    "parallel/function_response: first",
    "parallel/function_response: second",
    # No call was open.
    "between/lookup a",
    "between/lookup a/query a",
    "between/function_call: first",
    "between/function_response: first",
}


@pytest.mark.parametrize("parent", ["root", "child"])
def test_a_traceable_tool_nests_under_its_function_call(parent, spool_dir):
    with LangSmithServer() as server:
        environment = {
            "LANGSMITH_API_KEY": server.api_key,
            "LANGSMITH_ENDPOINT": server.url,
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_TRACING_MODE": "otel",
            "VOICESPAN_PARENT": parent,
        }
        subprocess.run([sys.executable, str(PROGRAM)], env={**os.environ, **environment}, check=True)
        paths = {"/".join(path) for root in server.roots for path in paths_below(root)}
        assert paths == EXPECTED
        for root in server.roots:
            assert {run.thread_id for _, run in root.walk()} == {root.thread_id}
        assert (server.waiting, server.dropped) == ([], [])
    assert list(spool_dir.iterdir()) == []


def paths_below(run, above=()):
    path = (*above, f"{run.name} {run.inputs.get('term', '')}".strip())
    for child in run.children:
        child_path = (*path, f"{child.name} {child.inputs.get('term', '')}".strip())
        yield child_path
        yield from list(paths_below(child, path))
