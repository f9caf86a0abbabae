"""The synthesised lines that are shipped."""

from __future__ import annotations

import pytest
import soundfile as sf

from voicespan.cli.demo import story
from voicespan.testing import _speech as speech
from voicespan.testing.openai_realtime import session

LINES = (*story.CALLER, *story.AGENT)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_line_is_mono_at_the_rate_of_the_services(line):
    about = sf.info(line.path)
    assert (about.format, about.subtype, about.channels, about.samplerate) == (
        "FLAC",
        "PCM_16",
        1,
        story.RATE,
    )
    assert len(line.pcm()) == 2 * about.frames


@pytest.mark.parametrize("line", story.CALLER, ids=lambda line: line.name)
def test_turn_detection_takes_each_of_the_caller_s_lines_for_one_turn(line):
    detector, settings = speech.SpeechDetector(), speech.TurnDetection(0.5, 300, 500, True, True)
    found = detector.feed(line.pcm() + bytes(48 * 600), session.FORMATS["audio/pcm"], settings)

    assert [type(event) for event in found] == [speech.SpeechStarted, speech.SpeechStopped]


def test_the_folder_says_what_is_in_it():
    told = (story.VOICES / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in story.VOICES.glob("*.flac")} == {line.name for line in LINES}
    for line in LINES:
        assert f"`{line.name}.flac`" in told
        assert line.text in told


def test_they_are_small():
    assert sum(path.stat().st_size for path in story.VOICES.glob("*.flac")) < 600_000
