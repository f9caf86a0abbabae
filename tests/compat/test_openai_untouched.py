"""What the application can see of the package stays as it is: classes, signatures, warnings, other protocols."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import subprocess
import sys

import openai
import pydantic
import pytest
from realtime_api import APIS, SINCE, VERSION, opened, settled

from voicespan.openai_realtime import OpenAIRealtimeInstrumentor, sdk
from voicespan.testing.openai_realtime import Send

CREATED = {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "id": "sess_1"}}
#: Modules with connections of other protocols, which share a base with ours in some versions.
OTHERS = (
    "openai.resources.realtime.translations.translations",
    "openai.resources.live.live",
    "openai.resources.live.sideband",
    "openai.resources.responses.responses",
    "openai.resources.beta.responses.responses",
    "openai._websocket_connection",
)


def test_the_versions_are_those_that_are_meant():
    """`run.py` says which; the resolver may have had another idea."""
    for requirement in os.environ.get("VOICESPAN_COMPAT", "").split():
        name, _, wanted = requirement.partition("==")
        if wanted:
            found = importlib.import_module(name).__version__
            assert f"{found}.".startswith(wanted.rstrip("*").rstrip(".") + "."), name


@pytest.mark.parametrize("api", APIS, ids=str)
def test_the_package_has_what_its_version_promises(api):
    """Else the tests that are only for some versions would be for none."""
    found = {
        "send_raw": hasattr(api.connection_class, "send_raw"),
        "dispatch_events": hasattr(api.connection_class, "dispatch_events"),
        "reconnect": hasattr(api.connection_class, "_reconnect"),
        "queue": hasattr(api.manager_class, "send"),
        "call_id": "call_id" in inspect.signature(resource(api).connect).parameters,
        "flush on send": hasattr(api.connection_class, "_flush_send_queue") and "receipt" in queueing(),
    }
    assert found == {feature: api.has(feature) for feature in SINCE}


def queueing():
    return inspect.signature(importlib.import_module("openai._send_queue").SendQueue.enqueue).parameters


def resource(api):
    return getattr(api.module, "AsyncRealtime" if api.asynchronous else "Realtime")


def present(names):
    for name in names:
        # This version may not have it.
        with contextlib.suppress(ModuleNotFoundError):
            yield importlib.import_module(name)


def classes():
    """Every class of the modules, and of those from which theirs derive; not the models, which complete themselves."""
    found = set()
    for module in present((*sdk.MODULES, *OTHERS)):
        for kind in vars(module).values():
            model = inspect.isclass(kind) and issubclass(kind, pydantic.BaseModel)
            if inspect.isclass(kind) and kind.__module__.startswith("openai.") and not model:
                found.update(base for base in kind.__mro__ if base.__module__.startswith("openai."))
    return found


def attributes(kinds):
    # Held, and compared by identity: what was restored is the very same object.
    return {kind: dict(vars(kind)) for kind in kinds}


def changed(before, after):
    return sorted(
        f"{kind.__name__}.{name}"
        for kind in before
        for name in before[kind].keys() | after[kind].keys()
        if before[kind].get(name) is not after[kind].get(name)
    )


#: As they are before any test of the process has instrumented them.
PRISTINE = attributes(classes())


def test_only_the_classes_of_this_protocol_are_touched_and_all_is_restored(tracer_provider):
    everything, before = PRISTINE.keys(), PRISTINE
    # As it is now: a test that takes an attribute away and puts it back puts it last.
    order = {kind: list(vars(kind)) for kind in everything}
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    during = attributes(everything)
    instrumentor.uninstrument()
    after = attributes(everything)

    touched = {kind for kind in everything if changed({kind: before[kind]}, {kind: during[kind]})}
    assert touched == {kind for api in APIS for kind in (api.connection_class, api.manager_class)}
    assert changed(before, after) == []
    assert {kind: list(names) for kind, names in after.items()} == order


def test_other_protocols_have_classes_that_could_be_touched():
    """The test above would say nothing if their modules had moved."""
    names = {kind.__name__ for kind in classes()}
    since = {
        "RealtimeConnection": (1, 107),
        "ResponsesConnection": (2, 22),
        "LiveConnection": (3, 12),
        "TranslationsConnection": (3, 34),
        "WebSocketConnectionBase": (3, 36),
    }
    assert names & since.keys() == {name for name, version in since.items() if version <= VERSION}


@pytest.mark.parametrize("api", APIS, ids=str)
def test_functions_look_as_before(api, tracer_provider):
    def looks():
        return {
            (kind.__name__, name): (
                function.__name__,
                function.__qualname__,
                function.__module__,
                function.__doc__,
                str(inspect.signature(function)),
                inspect.iscoroutinefunction(function),
                inspect.isfunction(function),
            )
            for kind in (api.connection_class, api.manager_class)
            for name, function in inspect.getmembers(kind, inspect.isfunction)
        }

    before = looks()
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        during = looks()
    finally:
        instrumentor.uninstrument()
    assert during == before
    assert before["RealtimeConnection" if not api.asynchronous else "AsyncRealtimeConnection", "recv_bytes"][
        5
    ] is (api.asynchronous)


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_objects_are_of_the_packages_own_classes(api, instrumentor, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    client = api.client(server)
    manager = api.connect(client, model="gpt-realtime")
    assert type(manager) is api.manager_class
    async with opened(manager) as connection:
        assert type(connection) is api.connection_class
        assert isinstance(connection, api.connection_class)
        event = await settled(connection.recv())
        types = importlib.import_module(f"openai.types.{'beta.' if api.beta else ''}realtime")
        assert type(event) is types.SessionCreatedEvent
        websocket = importlib.import_module(f"websockets.{'asyncio' if api.asynchronous else 'sync'}.client")
        assert type(connection._connection) is websocket.ClientConnection


def test_instrumenting_imports_nothing_and_counts_for_what_is_imported_later(openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    program = """
import sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
OpenAIRealtimeInstrumentor().instrument(tracer_provider=provider)
assert "openai" not in sys.modules and "websockets" not in sys.modules

import asyncio
import openai

async def main(client):
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.recv()

options = {"api_key": "a-key-for-tests", "websocket_base_url": sys.argv[1]}
with openai.OpenAI(**options).realtime.connect(model="gpt-realtime") as connection:
    connection.recv()
with openai.OpenAI(**options).beta.realtime.connect(model="gpt-realtime") as connection:
    connection.recv()
asyncio.run(main(openai.AsyncOpenAI(**options)))
print(sorted(span.name for span in exporter.get_finished_spans()))
"""
    # Any warning is an error here, and whatever is said on stderr fails the test.
    command = [sys.executable, "-W", "error", "-c", program, server.url]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert result.stderr == ""
    assert result.stdout == f"{['conversation'] * 3 + ['session.created'] * 3}\n"


def test_instrumenting_twice_is_instrumenting_once(tracer_provider, span_exporter, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    instrumentor = OpenAIRealtimeInstrumentor()
    for _ in range(2):
        instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        client = openai.OpenAI(api_key="a-key-for-tests", websocket_base_url=server.url)
        with client.realtime.connect(model="gpt-realtime") as connection:
            connection.recv()
    finally:
        instrumentor.uninstrument()
    assert [span.name for span in span_exporter.get_finished_spans()] == ["session.created", "conversation"]


def test_what_was_wrapped_by_somebody_else_stays_wrapped(tracer_provider, openai_realtime_server):
    (api,) = [api for api in APIS if not api.beta and not api.asynchronous]
    server = openai_realtime_server([Send(CREATED)])
    kind = api.connection_class
    original = kind.recv_bytes
    calls = []
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    ours = kind.recv_bytes

    def theirs(self):
        calls.append("theirs")
        return ours(self)

    kind.recv_bytes = theirs
    try:
        instrumentor.uninstrument()
        assert kind.recv_bytes is theirs
        with api.connect(api.client(server), model="gpt-realtime") as connection:
            assert connection.recv().event_id == "event_1"
    finally:
        kind.recv_bytes = original
    assert calls == ["theirs"]
