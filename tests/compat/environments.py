"""Virtual environments for what has to be tried with other packages than those of `make test`.

Each is made once and kept under `.cache/environments/`. Its folder carries a fingerprint of what was asked
for, so a changed pyproject, requirement or interpreter makes a new one and the old one is removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"

#: voicespan as it is in the tree.
VOICESPAN = ("--editable", str(ROOT))


def environment(name: str, requirements: Sequence[str], *, python: str = sys.executable) -> Path:
    """The interpreter of the environment `name`, which has `requirements` (arguments of `pip install`).

    Raises:
        subprocess.CalledProcessError: pip could not install them.
    """
    wanted = [python, (ROOT / "pyproject.toml").read_text(encoding="utf-8"), *requirements]
    fingerprint = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:12]
    folder = CACHE / "environments" / f"{name}-{fingerprint}"
    interpreter = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        for old in folder.parent.glob(f"{name}-????????????"):
            shutil.rmtree(old)
        print(f"making the environment {name}", flush=True)
        _make(folder, python)
        # One pip for all: the environments are smaller without their own, and ready sooner.
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
        ready.touch()
    return interpreter


def _make(folder: Path, python: str) -> None:
    if python == sys.executable:
        venv.create(folder, with_pip=False, symlinks=True)
    else:
        subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)


def interpreter(version: str) -> str | None:
    """A Python of this version (`3.12`) that works: on PATH, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [f"python{version}", *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))]
    return next((candidate for candidate in candidates if _works(candidate, version)), None)


def _works(candidate: str, version: str) -> bool:
    # What is on PATH may be a stub that says which Python should be installed.
    program = f"import sys, venv; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
    try:
        return subprocess.run([candidate, "-c", program], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
