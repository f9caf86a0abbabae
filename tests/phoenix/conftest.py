"""A real Arize Phoenix, which VOICESPAN_TEST_PHOENIX names: `phoenix` of an environment with `arize-phoenix`."""

from __future__ import annotations

import os

import pytest
from server import Phoenix


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory):
    command = os.environ.get("VOICESPAN_TEST_PHOENIX")
    if not command:
        pytest.skip("VOICESPAN_TEST_PHOENIX names no Phoenix: `.ci/run phoenix` makes one")
    running = Phoenix(command, tmp_path_factory.mktemp("phoenix"))
    try:
        running.wait()
        yield running
    finally:
        running.close()
