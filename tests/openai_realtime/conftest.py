from __future__ import annotations

import pytest
from call import Call

from voicespan.tracing.registry import end_open_conversations


@pytest.fixture
def make_call(tracer_provider, span_exporter, fake_clock):
    yield lambda **conversation: Call(tracer_provider, span_exporter, fake_clock, **conversation)
    end_open_conversations("untraced")


@pytest.fixture
def call(make_call) -> Call:
    return make_call()
