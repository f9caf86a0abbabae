"""How many files the process can still open. They are the application's: ours give way as it grows."""

from __future__ import annotations

import errno
import os
import sys

#: What the operating system says when there is none left, of the process's and of the machine's.
NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})

if sys.platform == "win32":

    def are_plentiful() -> bool:
        """Whether less than half of what the process may have open is taken."""
        return True

else:
    import resource

    def are_plentiful() -> bool:
        """Whether less than half of what the process may have open is taken."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            # A new one has the lowest number that is free.
            number = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            return False
        os.close(number)
        return limit == resource.RLIM_INFINITY or number < limit // 2
