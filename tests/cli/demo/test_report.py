"""The report on one call."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from voicespan.cli.demo.page import Page
from voicespan.cli.demo.report import report
from voicespan.testing import Attachment, Run


class Service:
    """A LangSmith that was asked nothing."""

    requests = ()


def shown(root, width=80):
    out = io.StringIO()
    report(Page(out, width), Service(), root)
    return out.getvalue().split("The recording\n\n")[1].splitlines()


def recording(seconds):
    """The caller is loud in the first half, the agent in the second."""
    sound = np.zeros((round(8000 * seconds), 2))
    sound[: len(sound) // 2, 0] = sound[len(sound) // 2 :, 1] = 0.5
    out = io.BytesIO()
    sf.write(out, sound, 8000, format="WAV")
    root = Run("root", "conversation", end_ns=1)
    root.attachments["conversation"] = Attachment.of("conversation", "audio/wav", out.getvalue())
    return root


def test_the_recording_is_drawn_as_loud_as_it_is():
    caller, agent, *_ = shown(recording(6.8), width=11 + 68)

    assert caller == "  caller  " + "█" * 34
    assert agent == "  agent   " + " " * 34 + "█" * 34


@pytest.mark.parametrize("seconds", [0.5, 4.9, 5.0, 20.1, 61.0])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_scale_is_as_wide_as_the_drawing(seconds, width):
    _, agent, scale, *_ = shown(recording(seconds), width)

    assert scale.startswith("          0 s")
    assert len(scale) <= len(agent) + 1 <= width


def test_where_nothing_was_recorded_it_says_so():
    assert shown(Run("root", "conversation", end_ns=1))[0] == "  none"
