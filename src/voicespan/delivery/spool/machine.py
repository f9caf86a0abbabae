"""Which machine this is: locks on files hold between all containers of one machine, whatever those call their host."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def machine() -> str | None:
    """The same for all processes of one kernel since it was started; None: it cannot be known."""
    try:
        boot = _BOOT_ID.read_bytes().strip()
    except OSError:
        return None
    # Whoever reads a folder is not to know more of the machine than whether it is the same.
    return hashlib.blake2b(boot, digest_size=8, person=b"voicespan").hexdigest()
