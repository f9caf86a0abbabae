from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator

import voicespan.testing
from voicespan.testing import FakeClock, LangSmithServer, SequentialIds

pytest_plugins = ["voicespan.testing.fixtures"]


def test_the_clock_stands_still_until_it_is_moved():
    clock = FakeClock(time_ns=5_000_000_000, monotonic_ns=7)
    assert (clock.time_ns(), clock.monotonic_ns()) == (5_000_000_000, 7)
    clock.advance(1.5)
    assert (clock.time_ns(), clock.monotonic_ns()) == (6_500_000_000, 1_500_000_007)


def test_only_the_wall_clock_jumps():
    clock = FakeClock(time_ns=5_000_000_000, monotonic_ns=7)
    clock.step_wall(-2)
    assert (clock.time_ns(), clock.monotonic_ns()) == (3_000_000_000, 7)
    clock.step_wall(3600)
    assert (clock.time_ns(), clock.monotonic_ns()) == (3_603_000_000_000, 7)


def test_time_does_not_go_back():
    clock = FakeClock()
    before = clock.monotonic_ns()
    with pytest.raises(ValueError, match="step_wall"):
        clock.advance(-0.1)
    assert clock.monotonic_ns() == before


def test_no_move_is_lost_between_threads():
    clock = FakeClock(time_ns=0, monotonic_ns=0)
    threads = [threading.Thread(target=lambda: [clock.advance(0.001) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic_ns() == clock.time_ns() == 8_000_000_000


def test_ids_count_up():
    ids = SequentialIds()
    assert isinstance(ids, IdGenerator)
    assert [ids.generate_trace_id(), ids.generate_trace_id()] == [1, 2]
    assert [ids.generate_span_id(), ids.generate_span_id()] == [1, 2]
    assert ids.is_trace_id_random() is False


def test_ids_of_two_providers_have_ranges_of_their_own():
    assert SequentialIds(first=100).generate_span_id() == 100


@pytest.mark.parametrize("first", [0, -1, 1 << 64])
def test_an_invalid_first_id_is_refused(first):
    with pytest.raises(ValueError, match="counted"):
        SequentialIds(first)


def test_ids_are_unique_between_threads():
    ids = SequentialIds()
    drawn: list[int] = []
    threads = [
        threading.Thread(target=lambda: drawn.extend(ids.generate_span_id() for _ in range(1000)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == list(range(1, 8001))


def test_the_provider_fixture_repeats_its_ids(tracer_provider, span_exporter):
    with tracer_provider.get_tracer("test").start_as_current_span("outer") as outer:
        tracer_provider.get_tracer("test").start_span("inner").end()
    assert outer.get_span_context().trace_id == 1
    assert [(span.name, span.context.span_id) for span in span_exporter.get_finished_spans()] == [
        ("inner", 2),
        ("outer", 1),
    ]
    # It is nobody's default.
    assert trace.get_tracer_provider() is not tracer_provider


def test_the_server_fixture_runs_on_the_fake_clock(langsmith_server, fake_clock):
    assert isinstance(langsmith_server, LangSmithServer)
    fake_clock.advance(5)
    assert langsmith_server.requests == []


def test_the_realtime_fixture_starts_servers(openai_realtime_server):
    first, second = openai_realtime_server(), openai_realtime_server()
    ports = [int(server.url.rpartition(":")[2].partition("/")[0]) for server in (first, second)]
    assert ports[0] != ports[1]
    for port in ports:
        socket.create_connection(("127.0.0.1", port)).close()


def test_names_are_loaded_when_asked_for():
    for name in voicespan.testing.__all__:
        assert getattr(voicespan.testing, name).__name__ == name
        assert name in dir(voicespan.testing)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = voicespan.testing.no_such_thing


def test_the_package_imports_nothing_heavy():
    heavy = "{'opentelemetry.sdk', 'requests', 'google.protobuf', 'pytest', 'websockets', 'http.server'}"
    script = f"import sys, voicespan.testing; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
