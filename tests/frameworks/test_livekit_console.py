"""LiveKit's console in text mode, on a terminal, unchanged, under `opentelemetry-instrument`."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("livekit.agents.cli", reason="in an environment of its own: tests/compat/run.py livekit")
pytest.importorskip("livekit.agents.cli._legacy", reason="the oldest have another console")
try:
    import sounddevice  # noqa: F401  the console looks for devices, also where it uses none
except (ImportError, OSError):
    pytest.skip("there is no PortAudio", allow_module_level=True)

from frameworks_trace import shape, words

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

PROGRAM = str(Path(__file__).parent / "programs" / "livekit_worker.py")
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


class Terminal:
    """Somebody who types, and reads what the program shows."""

    def __init__(self, command, environ):
        self._terminal, shown = pty.openpty()
        self._process = subprocess.Popen(
            command,
            env={**environ, "TERM": "xterm"},
            stdin=shown,
            stdout=shown,
            stderr=shown,
            start_new_session=True,
        )
        os.close(shown)
        self._shown = ""

    def shows(self, text, seconds=40.0):
        """Whether that is shown within so long; what was shown before it is forgotten."""
        end = time.monotonic() + seconds
        while text not in self._shown:
            if not select.select([self._terminal], [], [], max(end - time.monotonic(), 0))[0]:
                return False
            self._shown += os.read(self._terminal, 65_536).decode(errors="replace")
        self._shown = self._shown.partition(text)[2]
        return True

    def type(self, line):
        """Type it, letter by letter, as each is shown; the first one again if the console was not listening yet."""
        for count in range(1, len(line) + 1):
            os.write(self._terminal, line[count - 1].encode())
            if not self.shows(line[:count], 5) and count == 1:
                os.write(self._terminal, line[0].encode())
                assert self.shows(line[:1], 5)
        os.write(self._terminal, b"\r")

    def end(self):
        """Press Ctrl-C, and read on until it is over."""
        self._process.send_signal(signal.SIGINT)
        end = time.monotonic() + 30
        # Nobody holds the other side any more, once it is over.
        with contextlib.suppress(OSError):
            while self._process.poll() is None and time.monotonic() < end:
                if select.select([self._terminal], [], [], 0.1)[0]:
                    os.read(self._terminal, 65_536)
        self._process.kill()
        self._process.wait(10)
        os.close(self._terminal)


def test_a_conversation_that_is_typed(environ, the_trace):
    called = Completion(calls=[FunctionCall("weather", {"city": "London"})])
    with CascadeServer([called, "It is foggy in London."]) as services:
        environ["SERVICES_URL"] = services.url
        terminal = Terminal([INSTRUMENT, sys.executable, PROGRAM, "console", "--text"], environ)
        try:
            assert terminal.shows("Type to talk")
            terminal.type("Weather?")
            assert terminal.shows("It is foggy")
        finally:
            terminal.end()
    root, _ = the_trace()
    assert shape(root) == [("llm", []), ("function_call: weather", ["look up"]), ("llm", [])]
    (role, typed), *rest = words(root)
    # It drops letters that come before it listens.
    assert (role, "Weather?".endswith(typed)) == ("user", True)
    assert rest == [("tool", "foggy in London"), ("assistant", "It is foggy in London.")]
    # A room of the console is named the same each time: it is nobody's thread.
    assert root.metadata["livekit_room"] == "console-room"
    assert root.metadata["thread_id"] != "console-room"
