"""How many bytecode instructions a call runs: the same number on a busy machine and on an idle one."""

from __future__ import annotations

import sys


def instructions(call, frame, within=""):
    """How many bytecode instructions the interpreter runs for one call; `within`: in files of such a path."""
    count = 0

    def trace(running, event, _):
        nonlocal count
        running.f_trace_opcodes = True
        if event == "opcode" and within in running.f_code.co_filename:
            count += 1
        return trace

    before = sys.gettrace()
    for _ in range(2):
        # Twice, because Python 3.12 counts nothing in the first function that it traces.
        count = 0
        sys.settrace(trace)
        try:
            call(frame)
        finally:
            sys.settrace(before)
    return count
