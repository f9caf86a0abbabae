"""A conversation in a process that `multiprocessing` makes: pooled.py fork|forkserver|spawn."""

from __future__ import annotations

import multiprocessing
import sys

import voicespan

voicespan.configure()


def call() -> None:
    with voicespan.conversation():
        pass
    voicespan.conversation().__enter__()  # still open when the process ends


if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[1]).Process(target=call)
    process.start()
    process.join()
    sys.exit(process.exitcode)
