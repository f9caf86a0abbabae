from __future__ import annotations

import pytest
from live_call import Call, as_sdk, as_wire

from voicespan.conversation import end_open_conversations


@pytest.fixture(params=[as_wire, as_sdk], ids=["wire", "sdk"])
def form(request):
    """How messages are told: the protocol makes the same of both."""
    return request.param


@pytest.fixture
def make_call(tracer_provider, span_exporter, fake_clock, form):
    yield lambda **conversation: Call(tracer_provider, span_exporter, fake_clock, form, **conversation)
    end_open_conversations("untraced")


@pytest.fixture
def call(make_call) -> Call:
    return make_call()
