"""What an application may hand over by mistake: its conversation goes on, and nothing is raised at it."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import types
import uuid
from typing import NamedTuple

import numpy as np
import openai.types.realtime as openai_types
import pydantic
import pytest
from opentelemetry.sdk.trace import TracerProvider
from witness import Kept, Loud, look_at

import voicespan
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing import semconv, tracer
from voicespan.tracing.conversation import Conversation


class Hostile:
    """Nothing can be asked of it."""

    def _refuse(self, *_: object) -> None:
        raise KeyError("never")

    __str__ = __repr__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __format__ = __getitem__ = (
        _refuse
    )


class Secretive:
    def __getattr__(self, name):
        raise RuntimeError(name)


class HostileText(str):
    __slots__ = ()

    def __str__(self):
        raise KeyError("never")

    __repr__ = __len__ = __contains__ = encode = lower = __str__


class HostileDict(dict):
    def items(self):
        raise KeyError("never")

    __iter__ = keys = values = __len__ = items


class HostileInt(int):
    def __repr__(self):
        raise KeyError("never")

    __str__ = __lt__ = __le__ = __gt__ = __ge__ = __int__ = __repr__


class Colour(enum.Enum):
    RED = "red"


class Loudness(enum.IntEnum):
    HIGH = 3


class Pair(NamedTuple):
    a: int
    b: int


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


class Model(pydantic.BaseModel):
    name: str = "m"
    inner: object = None


def cyclic_dict():
    cycle = {"a": 1}
    cycle["one"] = cycle["two"] = cycle["three"] = cycle
    return cycle


def cyclic_list():
    cycle = [1]
    cycle += [cycle, cycle, cycle]
    return cycle


def laughs():
    """A thousand million values in thirty lists."""
    value = ["ha"]
    for _ in range(30):
        value = [value] * 2
    return value


def deep():
    value = {}
    for _ in range(100_000):
        value = {"v": value}
    return value


def generator():
    yield from range(10)


THINGS = {
    "cyclic dict": cyclic_dict(),
    "cyclic list": cyclic_list(),
    "laughs": laughs(),
    "deep": deep(),
    "hostile": Hostile(),
    "hostile in a list": [Hostile()],
    "hostile under a key": {"token": Hostile(), "x": Hostile()},
    "hostile as a key": {(1, 2): 3, None: 4, 5: 6, b"b": 7, 1.5: 8, frozenset(): 9},
    "secretive": Secretive(),
    "hostile text": HostileText("words"),
    "hostile dict": HostileDict(a=1),
    "hostile integer": HostileInt(7),
    "huge integer": 10**10_000,
    "negative integer": -(1 << 63) - 1,
    "huge integer in a list": [10**10_000],
    "nan": float("nan"),
    "infinities": [float("inf"), float("-inf")],
    "surrogate": "\ud800",
    "surrogates as keys": {"\ud800": "\udfff"},
    "null characters": "a\x00b",
    "huge text": "x" * 5_000_000,
    "huge list": list(range(1_000_000)),
    "huge dict": dict.fromkeys(range(1_000_000)),
    "generator": generator(),
    "range": range(10**12),
    "bytes": b"\xff" * 1_000_000,
    "bytearray": bytearray(5),
    "memoryview": memoryview(b"abc"),
    "array": np.zeros((100, 100)),
    "array in a dict": {"password": np.zeros(3), "x": np.zeros(3)},
    "numpy scalar": np.float64("nan"),
    "numpy integer": np.int64(5),
    "numpy objects": np.array([Hostile(), None], dtype=object),
    "dataclass": Point(1, Point(2)),
    "dataclass type": Point,
    "model": Model(inner=Model()),
    "model type": Model,
    "enumerations": [Colour.RED, Loudness.HIGH],
    "set": {1, 2, 3},
    "time": dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
    "decimal": decimal.Decimal("NaN"),
    "uuid": uuid.UUID(int=1),
    "path": pathlib.Path("/nowhere"),
    "exception": ValueError(Hostile()),
    "function": deep,
    "module": types,
    "named tuple": Pair(1, 2),
    "counter": collections.Counter("hello"),
    "complex": 1j,
    "ellipsis": ...,
    "none": None,
}  # fmt: skip


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def provider(kept, monkeypatch):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept)
    monkeypatch.setattr(tracer, "tracer", lambda _=None: provider.get_tracer("voicespan"))
    return provider


@pytest.fixture
def quiet(provider):
    """Whatever is logged but for what is expected is a failure."""
    with Loud() as loud:
        yield loud
    expected = (
        "metadata keys",
        "not a traceparent",
        # What raised is the application's own method, and the one place that such a one is asked.
        "at " + __file__,
    )
    assert [each for each in loud.said if not any(words in each for words in expected)] == []


def whole(kept):
    look_at(kept.spans)
    return kept.spans[-1]


@pytest.mark.parametrize("thing", THINGS)
def test_metadata(thing, kept, quiet):
    with voicespan.conversation() as conversation:
        conversation.set_metadata(thing=THINGS[thing], after="is kept")
        conversation.set_metadata(nested={"list": [THINGS[thing]]})
    root = whole(kept)
    assert root.attributes[semconv.METADATA + "after"] == "is kept"
    assert (semconv.METADATA + "thing" in root.attributes) == (thing != "none")


@pytest.mark.parametrize("thing", THINGS)
def test_arguments_of_a_conversation(thing, kept, quiet):
    value = THINGS[thing]
    with voicespan.conversation(
        value, thread_id=value, metadata={"thing": value}, tags=[value], record=value, continues=value
    ) as conversation:
        assert voicespan.current_conversation() is conversation
        assert isinstance(conversation.thread_id, str)
    root = whole(kept)
    assert isinstance(root.attributes[semconv.THREAD_ID], str)
    assert root.attributes[semconv.THREAD_ID] == conversation.thread_id


@pytest.mark.parametrize("thing", THINGS)
def test_metadata_and_tags_that_are_no_such_thing(thing, kept, quiet):
    with voicespan.conversation(metadata=THINGS[thing], tags=THINGS[thing]):
        pass
    whole(kept)


@pytest.mark.parametrize("thing", THINGS)
def test_tags(thing, kept, quiet):
    with voicespan.conversation() as conversation:
        conversation.add_tags(THINGS[thing], "is kept")
    assert whole(kept).attributes[semconv.SPAN_TAGS].endswith("is kept")


@pytest.mark.parametrize("thing", THINGS)
def test_other_calls(thing, kept, quiet):
    value = THINGS[thing]
    with voicespan.conversation() as conversation:
        with conversation.tool_call(value), conversation.use():
            pass
        conversation.attach_recording(value, value)
        conversation.attach_recording(b"RIFF", value)
        conversation.expect_recording(value)
    whole(kept)


@pytest.mark.parametrize("thing", THINGS)
def test_what_is_sent(thing, provider, kept, quiet):
    """The SDK refuses most of it, but not before it is queued."""
    value = THINGS[thing]
    if thing in (
        "secretive",
        "hostile",
        "hostile dict",
        "hostile under a key",
        "hostile in a list",
        "hostile text",
        "laughs",
    ):
        pytest.skip("no SDK can send it")
    connection = Conversation(tracer_provider=provider).connect(Protocol(), {})
    connection.sent(value)
    connection.sent(
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": value},
        }
    )
    connection.sent(
        {"type": "conversation.item.create", "item": {"type": "message", "content": [value], "role": "user"}}
    )
    connection.sent(
        openai_types.ResponseCancelEvent.model_construct(type="response.cancel", response_id=value)
    )
    connection.closed(1000)
    whole(kept)


@pytest.mark.parametrize("thing", THINGS)
def test_what_leaves_the_block(thing, kept, quiet):
    class OddError(Exception):
        def __str__(self):
            return THINGS[thing] if isinstance(THINGS[thing], str) else THINGS["hostile"].__str__()

    with pytest.raises(OddError), voicespan.conversation():
        raise OddError
    root = whole(kept)
    assert root.status.status_code.name == "ERROR"
    assert root.attributes[semconv.ERROR_TYPE].endswith("OddError")
