"""What the pages say: every Python block runs, every link leads somewhere, every event is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from voicespan.runtime.settings import Level
from voicespan.testing import GeminiLiveServer, LangSmithServer, OpenAIRealtimeServer
from voicespan.testing.gemini_live.certificates import authority

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    for path in sorted((ROOT / "src").glob("**/*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
#: On Python 3.10 google-genai leaves its TLS transport to the garbage collector.
_WARNINGS = ("-W", "error", "-W", "ignore:unclosed transport:ResourceWarning")
_OTHERS = ("LANGSMITH_", "LANGCHAIN_", "OPENAI_", "GEMINI_", "GOOGLE_", "OTEL_", "VOICESPAN_")


def named(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def services():
    """What pages and docstrings speak to, as the environment tells it to a process."""
    with (
        LangSmithServer() as langsmith,
        OpenAIRealtimeServer.conversational() as openai,
        GeminiLiveServer.conversational() as gemini,
        authority().file() as certificate,
    ):
        yield {
            "OPENAI_API_KEY": "sk-of-somebody",
            "OPENAI_BASE_URL": openai.url.replace("ws://", "http://"),
            "GEMINI_API_KEY": "of-somebody",
            "GOOGLE_GEMINI_BASE_URL": gemini.url.replace("wss://", "https://"),
            "SSL_CERT_FILE": str(certificate),
            "LANGSMITH_API_KEY": langsmith.api_key,
            "LANGSMITH_ENDPOINT": langsmith.url,
        }


@pytest.fixture
def run(services, tmp_path):
    """Runs the examples of a page or of a module in a process of its own; how many there were."""

    def run(what):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        finished = subprocess.run(
            [sys.executable, *_WARNINGS, str(Path(__file__).with_name("doc_page.py")), what],
            env={**kept, **services, "VOICESPAN_SPOOL_DIR": str(tmp_path / "spool")},
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=50,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        # Pages deliver to more than one project from one spool: the second may look before the first has delivered.
        said = [line for line in finished.stderr.splitlines() if "for another key or project" not in line]
        assert said == []
        return int(finished.stdout.splitlines()[-1].split()[0])

    return run


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")], ids=named
)
def test_the_python_blocks_of_a_page_run(page, run):
    blocks = re.findall(r"^```python$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert run(str(page)) >= len(blocks)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_run(module, run):
    assert run(module) > 0


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def events(protocol):
    """Every event that keeps its own name and gets a span, unless only with VOICESPAN_EVENTS=all."""
    for table in (protocol.SERVER, protocol.CLIENT):
        yield from (kind for kind, (level, _) in table.items() if level <= Level.STANDARD)


def test_every_event_is_on_the_page_of_the_spans():
    from voicespan.gemini_live import protocol as gemini
    from voicespan.gemini_live import values
    from voicespan.openai_realtime.protocol import Protocol as OpenAI

    text = (ROOT / "docs" / "spans.md").read_text(encoding="utf-8")
    missing = [kind for kind in events(OpenAI) if f"`{kind}`" not in text]
    missing += [kind for kind in events(gemini) if f"`{values.snake(kind)}`" not in text]
    assert missing == []


def test_every_setting_is_on_a_page():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").glob("**/*.py"))
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    settings = set(re.findall(r"\"(VOICESPAN_[A-Z_]+)\"", source))
    assert {name for name in settings if f"`{name}" not in text} == set()
