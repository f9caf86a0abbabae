"""What a span was given and what came of it, for tests that ask what it says and not how it is written."""

from __future__ import annotations

from typing import Any

from voicespan.tracing.messages import contents


def given(span: Any) -> Any:
    """As LangSmith's copy has it."""
    return contents(span.attributes)[0]


def came(span: Any) -> Any:
    """The same of what came of it."""
    return contents(span.attributes)[1]
