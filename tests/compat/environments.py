"""Virtual environments for what has to be tried with other packages than those of `make test`.

Each is made once and kept under `.cache/environments/`. Its folder carries a fingerprint of what was asked
for, so a changed pyproject, requirement or interpreter makes a new one and the old one is removed.
"""

from __future__ import annotations

import hashlib
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

#: voicespan as it is in the tree, and what its tests are run with.
VOICESPAN = ("--editable", str(ROOT))
PYTEST = ("--group", f"{ROOT / 'pyproject.toml'}:pytest")


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
