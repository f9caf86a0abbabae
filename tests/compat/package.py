"""Looks into what was built, and installs it where nothing else is.

python tests/compat/package.py dist
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from environments import ROOT, environment

#: What the source distribution has beside the package itself.
BESIDE = ("LICENSE", "README.md", "pyproject.toml", "tests/conftest.py")
#: Asked of the installed package, far from the tree.
PROGRAM = """
import importlib.metadata as metadata, voicespan
from pathlib import Path
assert Path(voicespan.__file__).parts[-3] == "site-packages", voicespan.__file__
assert voicespan.__version__ == metadata.version("voicespan")
for name in voicespan.__all__:
    getattr(voicespan, name)
for entry in metadata.distribution("voicespan").entry_points:
    # pytest's own is loaded by pytest alone, which is not here.
    if entry.group != "pytest11":
        entry.load()
"""


def main(folder: str) -> int:
    """Look into both; 1 if something is missing or does not work."""
    (wheel,) = Path(folder).glob("voicespan-*.whl")
    (source,) = Path(folder).glob("voicespan-*.tar.gz")
    ours = {str(path.relative_to(ROOT / "src")) for path in _files(ROOT / "src" / "voicespan")}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(source) as archive:
        in_source = {name.partition("/")[2] for name in archive.getnames()}
    missing = [
        *(f"wheel: {name}" for name in ours - in_wheel),
        *(f"sdist: src/{name}" for name in ours if f"src/{name}" not in in_source),
        *(f"sdist: {name}" for name in BESIDE if name not in in_source),
    ]
    strange = [name for name in in_wheel - ours if ".dist-info/" not in name]
    for name in missing:
        print(f"missing in the {name}")
    for name in strange:
        print(f"not ours in the wheel: {name}")
    print(
        f"{wheel.name}: {len(in_wheel)} files, {wheel.stat().st_size // 1000} kB; {source.name}: {len(in_source)} files"
    )
    return 1 if missing or strange or not _works(wheel) else 0


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _works(wheel: Path) -> bool:
    """Installed without any of the libraries that are traced."""
    # The dependencies are kept from one time to the next; the wheel is what is tried.
    python = environment("package", (str(ROOT),))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--force-reinstall", str(wheel)], check=True)
    for command in (
        [str(python), "-W", "error", "-c", PROGRAM],
        [str(python.with_name("voicespan")), "--help"],
    ):
        result = subprocess.run(command, cwd=wheel.parent, capture_output=True, text=True, check=False)
        if result.returncode != 0 or result.stderr:
            print(f"{command[-1]}\n{result.stdout}{result.stderr}")
            return False
    print("installed alone: it imports, all entry points load, the command starts")
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
