"""What every test shares: a guard that lets our own mistakes through, and the public fixtures."""

from __future__ import annotations

import pytest
from opentelemetry import context as otel_context

from voicespan import guard

pytest_plugins = ["voicespan.testing.fixtures"]


@pytest.fixture(autouse=True)
def _loud_guard(monkeypatch):
    """What production swallows is raised here."""
    monkeypatch.setattr(guard, "reraise", True)


@pytest.fixture(autouse=True)
def _fresh_context():
    """A conversation leaves no token behind, so each test starts from an empty context itself."""
    token = otel_context.attach(otel_context.Context())
    yield
    otel_context.detach(token)
