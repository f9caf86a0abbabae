"""The one guard round everything of ours that runs inside somebody else's call.

An application must never notice that it is traced, so whatever goes wrong in here stays in here: it is
logged once per cause and forgotten. Only what the application's own signal handlers raise passes. Nothing else in voicespan catches `Exception` broadly.

In our own tests the guard lets the exception through (`reraise = True`): a defect that is swallowed in
production must be loud where it can be mended.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_logger = logging.getLogger("voicespan")
_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Set by voicespan's own tests. Not a setting.
reraise = False

_MOST_CAUSES = 1000
_reported: set[tuple[str, str, int]] = set()


def report(error: BaseException, *, ours: bool = True) -> None:
    """Log `error` once for each place that it came from; `ours=False`: a hook of the user's raised it.

    Raises:
        Exception: `error`, where a signal's handler of the application raised it. That is meant for the application, a
            time limit perhaps, and would have reached it in whatever it does untraced.
    """
    if (reraise and ours) or _is_of_a_signals_handler(error):
        raise error
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = ("?", 0) if traceback is None else (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
    cause = (type(error).__qualname__, *place)
    # Without a lock: this can run in a finaliser, or in a log handler of what is logged here. At worst it is said twice.
    if cause in _reported or len(_reported) >= _MOST_CAUSES:
        return
    _reported.add(cause)
    # The message of an exception can quote what was being processed, a key or a person's words, so
    # only its type and its place are logged.
    warn("voicespan could not record something (%s at %s:%d); the application is not affected", *cause)


def warn(message: str, *values: object) -> None:
    """Log a warning. A log handler or filter of the application's that raises does not reach the application."""
    with contextlib.suppress(Exception):
        _logger.warning(message, *values)


def _is_of_a_signals_handler(error: BaseException) -> bool:
    # They run in the main thread, between two instructions of whatever it does.
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {code for each in handlers if (code := getattr(each, "__code__", None)) is not None}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def guarded(function: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """Make `function` incapable of raising: it returns None instead."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  the one place that may
            report(error)
            return None

    return call


class guard:  # noqa: N801  reads as a statement: `with guard():`
    """The same as a context manager."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            if reraise:
                return False
            report(error)
            return True
        return False
