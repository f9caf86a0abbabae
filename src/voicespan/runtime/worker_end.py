"""The end of a process that `multiprocessing` has forked: it runs no `atexit` handlers before Python 3.14.

Jobs of LiveKit are such processes, and workers of `concurrent.futures`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: By what is called, the process in which that is known.
_known: dict[object, int] = {}


def at_worker_end(key: object, call: Callable[[], object], *, before: int) -> None:
    """Have `call` called once when this process ends, if `multiprocessing` has made it.

    Args:
        key: Of the same key the first counts, in each process.
        call: What is called.
        before: What has more is called earlier.
    """
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is None or util is None or process.parent_process() is None or _known.get(key) == os.getpid():
        return
    _known[key] = os.getpid()
    util.Finalize(None, call, exitpriority=before)
