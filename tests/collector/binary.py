"""The Collector that the tests run: found, or built once with OpenTelemetry's builder.

python tests/collector/binary.py    build it, if it is not there, and print where it is

A Collector that is named by VOICESPAN_TEST_COLLECTOR comes first (a released `otelcol-contrib` has all that
is needed), then the one built from `collector/builder.yaml`. Building takes minutes and needs Go, so the
tests themselves never do it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATIONS = ROOT / "collector"
MANIFEST = CONFIGURATIONS / "builder.yaml"
FOLDER = ROOT / ".cache" / "collector"

#: For whoever finds neither.
MISSING = (
    "no Collector: run `python tests/collector/binary.py` (needs Go, takes minutes), or set "
    "VOICESPAN_TEST_COLLECTOR to the path of an otelcol-contrib"
)


def find() -> Path | None:
    """The Collector to run, if there is one."""
    named = os.environ.get("VOICESPAN_TEST_COLLECTOR")
    if named:
        return Path(named)
    return _built() if _built().exists() else None


def build() -> Path:
    """The Collector of the manifest, built if it is not there.

    Raises:
        FileNotFoundError: There is no Go.
        subprocess.CalledProcessError: It could not be built.
    """
    built = _built()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            for old in FOLDER.glob("otelcol-voice-*"):
                old.unlink()
            _build(built)
    return built


def _built() -> Path:
    # Of what decides the binary: a better word in a comment is not worth minutes.
    manifest = re.sub(r"^\s*#.*\n", "", MANIFEST.read_text(encoding="utf-8"), flags=re.MULTILINE)
    fingerprint = hashlib.sha256(manifest.encode()).hexdigest()[:12]
    return FOLDER / f"otelcol-voice-{fingerprint}"


def _build(built: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError("go: https://go.dev/doc/install")
    # The builder of the manifest's own release, as its first lines say.
    version = re.search(r"cmd/builder@(\S+)", MANIFEST.read_text(encoding="utf-8"))[1]
    environ = {**os.environ, "GOBIN": str(FOLDER), "GOFLAGS": ""}
    # Tests may be running beside it.
    nice = ["nice", "-n", "15"]
    tool = f"go.opentelemetry.io/collector/cmd/builder@{version}"
    subprocess.run([*nice, go, "install", tool], env=environ, check=True)
    shutil.rmtree(FOLDER / "_build", ignore_errors=True)
    command = [*nice, str(FOLDER / "builder"), "--config", str(MANIFEST)]
    subprocess.run(command, cwd=FOLDER, env=environ, check=True)
    (FOLDER / "_build" / "otelcol-voice").rename(built)
    shutil.rmtree(FOLDER / "_build")


if __name__ == "__main__":
    sys.stdout.write(f"{find() or build()}\n")
