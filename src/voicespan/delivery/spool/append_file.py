"""The file of a folder that is appended to, open from one time to the next.

To open one as `secure_file` does takes seven calls of the system, to append to one that is open takes two. With each of
them a thread lets go of the interpreter and has to wait for it again, and so has the application's, behind it: with
five hundred conversations, thousands of times a second.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from voicespan.delivery.spool import secure_file
from voicespan.runtime.descriptors import KeptFile

if TYPE_CHECKING:
    from collections.abc import Iterator


class AppendFile(KeptFile):
    """Of one folder. One thread at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = self._name = ""

    @contextlib.contextmanager
    def opened(self, folder: str, name: str) -> Iterator[tuple[int, int]]:
        """A descriptor of `name` in `folder`, made if need be, and its size.

        Raises:
            OSError: it, or the folder, must not be used.
        """
        if (folder, name) != (self._folder, self._name) or self._is_removed():
            self.let_go()
        self._folder, self._name = folder, name
        with self.in_use() as descriptor:
            yield descriptor, os.fstat(descriptor).st_size

    def open_again(self) -> int:
        """See `KeptFile`."""
        return secure_file.open_file(self._folder, self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _is_removed(self) -> bool:
        """Whether somebody has removed it: what went there now would be lost."""
        with self._in_use:
            return self.descriptor >= 0 and not os.fstat(self.descriptor).st_nlink
