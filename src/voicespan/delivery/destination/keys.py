"""The keys of `voicespan deliver`, which sends for many applications: one for each endpoint, and none is in the spool.

They are the environment's own (LANGSMITH_API_KEY for LANGSMITH_ENDPOINT, or a profile's login), and those of
VOICESPAN_KEYS_FILE: a JSON object `{endpoint: key}` in a file that this user alone may read. The file is read again when
it has changed, so that a key can be replaced while the process runs.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicespan.content import masking
from voicespan.delivery.destination.credentials import ApiKey, clean
from voicespan.delivery.destination.destination import credentials_of, traces_url
from voicespan.delivery.destination.handed_over import HandedOver
from voicespan.delivery.destination.profile import Profile
from voicespan.delivery.destination.variables import DeliverySettingsError, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicespan.delivery.destination.credentials import Credentials
    from voicespan.delivery.destination.destination import Destination

_logger = logging.getLogger("voicespan")

VARIABLE = "VOICESPAN_KEYS_FILE"
#: Bytes of the file; some hundred endpoints have a few thousand.
_MOST_BYTES = 1 << 20


class Keys:
    """Which key is for which endpoint."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read them.

        Raises:
            DeliverySettingsError: the file cannot be used.
        """
        self._environ = environ
        named = environ.get(VARIABLE, "").strip()
        self._path = Path(named).expanduser() if named else None
        self._state: tuple[int, ...] | None = None
        #: By traces URL.
        self._keys: dict[str, list[Credentials]] = {}
        self._has_changed()
        self._keys = self._read()

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether there are other keys now. What cannot be read changes nothing."""
        if not self._has_changed():
            return False
        try:
            before, self._keys = self._keys, self._read()
        except DeliverySettingsError as error:
            _logger.warning("voicespan: %s; the keys that were read before count", error)
            return False
        return self._keys != before

    def destination(self, named: Mapping[str, Any]) -> Destination | None:
        """Where a folder can be sent with one of the keys; `named`: as it names its destination.

        Raises:
            DeliverySettingsError: its URL must not be used, or its project is no text for a header.
        """
        place = HandedOver.read(named)
        if place is not None:
            if place.through_collector:
                return place.with_key(None, self._environ)
            keys = self._keys.get(place.url)
            return place.with_key(keys[0], self._environ) if keys else None
        place = HandedOver.read_own(named)
        if place is None:
            return None
        known: list[Credentials | None] = [None]
        if not place.through_collector:
            known = [*self._keys.get(place.url, [])]
        for key in known:
            destination = place.with_key(key, self._environ)
            if destination.is_named(named):
                return destination
        return None

    def _has_changed(self) -> bool:
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            state: tuple[int, ...] = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
        except OSError:
            state = ()
        changed, self._state = state != self._state, state
        return changed

    def _read(self) -> dict[str, list[Credentials]]:
        keys: dict[str, list[Credentials]] = {}
        for endpoint, key in self._of_file().items():
            keys.setdefault(traces_url(endpoint), []).append(ApiKey(key))
        profile = Profile.load(self._environ)
        own = credentials_of(None, None, profile, self._environ)
        if own is not None:
            url = traces_url(variable(self._environ, "ENDPOINT") or profile.api_url)
            # What the file says is said for this command alone.
            if own not in keys.setdefault(url, []):
                keys[url].append(own)
        masking.know({secret for each in keys.values() for key in each for secret in key.secrets})
        return keys

    def _of_file(self) -> dict[str, str]:
        if self._path is None:
            return {}
        written = read_private(self._path)
        try:
            found = json.loads(written)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DeliverySettingsError(f"{VARIABLE} names a file that is no JSON object {{endpoint: key}}")
        keys = {str(endpoint): clean(key) for endpoint, key in found.items()}
        if not all(keys.values()):
            raise DeliverySettingsError(f"a key in the file that {VARIABLE} names is no text, or empty")
        return {endpoint: key for endpoint, key in keys.items() if key}


def read_private(path: Path) -> bytes:
    """A file of keys, which nobody else may read.

    Raises:
        DeliverySettingsError: it cannot be read, or others can.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise DeliverySettingsError(f"{VARIABLE} names {path}, which is no file")
            if hasattr(os, "geteuid") and (
                stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (os.geteuid(), 0)
            ):
                raise DeliverySettingsError(
                    f"{VARIABLE} names {path}, which others can read, or which is somebody else's: chmod 600"
                )
            return file.read(_MOST_BYTES)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise DeliverySettingsError(f"{VARIABLE} names {path}, which cannot be read ({reason})") from None
