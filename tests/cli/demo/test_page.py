"""What the demo prints, on terminals of all kinds."""

from __future__ import annotations

import io

import pytest

from voicespan.cli.demo.page import Page
from voicespan.cli.demo.tree import show_tree
from voicespan.testing import Run

SECOND = 1_000_000_000
ANSWER = ("Eight o'clock is taken, I'm afraid. I can offer you half past eight by the window. " * 2).strip()


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding="utf-8", *, interactive=False):
        super().__init__(io.BytesIO(), encoding=encoding)
        self._interactive = interactive

    def isatty(self):
        return self._interactive

    @property
    def lines(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding).splitlines()


@pytest.fixture
def root():
    def run(name, begins, ends, **fields):
        span = {"start_ns": round(begins * SECOND), "end_ns": round(ends * SECOND)}
        metadata = {"event_type": "some.event", **fields.pop("metadata", {})}
        return Run(f"id of {name}", name, parent_run_id="root", metadata=metadata, **span, **fields)

    root = Run("root", "conversation", start_ns=0, end_ns=21 * SECOND)
    root.metadata = {
        "turn_count": 3,
        "interruption_count": 1,
        "input_tokens": 9,
        "output_tokens": 5,
        "total_tokens": 14,
    }
    call = run("function_call: find_tables", 4.1, 4.504, run_type="tool", inputs={"people": 4})
    own = run("SELECT tables", 4.1, 4.5)
    own.metadata.clear()
    call.children.append(own)
    root.children += [
        run("session.created", 0, 0, metadata={"event_type": "session.created"}),
        call,
        run("turn_complete", 4.6, 9, run_type="llm", usage={"input_tokens": 7, "output_tokens": 3}),
        run("interrupted", 9, 9, metadata={"heard_ms": 4500, "generated_ms": 5900}),
        run("output_transcription", 4.6, 9, outputs={"messages": [{"role": "assistant", "content": ANSWER}]}),
    ]
    return root


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_tree_is_no_wider_than_the_terminal_and_nothing_is_lost(root, width):
    terminal = Terminal()
    show_tree(Page(terminal, width), root)

    assert max(map(len, terminal.lines)) <= width
    text = " ".join(line.strip(" │├└─") for line in terminal.lines)
    assert f"“{ANSWER}”" in text


def test_the_tree_of_a_conversation(root):
    terminal = Terminal()
    show_tree(Page(terminal, 100), root)

    assert terminal.lines == [
        "  run                            type     begins    takes",
        "  conversation                   chain    0.00 s  21.00 s  3 turns, 1 interruption, 9 → 5 tokens",
        "  ├─ session.created             chain    0.00 s",
        '  ├─ function_call: find_tables  tool     4.10 s   404 ms  {"people": 4}',
        "  │  └─ SELECT tables            chain    4.10 s   400 ms  the application's own span",
        "  ├─ turn_complete               llm      4.60 s   4.40 s  7 → 3 tokens",
        "  ├─ interrupted                 chain    9.00 s           4.5 s heard of 5.9 s generated",
        "  └─ output_transcription        chain    4.60 s   4.40 s",
        "        “Eight o'clock is taken, I'm afraid. I can offer you half past eight by the window. Eight",
        "        o'clock is taken, I'm afraid. I can offer you half past eight by the window.”",
    ]


def test_an_error_is_told(root):
    root.error = "ConnectionError: no route\n\nStacktrace:\n..."
    terminal = Terminal()
    show_tree(Page(terminal, 100), root)

    assert terminal.lines[1].endswith("ConnectionError: no route")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_output_that_knows_no_such_characters_gets_others(root, encoding):
    terminal = Terminal(encoding)
    show_tree(Page(terminal, 100), root)

    assert terminal.lines[3].startswith("  |- function_call: find_tables")
    assert terminal.lines[5].endswith("7 -> 3 tokens")


@pytest.mark.parametrize(("variable", "styled"), [(None, True), ("NO_COLOR", False)])
def test_styles_are_for_terminals_that_have_them(monkeypatch, variable, styled):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    terminal, file = Terminal(interactive=True), Terminal()
    Page(terminal).heading("The trace")
    Page(file).heading("The trace")

    assert file.lines == ["", "The trace", ""]
    assert terminal.lines == (["", "\x1b[1mThe trace\x1b[0m", ""] if styled else file.lines)


def test_what_a_model_wrote_moves_no_cursor():
    terminal = Terminal()
    Page(terminal).paragraph("You are booked.\x1b[2J\r\nReally.")

    assert terminal.lines == ["  You are booked. [2J  Really."]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"generated_ms": 5900}, "5.9 s generated"),
        ({"heard_ms": 4500, "barge_in_ms": 96.4}, "4.5 s heard, silent 96 ms after the caller began"),
        ({}, ""),
    ],
)
def test_of_an_interruption_is_told_what_is_known(root, facts, told):
    interrupted = root.children[3]
    interrupted.metadata = {"event_type": "interrupted", **facts}
    terminal = Terminal()
    show_tree(Page(terminal, 120), root)

    assert terminal.lines[6].partition("9.00 s")[2].strip() == told
