"""Mutated sessions of both providers, from the frame to the encoded span: nothing raises, nothing is lost.

Twice the same: by hypothesis, which shrinks what fails, and by a plain random generator, which is fast enough
for a million frames (`make hostile`).
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

import hypothesis
import pytest
from hostile_sessions import GEMINI, LIVE, OPENAI
from hypothesis import strategies as st
from mutations import Choose, mutated, wire_text
from witness import SETTINGS, Witness, as_sdk

SESSIONS = [
    *(("openai", name) for name in OPENAI),
    *(("gemini", name) for name in GEMINI),
    *(("openai-live", name) for name in LIVE),
]
#: Frames of mutated sessions, of which five of eight are mutated themselves; `make hostile` sets what a night has time for, and a seed of its own.
FRAMES = int(os.environ.get("HOSTILE_FRAMES", "8000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
NIGHTLY = FRAMES > 100_000
hypothesis.settings.register_profile(
    "hostile",
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    max_examples=400 if NIGHTLY else 25,
    suppress_health_check=list(hypothesis.HealthCheck),
)
HOSTILE = hypothesis.settings.get_profile("hostile")


def openai_frames(session: str, choose: Choose, sessions: Any = OPENAI) -> list[tuple[bool, Any]]:
    """Server frames are bytes; what the application sends is a text or an object."""
    return [
        (from_client, frame if from_client and choose(2) else wire_text(frame, choose))
        for from_client, frame in mutated(sessions[session], choose)
    ]


def live_frames(session: str, choose: Choose) -> list[tuple[bool, Any]]:
    """As those of Realtime: it is the same package."""
    return openai_frames(session, choose, LIVE)


def gemini_frames(session: str, choose: Choose) -> list[tuple[bool, Any]]:
    """Server frames are the SDK's objects, where it can make one."""
    frames: list[tuple[bool, Any]] = []
    for from_client, frame in mutated(GEMINI[session], choose):
        how = choose(4)
        if from_client or how == 2:
            frames.append((from_client, frame))
        elif how == 3:
            frames.append((from_client, wire_text(frame, choose)))
        elif (message := as_sdk(frame)) is not None:
            frames.append((from_client, message))
    return frames


def tell(witness: Witness, provider: str, session: str, choose: Choose) -> None:
    made = {"openai": openai_frames, "gemini": gemini_frames, "openai-live": live_frames}
    frames = made[provider](session, choose)
    # All is chosen before anything is told: hypothesis gives up examples in the middle of a choice.
    setting, leaping = choose(len(SETTINGS)), choose(3) == 2
    leaps = [choose(28) for _ in range(len(frames) + 1)] if leaping else ()
    witness.hears(provider, frames, setting, leaps)


@pytest.fixture(scope="module")
def witness() -> Witness:
    return Witness()


@pytest.mark.parametrize(("provider", "session"), SESSIONS, ids=map("-".join, SESSIONS))
def test_sessions_as_they_should_be(witness, provider, session):
    """Nothing chosen is nothing changed: what the mutations start from is understood."""
    tell(witness, provider, session, lambda _n: 0)


@pytest.mark.parametrize(("provider", "session"), SESSIONS, ids=map("-".join, SESSIONS))
def test_mutated_sessions(witness, provider, session):
    @HOSTILE
    @hypothesis.given(st.data())
    def tell_it(data):
        tell(witness, provider, session, lambda n: data.draw(st.integers(0, n - 1)))

    tell_it()


@pytest.mark.timeout(0)
def test_many_mutated_sessions(witness):
    """HOSTILE_FRAMES of them; a failure names the seed that repeats it alone."""
    began, before, played = time.process_time(), witness.frames, 0
    while witness.frames - before < FRAMES:
        provider, session = SESSIONS[played % len(SESSIONS)]
        seed = f"{SEED}-{played}"
        # Its own generator for each session: one that fails is repeated without those before it.
        chance = random.Random(seed).random
        try:
            tell(witness, provider, session, lambda n, chance=chance: int(chance() * n))
        except BaseException as error:
            raise AssertionError(f"{provider} {session}, seed {seed}: {error!r:.500}") from error
        played += 1
    if NIGHTLY:
        seconds = round(time.process_time() - began)
        told = {"seed": SEED, "sessions": played, "frames": witness.frames - before, "seconds": seconds}
        print(json.dumps(told))  # noqa: T201  what a night has found, also when it has found nothing
