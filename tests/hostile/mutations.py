"""What a hostile, or a broken, peer makes of a session.

Every decision is asked of `choose`, a function of n that gives a number below n. Where hypothesis answers, a
failure shrinks, since 0 is always the tamest choice; where a random generator answers, a million frames take
minutes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from hostile_sessions import Session

Choose: TypeAlias = Callable[[int], int]

#: What may stand wherever something else is expected.
VALUES: tuple[Any, ...] = (
    None,
    "",
    0,
    -1,
    True,
    [],
    {},
    "text",
    1.5,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    1 << 53,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 64),
    10**400,
    "\ud800",
    "a\udfffb",
    "\x00",
    "\u202eright to left\u202c \U0001f469\u200d\U0001f680",
    "\u2028\r\n\t",
    "x" * 5_000,
    "\ud83d" * 2_000,
    "ü" * 70_000,
    "not base64 !!",
    "eyJ" * 300,
    "Bearer " * 50,
    [None],
    [[[[]]]],
    [1, "two", None, {"three": 3}],
    {"type": "text"},
    {"\ud800": "\udfff"},
    {"": {"": {"": ""}}},
    {"name": {"name": {}}},
    {"$ref": "#"},
    {str(n): n for n in range(300)},
    list(range(1_000)),
    "response.done",
    "message",
    "function_call",
    "function_call_output",
    "user",
    "assistant",
    "audio/pcm;rate=99999999999999999999",
    "audio/pcm;rate=0",
    {"mimeType": "audio/pcm", "data": None},
    {"data": "====", "mime_type": "audio/"},
)
#: Names that a field may get instead of its own.
NAMES = (
    "",
    "type",
    "id",
    "item_id",
    "response_id",
    "call_id",
    "item",
    "text",
    "data",
    "\ud800",
    "x" * 1_000,
    "secret" * 9,
)
#: What Python itself can still follow when it has been nested thrice; `_BROKEN` goes deeper.
_DEEPEST = 100
_MOST_PLACES = 3_000
_FEW_PLACES = 100


def mutated(session: Session, choose: Choose) -> list[tuple[bool, Any]]:
    """The session with its frames mutated, repeated, left out and in another order."""
    frames: list[tuple[bool, Any]] = []
    ids = _ids(session)
    for from_client, frame in _reordered(session, choose):
        how = choose(8)
        if how < 3:
            frames.append((from_client, frame))
            continue
        changed = _copied(frame)
        for _ in range(1 + choose(3)):
            _edit(changed, ids, choose)
        frames.append((from_client if how < 7 else not from_client, changed))
    return frames


def wire_text(frame: Any, choose: Choose) -> bytes | str:
    """The frame as it crosses the wire: mostly as its JSON, sometimes as what only looks like it."""
    text = json.dumps(frame, separators=(",", ":") if choose(2) else None)
    how = choose(25)
    if how < 12:
        return text.encode()
    if how == 12:
        return text
    return _BROKEN[how - 13](text, choose)


def _reordered(session: Session, choose: Choose) -> Session:
    how = choose(6)
    if how < 3:
        return session
    frames = list(session)
    if how == 3:
        start = choose(len(frames))
        return frames[start:] + frames[:start]
    for _ in range(1 + choose(6)):
        at, to = choose(len(frames)), choose(len(frames))
        if how == 4:
            frames[at], frames[to] = frames[to], frames[at]
        elif choose(2):
            frames.insert(at, frames[to])
        elif len(frames) > 1:
            del frames[at]
    return frames


def _ids(session: Session) -> list[str]:
    """Every id of the session: one that stands where another belongs is the likeliest mistake."""
    found: dict[str, None] = {}
    waiting: list[Any] = [frame for _, frame in session]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found.update(
                (each, None) for key, each in value.items() if key.endswith("id") and isinstance(each, str)
            )
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return [*found] or ["id"]


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) in the value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found.append((value, key))
        if isinstance(inner, (dict, list)):
            _places(inner, found)
    return found


def _edit(frame: dict[str, Any], ids: list[str], choose: Choose) -> None:
    places = _places(frame, [])
    if len(places) > _MOST_PLACES:
        # Repeated three times over it would be gigabytes, which tests this generator and nothing else.
        return
    if not places:
        frame["type"] = _copied(VALUES[choose(len(VALUES))])
        return
    container, key = places[choose(len(places))]
    how = choose(10)
    if how < 4:
        container[key] = _copied(VALUES[choose(len(VALUES))])
    elif how == 4:
        del container[key]
    elif how == 5:
        container[key] = ids[choose(len(ids))]
    elif how == 6:
        container[key] = _nested(container[key], 1 + choose(_DEEPEST), choose(2) == 0)
    elif how == 7 and isinstance(container, dict):
        container[NAMES[choose(len(NAMES))]] = container.pop(key)
    elif how == 8:
        other, place = places[choose(len(places))]
        # A copy: what comes off a wire has no cycles.
        other[place] = _copied(container[key])
    else:
        container[key] = [container[key]] * (1 + choose(300 if len(places) < _FEW_PLACES else 3))


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _nested(value: Any, depth: int, lists: bool) -> Any:
    for _ in range(depth):
        value = [value] if lists else {"inner": value}
    return value


def _cut_off(text: str, choose: Choose) -> bytes:
    return text[: choose(len(text) + 1)].encode()


def _flipped(text: str, choose: Choose) -> bytes:
    frame = bytearray(text.encode())
    for _ in range(1 + choose(4)):
        frame[choose(len(frame))] = choose(256)
    return bytes(frame)


#: Of one frame's JSON, what is no JSON any more, or other JSON than it was.
_BROKEN: tuple[Callable[[str, Choose], bytes | str], ...] = (
    _cut_off,
    _flipped,
    lambda _text, _choose: b"",
    lambda text, choose: (b"null", b"[]", b'""', b"0", b"NaN", b"-", b"{", b'{"type":"')[choose(8)] + text.encode()[:0],
    lambda _text, choose: bytes(choose(256) for _ in range(choose(64))),
    lambda text, _choose: b"\xef\xbb\xbf" + text.encode(),
    lambda text, choose: text.encode(("utf-16", "utf-32")[choose(2)]),
    lambda text, choose: text.replace(":", (': "x", "type":', ':1e400,"n":', ":", ':-Infinity,"":')[choose(4)], 1).encode(),
    # Up to what the parser follows, and beyond.
    lambda text, choose: text[:-1].encode() + b',"deep":' + (b"[" * (n := choose(1_000))) + b"]" * n + b"}",
    lambda _text, choose: (b'{"type":' + (b"[" if choose(2) else b'{"a":') * 100_000),
    lambda text, _choose: text[:-1].encode() + b',"type":"response.output_audio.delta","delta":"AAAA"}',
    lambda text, _choose: json.dumps(json.loads(text, parse_constant=str), ensure_ascii=False).encode(errors="surrogatepass"),
)  # fmt: skip
