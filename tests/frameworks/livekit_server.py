"""The LiveKit server that the tests of rooms run: found, or built once with Go.

python tests/frameworks/livekit_server.py    build it, if it is not there, and print where it is

A server that is named by VOICESPAN_TEST_LIVEKIT_SERVER comes first. Building takes minutes, so the tests never do it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: The newest that `go install` can build: later ones replace modules of others by their own.
MODULE = "github.com/livekit/livekit-server/cmd/server@v1.9.11"
FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "livekit-server"

#: For whoever finds neither.
MISSING = (
    "no LiveKit server: run `python tests/frameworks/livekit_server.py` (needs Go, takes minutes), or set "
    "VOICESPAN_TEST_LIVEKIT_SERVER to the path of one"
)


def find() -> Path | None:
    """The server to run, if there is one."""
    named = os.environ.get("VOICESPAN_TEST_LIVEKIT_SERVER")
    if named:
        return Path(named)
    return _built() if _built().exists() else None


def build() -> Path:
    """The server, built.

    Raises:
        FileNotFoundError: There is no Go.
        subprocess.CalledProcessError: It could not be built.
    """
    environ = {**os.environ, "GOBIN": str(FOLDER), "GOFLAGS": ""}
    # Tests may be running beside it.
    subprocess.run(["nice", "-n", "15", "go", "install", MODULE], env=environ, check=True)
    return (FOLDER / "server").replace(_built())


def _built() -> Path:
    return FOLDER / f"livekit-server-{MODULE.rpartition('@')[2]}"


if __name__ == "__main__":
    sys.stdout.write(f"{find() or build()}\n")
