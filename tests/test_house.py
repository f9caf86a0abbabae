"""The layout holds: who may import whom, no circles, short functions and files, and no private words as names.

Read from the source with ``ast``, so imports inside functions and imports for type checkers count like all
others. The tables below are the rules; ARCHITECTURE.md explains them.

`OPEN` lists what does not hold yet. An entry that holds by now has to be struck: the test says so.
"""

from __future__ import annotations

import ast
import functools
import gc
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parent.parent / "src"
FAN_OUT = 14
FILE_LINES = 400
FUNCTION_LINES = 50
# 25 when all rooms are done.
IMPORTS_INSIDE_FUNCTIONS = 25

FORBIDDEN = frozenset(
    [
        "untold",
        "courtesy",
        "standing",
        "tape",
        "scribe",
        "courier",
        "told",
        "tells",
        "moment",
        "moments",
        "seam",
        "seams",
        "glance",
        "parcel",
        "nobodys",
        "inbox",
        "intake",
        "setback",
        "linger",
    ]
)

GROUND = ("runtime",)
CONTENT = ("protocol", *GROUND)
TRACING = ("content", "recording", *CONTENT)
INSTRUMENTATION = ("tracing", *TRACING)
PROVIDER = ("instrumentation", *INSTRUMENTATION)
PROVIDERS = ("openai_realtime", "gemini_live", "openai_live", "openai_audio")
#: Have a session and an audio path of their own.
FRAMEWORKS = ("livekit", "openai_agents", "pipecat")
DELIVERY = ("tracing", *TRACING)
REPORT = ("delivery", *DELIVERY)
DISTRO = ("delivery", *FRAMEWORKS, *PROVIDERS, *PROVIDER)

#: What a room may import, besides itself. `cli` and the package's own face may import all but `testing`.
ROOMS = {
    "runtime": (),
    "protocol": GROUND,
    "recording": GROUND,
    "content": CONTENT,
    "tracing": TRACING,
    "instrumentation": INSTRUMENTATION,
    **dict.fromkeys(PROVIDERS, PROVIDER),
    **dict.fromkeys(FRAMEWORKS, PROVIDER),
    "delivery": DELIVERY,
    "report": REPORT,
    "distro": DISTRO,
    "testing": (
        "runtime",
        "protocol",
        "recording.codec",
        "tracing.registry",
        "tracing.messages",
        "tracing.semconv",
    ),
}
EVERYTHING = (*DISTRO, "distro", "report", "")

#: Inside a provider these may know the trace and the SDK; everything else is pure.
SHELL = {"endpoint", "sockets", "sdk", "sdk_connection", "connection", "instrumentor", ""}

#: Inside `delivery`, from the ground up: each may import what stands lower, and itself.
DELIVERY_FLOORS = (
    ("destination",),
    ("encoding",),
    ("spool",),
    ("expected_recording",),
    ("export", "attachments"),
    ("folder", "deliverer"),
    ("span_kinds", "span_rates"),
    ("traces",),
    ("checkpoint", "standalone_spans"),
    ("spool_writer",),
    ("pipeline",),
    ("backend_pipeline", "folder_pipeline", "spool_pipeline"),
    ("shutdown",),
    ("parts",),
    ("conversation_processor",),
    ("processor", "folder_processor"),
)

OPEN: dict[str, set[str]] = {}


class Import(NamedTuple):
    module: str
    imported: str
    line: int


@functools.cache
def modules() -> dict[str, tuple[Path, tuple[ast.AST, ...]]]:
    """Every module of ours (its name without `voicespan.`, so that the package itself is empty): file and nodes."""
    found = {}
    # A quarter of a million nodes, none of which is garbage: to look for it takes longer than to parse them.
    gc.disable()
    try:
        for path in sorted((SOURCE / "voicespan").rglob("*.py")):
            parts = path.relative_to(SOURCE / "voicespan").with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = (path, tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
    finally:
        gc.freeze()
        gc.enable()
    return found


def ours(name: str) -> str | None:
    """The module of ours that a dotted name is, or is something of."""
    parts = name.split(".")
    if parts[0] != "voicespan":
        return None
    inside = parts[1:]
    while ".".join(inside) not in modules():
        inside.pop()
    return ".".join(inside)


def names_in(node: ast.AST) -> list[str]:
    """What one node imports. A module's path in a string is an import as well: something will load it."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        written = re.fullmatch(r"(voicespan(?:\.\w+)+)(?::\w+)?", node.value)
        return [written[1]] if written and written[1].removeprefix("voicespan.") in modules() else []
    return []


@functools.cache
def imports() -> list[Import]:
    return [
        Import(module, imported, node.lineno)
        for module, (_, nodes) in modules().items()
        if module != "tracing.semconv"  # attribute names, one of which is a module's as well
        for node in nodes
        for name in names_in(node)
        if (imported := ours(name)) is not None and imported != module
    ]


def circles() -> set[str]:
    """Every module that leads back to itself."""
    edges: dict[str, set[str]] = {module: set() for module in modules()}
    for module, imported, _ in imports():
        edges[module].add(imported)
    return {module for module in edges if module in _reached(module, edges)}


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(edges[module])
    return found


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def room_of(module: str) -> str:
    return module.partition(".")[0]


def may(module: str, imported: str) -> bool:
    """Whether the table of rooms allows it."""
    room = room_of(module)
    if room == room_of(imported):
        return True
    if room in ROOMS:
        return any(within(imported, allowed) for allowed in ROOMS[room])
    if room_of(imported) == "testing":
        return within(module, "cli.demo")
    return room in ("", "__main__", "cli")


def across_rooms() -> set[str]:
    return {f"{module} -> {imported}" for module, imported, _ in imports() if not may(module, imported)}


def impure() -> set[str]:
    """What a provider's pure modules import beyond the contract, their neighbours and a bounded dict."""
    return {
        f"{module} -> {imported}"
        for module, imported, _ in imports()
        if (room := room_of(module)) in PROVIDERS and not _is_shell(module)
        if not within(imported, "protocol")
        and imported != "runtime.bounded"
        and not (room_of(imported) == room and not _is_shell(imported))
        and not (module in (f"{room}.audio", f"{room}.json_audio") and within(imported, "recording"))
    }


def _is_shell(module: str) -> bool:
    return module.partition(".")[2] in SHELL


def up_in_delivery() -> set[str]:
    return {
        f"{module} -> {imported}"
        for module, imported, _ in imports()
        if room_of(module) == room_of(imported) == "delivery" and "." in module
        if _part(module) != _part(imported) and _floor(imported) >= _floor(module)
    }


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _floor(module: str) -> int:
    part = _part(module)
    return next((floor for floor, parts in enumerate(DELIVERY_FLOORS) if part in parts), len(DELIVERY_FLOORS))


def fan_out() -> set[str]:
    counted = Counter(module for module, _ in {(module, imported) for module, imported, _ in imports()})
    return {module for module, count in counted.items() if count > FAN_OUT}


def long_files() -> set[str]:
    return {
        module
        for module, (path, _) in modules().items()
        if len(path.read_text(encoding="utf-8").splitlines()) > FILE_LINES
    }


def long_functions() -> set[str]:
    return {
        f"{module}:{node.name}"
        for module, node in functions()
        if (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES
    }


def functions():
    for module, (_, nodes) in modules().items():
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


@functools.cache
def imports_inside_functions() -> set[tuple[str, int]]:
    return {
        (module, inside.lineno)
        for module, node in functions()
        for inside in ast.walk(node)
        if isinstance(inside, ast.Import | ast.ImportFrom)
    }


def without_reason() -> set[str]:
    """Imports inside functions that do not say why, in words behind the `noqa` or in a comment line above."""
    found = set()
    for module, line in imports_inside_functions():
        text = modules()[module][0].read_text(encoding="utf-8").splitlines()
        behind = re.search(r"#\s*noqa: PLC0415\s+\w+\W+\w+", text[line - 1])
        if not behind and not text[line - 2].lstrip().startswith("#"):
            found.add(f"{module}: {text[line - 1].split('#')[0].strip()}")
    return found


def private_words() -> set[str]:
    return {f"{module}:{name}" for module, name in named() if FORBIDDEN & set(words(name))}


def named():
    """Every name that a module gives: its own, and those of classes, functions, arguments and variables."""
    for module, (_, nodes) in modules().items():
        yield module, module
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield module, node.name
            elif isinstance(node, ast.arg):
                yield module, node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield module, node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield module, node.attr


def words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


RULES = {
    "circles": circles,
    "rooms": across_rooms,
    "pure": impure,
    "delivery": up_in_delivery,
    "fan-out": fan_out,
    "files": long_files,
    "functions": long_functions,
    "reasons": without_reason,
    "words": private_words,
}


@pytest.mark.parametrize("rule", RULES)
def test_it_holds_but_for_what_is_listed_as_open(rule):
    offenders, listed = RULES[rule](), OPEN.get(rule, set())
    assert sorted(offenders - listed) == [], "new"
    assert sorted(listed - offenders) == [], "holds by now: strike it from OPEN"


def test_imports_inside_functions_stay_few():
    assert len(imports_inside_functions()) <= IMPORTS_INSIDE_FUNCTIONS


def test_the_architecture_names_rooms_and_files_that_exist():
    page = (SOURCE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) >= set(ROOMS) - set(PROVIDERS) - set(
        FRAMEWORKS
    )
    named = re.findall(r"`(\w+(?:/\w+)+(?:\.py|/)?)`", page)
    assert len(named) > 30
    places = (SOURCE / "voicespan", SOURCE.parent, SOURCE.parent / "src", SOURCE / "voicespan" / "delivery")
    assert [path for path in named if not any((place / path).exists() for place in places)] == []
    assert len(page.split()) <= 3000


def test_every_room_has_a_row():
    rooms = {room_of(module) for module in modules()} - {"", "__main__", "cli"}
    assert rooms <= set(ROOMS)
