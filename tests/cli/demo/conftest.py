from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: What the machine's owner may have set.
_OTHERS = ("LANGSMITH_", "LANGCHAIN_", "OPENAI_", "GEMINI_", "GOOGLE_", "OTEL_", "VOICESPAN_")

#: On Python 3.10 google-genai leaves its TLS transport to the garbage collector.
_WARNINGS = ("-W", "error", "-W", "ignore:unclosed transport:ResourceWarning")


@pytest.fixture(scope="session")
def voicespan():
    """Runs the command as a user does."""

    def run(*arguments, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        return subprocess.run(
            [sys.executable, *_WARNINGS, "-m", "voicespan", *arguments],
            env={**kept, "COLUMNS": "120", "PYTHONIOENCODING": "utf-8", **variables},
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=50,
        )

    return run
