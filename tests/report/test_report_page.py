"""What a page says of a call: every word at its time, the gap and its parts, what was never heard; and nothing runs in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from made_call import HOSTILE, NAME, ROOT, TRACE, attribute, spans, write_call
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.cli.main import main
from voicespan.report import find, page, sound


class Elements(HTMLParser):
    """Every element with its attributes and its text."""

    def __init__(self, content):
        super().__init__()
        self.found = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data):
        if self.found:
            self.found[-1][2].append(data)

    def having(self, attribute):
        return [(attrs, "".join(text)) for _, attrs, text in self.found if attribute in attrs]


@pytest.fixture
def written(call):
    return page.report(find.read(call)).decode()


def data_in(written):
    [packed] = re.findall(r'id="?voicespan"? data-encoding="?gzip\+base64"?>([^<]*)<', written)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_when_each_side_spoke_is_found_in_the_recording(call):
    heard = sound.look(call / "recording.ogg")
    assert heard.seconds == pytest.approx(8, abs=0.05)
    assert heard.speech[0] == [pytest.approx((1, 2), abs=0.1), pytest.approx((4.4, 6), abs=0.1)]
    assert heard.speech[1] == [pytest.approx((3, 4.5), abs=0.1)]


def test_the_words_of_each_side_stand_at_their_speech(written):
    words = Elements(written).having("data-end")
    assert [text.strip() for _, text in words][:5] == ["Is", "a", "table", "free", "tonight?"]
    first, last = words[0][0], words[4][0]
    assert float(first["data-start"]) == pytest.approx(1, abs=0.1)
    assert float(last["data-end"]) == pytest.approx(2, abs=0.1)
    agent = [attrs for attrs, text in words if text.strip() in ("Yes", "window")]
    assert float(agent[0]["data-start"]) == pytest.approx(3, abs=0.1)
    assert float(agent[1]["data-end"]) == pytest.approx(4.5, abs=0.1)


def test_the_gap_stands_before_the_answer_with_its_parts(written):
    [gap] = data_in(written)["gaps"]
    assert gap["end"] == pytest.approx(3, abs=0.1)
    assert gap["end"] - gap["start"] == pytest.approx(1, abs=0.002)
    assert [(part["name"], part["ms"]) for part in gap["parts"]] == [
        ("endpointing", 300), ("model", 400), ("tool", 300),
    ]  # fmt: skip
    assert "after 1000 ms" in written


def test_the_figures_of_the_root_stand_at_the_top_in_words(written):
    assert Elements(written.split("<main>")[0]).having("id")[0] == ({"id": "call"}, "3 turns; 1 unanswered")


def test_what_was_never_heard_follows_what_was(written):
    [unheard] = data_in(written)["unheard"]
    assert unheard["start"] == pytest.approx(4.5, abs=0.1)
    assert unheard["end"] - unheard["start"] == pytest.approx(1.5, abs=0.002)
    [cut] = data_in(written)["cuts"]
    assert (cut["at"], cut["cause"]) == (4.5, "conversation.item.truncate")


def test_every_span_is_an_element_and_errors_come_first(written):
    elements = Elements(written)
    ids = {attrs["data-span-id"] for attrs, _ in elements.having("data-span-id")}
    assert ids == {ROOT, *(f"{number:016x}" for number in range(1, 8))}
    assert elements.having("data-span-id")[0][0]["data-span-id"] == f"{3:016x}"
    assert written.index("no such table") < written.index("What was said")


def test_what_a_caller_said_is_text_and_only_our_script_may_run(written):
    assert HOSTILE not in written
    assert "owned" in json.dumps(data_in(written))
    scripts = re.findall(r"<script>(.*?)</script>", written, flags=re.DOTALL)
    assert len(scripts) == 1
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', written)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "connect-src" not in policy
    loaded = [attrs.get("src", "data:") for _, attrs, _ in Elements(written).found]
    assert all(url.startswith("data:") for url in loaded)


def test_without_scripts_it_is_a_transcript_with_times(written):
    said = re.findall(r"<li class=(user|agent) [^>]*><time>([^<]*)</time>", written)
    assert [who for who, _ in said] == ["user", "agent", "user"]
    assert [time for _, time in said] == ["0:01.0", "0:03.0", "0:04.4"]


def test_redacted_it_holds_nobodys_words(call):
    written = page.report(find.read(call), redacted=True).decode()
    everything = written + json.dumps(data_in(written))
    for word in ("tonight", "window", "owned", "Smith", "people", "no such table", "data:audio"):
        assert word not in everything
    assert "function_call: find" in written
    assert data_in(written)["gaps"][0]["ms"] == 1000


def test_without_audio_the_times_stay(call):
    written = page.report(find.read(call), with_audio=False).decode()
    assert "data:audio" not in written
    assert len(written) < len(page.report(find.read(call)))
    assert data_in(written)["speech"][0]


@pytest.mark.parametrize("wanted", ["last", TRACE, "booking-7", NAME])
def test_a_call_is_found_by_what_people_have(folder, call, tmp_path, wanted, capsys):
    output = tmp_path / "call.html"
    assert main(["report", wanted, "-o", str(output), "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert b"booking-7" in output.read_bytes()


def test_a_call_that_is_not_there(folder, call, capsys):
    assert main(["report", "booking-8", "--folder", str(folder)]) == 2
    assert "there is no conversation booking-8: 1 conversation is in" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["thread_id", "trace_id"])
def test_a_call_that_waits_in_the_spool_is_found_as_well(folder, tmp_path, monkeypatch, by):
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "0")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        voicespan.LangSmithSpanProcessor(endpoint="http://127.0.0.1:9", api_key="lsv2_pt_x")
    )
    conversation = voicespan.Conversation(tracer_provider=provider, thread_id="booking-9")
    with conversation.llm(model="m", messages=[]) as llm:
        llm.output("Good evening")
    conversation.end()
    while not any((tmp_path / "spool").glob("2*/root.pb")):
        provider.force_flush(100)
    provider.shutdown()
    written = tmp_path / "call.html"
    wanted = getattr(conversation, by)
    assert main(["report", wanted, "-o", str(written), "--folder", str(folder)]) == 0
    assert "<title>booking-9</title>" in written.read_text()


def test_a_file_of_lines_with_its_recording_beside_it(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exported.jsonl").write_bytes((call / "spans.jsonl").read_bytes() + b'{"torn')
    (tmp_path / "exported.ogg").write_bytes((call / "recording.ogg").read_bytes())
    assert main(["report", "exported.jsonl"]) == 0
    assert "data:audio/ogg;base64," in (tmp_path / "exported.html").read_text()


def test_how_large_a_page_is(folder):
    """Ten minutes with 800 spans: at most 0.6 MB beside the recording, an hour with 5,000 at most 3 MB."""
    for calls, (count, most) in enumerate([(800, 600_000), (5_000, 3_000_000)]):
        several = spans()
        [root] = [each for each in several if each["spanId"] == ROOT]
        filler = [
            each | {"spanId": f"{1000 + number:016x}"}
            for number in range(count // 8)
            for each in several
            if each is not root
        ]
        call = write_call(folder, f"20260921T14331{calls}-{TRACE}-{ROOT[:6]}", [*filler, root])
        assert len(page.report(find.read(call), with_audio=False)) < most


def test_in_a_cascade_the_calls_of_its_parts_say_what_was_said(folder):
    names = {"input_transcription": "stt", "output_transcription": "tts"}
    cascade = [each | {"name": names.get(each["name"], each["name"])} for each in spans()]
    said = data_in(page.report(find.read(write_call(folder, written=cascade))).decode())["said"]
    assert [(each["who"], each["text"].split()[0]) for each in said[:2]] == [("user", "Is"), ("agent", "Yes")]
    assert said[1]["start"] == pytest.approx(3, abs=0.1)


def test_what_a_cascade_was_to_say_and_nobody_heard_is_no_word_of_the_call(folder):
    names = {"output_transcription": "tts"}
    cascade = [each | {"name": names.get(each["name"], each["name"])} for each in spans()]
    [cut] = [each for each in cascade if each["name"] == "interrupted"]
    cut["attributes"] += [
        attribute(f"langsmith.metadata.{key}", ms) for key, ms in (("heard_ms", 1500), ("generated_ms", 3000))
    ]
    written = page.report(find.read(write_call(folder, written=cascade))).decode()
    [agent] = [each for each in data_in(written)["said"] if each["who"] == "agent"]
    assert ("".join(word for word, _, _ in agent["words"]), agent["unheard"]) == ("Yes one by ", "the window")
    assert "<s>the window</s>" in written
