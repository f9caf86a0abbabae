"""The file of a folder that is appended to, open from one time to the next.

To open one as `private` does takes seven calls of the system, to append to one that is open takes two. With each of
them a thread lets go of the interpreter and has to wait for it again, and so has the application's, behind it: with
five hundred conversations, thousands of times a second.
"""

from __future__ import annotations

import os
import sys

from voicespan.delivery.spool import secure_file
from voicespan.runtime import fork


class AppendFile:
    """Of one folder. One thread at a time."""

    def __init__(self) -> None:
        self._name = ""
        self._descriptor = -1
        fork.register(self)

    def open(self, folder: str, name: str) -> tuple[int, int]:
        """A descriptor of `name` in `folder`, made if need be, and its size. `leave` comes after it.

        Raises:
            OSError: it, or the folder, must not be used.
        """
        if self._descriptor >= 0 and name == self._name:
            found = os.fstat(self._descriptor)
            # Somebody may have removed it: what went there now would be lost.
            if found.st_nlink:
                return self._descriptor, found.st_size
        self.close()
        self._descriptor = secure_file.open_file(folder, name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._name = name
        return self._descriptor, os.fstat(self._descriptor).st_size

    def leave(self) -> None:
        """It is not appended to for a while."""
        # The lowest number that is free is given out: so high a one means that the process has as many files open.
        if self._descriptor >= _few():
            self.close()

    def close(self) -> None:
        """It is not appended to any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def reset_after_fork(self) -> None:
        """In a forked child: the file is the parent's."""
        self.close()


if sys.platform == "win32":

    def _few() -> int:
        return 0  # a folder in which a file is open cannot be renamed

else:
    import resource

    def _few() -> int:
        """Half of what the process may have open: the other half is the application's."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2
