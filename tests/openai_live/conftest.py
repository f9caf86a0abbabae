from __future__ import annotations

import pytest
from live_wire import LiveCall

from voicespan.tracing.registry import end_open_conversations


@pytest.fixture
def make_call(tracer_provider, span_exporter, fake_clock):
    yield lambda **conversation: LiveCall(tracer_provider, span_exporter, fake_clock, **conversation)
    end_open_conversations("untraced")


@pytest.fixture
def call(make_call) -> LiveCall:
    return make_call()
