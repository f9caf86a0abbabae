"""A process that needs its descriptors itself: ours give way, and nothing is lost of what its calls said."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from voicespan.testing import LangSmithServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no limit")
PROGRAM = pathlib.Path(__file__).parent / "programs" / "descriptors.py"


def held(limit, way):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(limit), way],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return int(done.stdout)


@pytest.mark.timeout(180)
def test_nearly_as_many_calls_as_untraced_each_with_its_recording(monkeypatch, spool_dir):
    with LangSmithServer() as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
        monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(spool_dir))
        untraced, traced = held(256, "untraced"), held(256, "traced")
        assert traced >= 0.95 * untraced, (traced, untraced)
        # The last socket was refused: it has no call.
        assert len(server.roots) == traced
        missing = [root.metadata for root in server.roots if not root.attachments]
        assert missing == []
        assert list(spool_dir.iterdir()) == []
