"""Other roads, opentelemetry-instrument, sound devices, and what leaves no secret behind."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from voicespan.cli.doctor import devices, duplicates, zero_code
from voicespan.cli.doctor.findings import Mark, note, ok, problem, warning
from voicespan.cli.doctor.masked_output import SecretMask, public_url
from voicespan.cli.doctor.report import as_json, as_problems, as_text, only, worst
from voicespan.distro.post_instrument import INSTRUMENTORS

LANGSMITH = "https://api.smith.langchain.com/otel"
KEY = {"LANGSMITH_API_KEY": "lsv2_pt_0123456789abcdef"}


def with_installed(monkeypatch, **versions):
    real = metadata.version

    def version(name):
        found = versions.get(name.replace("-", "_"), real)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return real(name) if found is real else found

    monkeypatch.setattr(metadata, "version", version)


# Other roads


@pytest.mark.parametrize(
    ("changed", "mark"),
    [
        ({**KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": LANGSMITH}, Mark.WARNING),
        ({**KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": LANGSMITH, "OTEL_TRACES_EXPORTER": "otlp"}, Mark.PROBLEM),
        ({**KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": LANGSMITH, "OTEL_TRACES_EXPORTER": "none"}, Mark.NOTE),
        ({**KEY, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{LANGSMITH}/v1/traces"}, Mark.WARNING),
        ({**KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, Mark.OK),
        (
            {
                "VOICESPAN_ENDPOINT": "http://collector:4318/v1/traces",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
            },
            Mark.NOTE,
        ),
        # Another region is another installation, which may have them as well.
        ({**KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": "https://eu.api.smith.langchain.com/otel"}, Mark.OK),
        (
            {
                "VOICESPAN_ENDPOINT": "http://collector:4318/v1/traces",
                "OTEL_EXPORTER_OTLP_ENDPOINT": LANGSMITH,
            },
            Mark.WARNING,
        ),
        (
            {
                **KEY,
                "LANGSMITH_ENDPOINT": "https://ls.example/api/v1",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://ls.example/api/v1/otel",
            },
            Mark.WARNING,
        ),
    ],
)
def test_an_exporter_beside_ours(look, monkeypatch, changed, mark):
    with_installed(monkeypatch, opentelemetry_distro=None)
    assert look(duplicates.look, **changed)["roads.exporter"].mark is mark


def test_a_distribution_makes_the_exporter(look, monkeypatch):
    with_installed(monkeypatch, opentelemetry_distro="0.66b2")
    found = look(duplicates.look, **KEY, OTEL_EXPORTER_OTLP_ENDPOINT=LANGSMITH)
    assert found["roads.exporter"].mark is Mark.PROBLEM
    assert "recording is not attached" in found["roads.exporter"].text


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("LANGSMITH_TRACING_MODE", "otel", True),
        ("LANGSMITH_TRACING_MODE", "hybrid", True),
        ("LANGSMITH_TRACING_MODE", "langsmith", False),
        ("LANGSMITH_OTEL_ENABLED", "true", True),
        ("LANGCHAIN_OTEL_ONLY", "true", True),
        ("LANGSMITH_OTEL_ENABLED", "false", False),
    ],
)
def test_langsmiths_own_opentelemetry_mode(look, variable, value, told):
    found = look(duplicates.look, **KEY, **{variable: value})
    assert ("roads.langsmith" in found) is told
    assert ("roads.none" in found) is not told


def test_other_tracers(look, monkeypatch):
    with_installed(monkeypatch, opentelemetry_instrumentation_openai="0.62.4")
    assert "beta" in look(duplicates.look, **KEY)["roads.opentelemetry-instrumentation-openai"].text


# opentelemetry-instrument


def test_it_is_found_and_finds_us(look):
    found = look(zero_code.look)
    assert "openai-realtime" in found["zero-code.entry_points"].text
    assert found["zero-code.entry_points"].mark is Mark.OK
    assert "zero-code.disabled" not in found


def test_another_pythons_command(look, tmp_path, monkeypatch):
    import sys

    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        folder.mkdir()
        (folder / "opentelemetry-instrument").write_text("#!/bin/sh\n")
        (folder / "opentelemetry-instrument").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(mine / "python"))
    assert look(zero_code.look, PATH=str(mine))["zero-code.command"].mark is Mark.OK
    assert look(zero_code.look, PATH=str(other))["zero-code.command"].mark is Mark.WARNING
    assert look(zero_code.look, PATH=str(tmp_path))["zero-code.command"].mark is Mark.NOTE


def test_entry_points_that_are_gone(look, monkeypatch):
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [])
    gone = look(zero_code.look)["zero-code.entry_points"]
    assert gone.mark is Mark.PROBLEM
    assert ", ".join(sorted(INSTRUMENTORS | {"voicespan"})) in gone.text


@pytest.mark.parametrize(
    ("named", "mark"),
    [
        ("openai-realtime", Mark.NOTE),
        ("openai-realtime, google-genai-live", Mark.NOTE),
        (", ".join(sorted(INSTRUMENTORS)), Mark.PROBLEM),
        ("*", Mark.PROBLEM),
        ("requests,urllib", None),
    ],
)
def test_what_is_left_out(look, named, mark):
    found = look(zero_code.look, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=named)
    assert getattr(found.get("zero-code.disabled"), "mark", None) is mark


def test_a_distribution_is_named(look, monkeypatch):
    with_installed(monkeypatch, opentelemetry_distro="0.66b2")
    assert "0.66b2" in look(zero_code.look, OTEL_TRACES_EXPORTER="none")["zero-code.distro"].text


# Sound devices


def test_no_library(look, monkeypatch):
    with_installed(monkeypatch, sounddevice=None, PyAudio=None)
    assert look(devices.look)["devices.none"].mark is Mark.OK
    assert look(devices.look, VOICESPAN_RECORD_SOURCE="devices")["devices.none"].mark is Mark.WARNING


SEEN = {"input": "a microphone (48000 Hz)", "output": None, "patched": True}


@pytest.mark.parametrize(
    ("source", "seen", "marks"),
    [
        ("app", SEEN, {"input": Mark.OK, "output": Mark.NOTE}),
        ("devices", SEEN, {"input": Mark.OK, "output": Mark.WARNING}),
    ],
)
def test_devices(look, monkeypatch, source, seen, marks):
    with_installed(monkeypatch, sounddevice="0.5.6", PyAudio=None)
    monkeypatch.setattr(devices, "_ask", lambda _: seen)
    found = look(devices.look, VOICESPAN_RECORD_SOURCE=source)
    assert {side: found[f"devices.sounddevice.seen.{side}"].mark for side in marks} == marks
    assert found["devices.sounddevice"].mark is Mark.OK


def test_seams_of_devices_that_are_gone(look, monkeypatch):
    with_installed(monkeypatch, sounddevice="0.5.6", PyAudio=None)
    monkeypatch.setattr(devices, "_ask", lambda _: {**SEEN, "patched": False})
    assert look(devices.look)["devices.sounddevice.seams"].mark is Mark.WARNING


@pytest.mark.parametrize("library", ["sounddevice", "pyaudio"])
def test_portaudio_is_asked_in_a_process_of_its_own(library, monkeypatch):
    # Where there is no PortAudio the import fails with an OSError.
    pytest.importorskip(library, exc_type=(ImportError, OSError))
    seen = devices._ask(library)
    assert set(seen) == {"input", "output", "patched"}
    assert seen["patched"] is True


def test_a_library_that_crashes_is_no_news(look, monkeypatch, tmp_path):
    with_installed(monkeypatch, sounddevice="0.5.6", PyAudio=None)
    (tmp_path / "sounddevice.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = look(devices.look, PYTHONPATH=str(tmp_path), VOICESPAN_RECORD_SOURCE="devices")
    assert found["devices.sounddevice.seen"].mark is Mark.WARNING


# The report


def test_the_worst_decides(sections):
    assert worst(sections(ok("a", "b"), note("c", "d"))) is Mark.OK
    assert worst(sections(ok("a", "b"), warning("c", "d", "e"))) is Mark.WARNING
    assert worst(sections(problem("a", "b", "c"), warning("c", "d", "e"))) is Mark.PROBLEM


def test_a_report(sections):
    told = as_text(
        sections(ok("s.a", "one"), problem("s.b", "two", "mend it"), warning("s.c", "three", "or not")),
        colours=False,
    )
    assert told.splitlines()[1:] == [
        "",
        "A section",
        "  ok       one",
        "  problem  two",
        "             -> mend it",
        "  warning  three",
        "             -> or not",
        "",
        "1 problem and 1 warning",
        "  problem  A section: two",
        "  warning  A section: three",
    ]


def test_facts_of_every_kind_are_json(sections):
    told = json.loads(
        as_json(sections(ok("s.a", "\udcff", text="x", number=1, ratio=0.5, flag=True, none=None)), 0)
    )
    assert told["findings"][0]["facts"] == {
        "text": "x",
        "number": 1,
        "ratio": 0.5,
        "flag": True,
        "none": None,
    }


def test_urls_are_shown_without_what_is_private():
    assert public_url("https://u:p@h.example:1/a/b?c=d#e") == "https://h.example:1/a/b"


@pytest.mark.parametrize(
    ("environ", "text", "shown"),
    [
        ({"MY_SECRET": "canary-1"}, "with canary-1 in it", "with [secret] in it"),
        ({"A_TOKEN": "'canary-2'"}, "canary-2", "[secret]"),
        ({"X_HEADERS": "a=Bearer%20canary-3"}, "Bearer canary-3", "[secret]"),
        ({"PROXY": "http://me:canary-4@h"}, "http://me:canary-4@h/", "http://h/"),
        ({"PROXY": "http://me:canary-4@h"}, "the password is canary-4", "the password is [secret]"),
        ({}, "lsv2_pt_01234567 and sk-01234567", "[secret] and [secret]"),
        ({"SHORT_KEY": "ab"}, "about", "about"),
        ({"KEYBOARD": "german"}, "german", "german"),
        ({}, "a\x1b[2J\nb\u202e", r"a\x1b[2J\nb\u202e"),
    ],
)
def test_discretion(environ, text, shown):
    assert SecretMask(environ)(text) == shown


def test_the_page_has_every_key_and_every_section():
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    told = json.loads(as_json([], 0))
    from voicespan.cli.doctor.command import SECTIONS

    for key in (
        *told,
        "section",
        "check",
        "mark",
        "text",
        "advice",
        "facts",
        *(name for name, _, _ in SECTIONS),
    ):
        assert f"`{key}`" in page


@pytest.fixture
def distribution(monkeypatch):
    """`opentelemetry-distro` as installed, with exporters of the names that are given."""

    def install(**exporters):
        def points(*, group, name=None):
            of_exporters = re.fullmatch("opentelemetry_(traces|metrics|logs)_exporter", group)
            assert of_exporters or name is None
            if not of_exporters:
                return metadata.EntryPoints(())
            return [
                metadata.EntryPoint(name, value, group) for each, value in exporters.items() if each == name
            ]

        monkeypatch.setattr(zero_code, "installed", lambda _: "0.66b0")
        monkeypatch.setattr(zero_code.metadata, "entry_points", points)

    return install


QUIET = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, "otlp_proto_grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "jaeger"),
    ],
)
@pytest.mark.parametrize("installed", [{}, {"jaeger": "no_such_module:Exporter"}])
def test_an_exporter_that_cannot_be_loaded_stops_all_tracing(
    look, distribution, environ, exporter, installed
):
    distribution(**installed, **({} if "jaeger" in installed else {"otlp_proto_other": "json:dumps"}))
    found = look(zero_code.look, **QUIET, **environ)
    [name] = [name for name in found if name.startswith("zero-code.exporter.")]
    assert (found[name].mark, found[name].facts["exporter"]) == (Mark.PROBLEM, exporter)


@pytest.mark.parametrize("signal", ["METRICS", "LOGS"])
@pytest.mark.parametrize(
    ("environ", "exporter"),
    [({}, "otlp_proto_grpc"), ({"OTEL_EXPORTER_OTLP_{}_PROTOCOL": "http/protobuf"}, "otlp_proto_http")],
)
def test_an_exporter_of_metrics_or_logs_stops_it_as_well(look, distribution, signal, environ, exporter):
    """A distribution without its exporter: metrics and logs go to `otlp` where nothing is said."""
    distribution()
    environ = {name.format(signal): value for name, value in environ.items()}
    environ |= {"OTEL_TRACES_EXPORTER": "none", **QUIET}
    del environ[f"OTEL_{signal}_EXPORTER"]
    found = look(zero_code.look, **environ)
    [name] = [name for name in found if name.startswith("zero-code.exporter.")]
    assert (found[name].mark, found[name].facts["exporter"]) == (Mark.PROBLEM, exporter)
    assert f"OTEL_{signal}_EXPORTER=none" in found[name].advice


def test_an_exporter_that_can_be_loaded_is_no_finding(look, distribution):
    distribution(otlp_proto_http="json:dumps", console="json:loads")
    for environ in (
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
        {"OTEL_TRACES_EXPORTER": "console, none"},
        {"OTEL_TRACES_EXPORTER": "none"},
    ):
        assert not [name for name in look(zero_code.look, **QUIET, **environ) if "exporter" in name]


def test_problems_only(sections):
    wrong, odd = problem("section.a", "is broken", "mend it"), warning("section.b", "is odd", "look")
    found = sections(ok("section.c", "is fine"), wrong, odd, note("section.d", "is there"))
    assert as_problems(only(found, [Mark.PROBLEM]), colours=False).splitlines() == [
        "problem  A section: is broken",
        "           -> mend it",
    ]
    assert "is odd" in as_problems(only(found, [Mark.PROBLEM, Mark.WARNING]), colours=False)
    assert as_problems(only(sections(ok("section.c", "is fine")), [Mark.PROBLEM]), colours=False) == ""
