"""What tests of frameworks look at in a trace that has arrived."""

from __future__ import annotations

import io

import pytest


def shape(root):
    """The calls, and what is in them."""
    calls = (run for run in root.children if run.name != "user_speech")
    return [(run.name, [child.name for child in run.children]) for run in calls]


def words(root):
    messages = [*root.inputs.get("messages", ()), *root.outputs.get("messages", ())]
    return [(message["role"], message["content"].strip()) for message in messages if message.get("content")]


def named(root, name):
    return [run for _, run in root.walk() if run.name == name]


def tracks(root):
    """The two sides of the recording, each with its rate."""
    (attachment,) = root.attachments.values()
    return read_tracks(io.BytesIO(attachment.read()))


def read_tracks(file):
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(file)
    return (samples[:, 0], rate), (samples[:, 1], rate)


def stretches(track):
    """From when to when a side spoke, in seconds, the rests between its syllables included."""
    import numpy as np

    samples, rate = track
    step = rate // 100
    loud = np.flatnonzero(np.abs(samples[: len(samples) // step * step].reshape(-1, step)).max(axis=1) > 0.01)
    if not len(loud):
        return []
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > 30) + 1)
    return [(float(part[0]) / 100, float(part[-1] + 1) / 100) for part in parts]


def voiced(track):
    """Seconds in which a side spoke, the rests between its syllables included."""
    return sum(end - begin for begin, end in stretches(track))


def seconds_of(text):
    """How long `CascadeServer` needs to say it."""
    return 0.06 * len(text)
