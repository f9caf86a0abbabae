"""What LangSmith knows us by: a key, or the login of a person's profile."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds before its end from which on a token is not used any more.
_LEEWAY = 60.0


class Credentials(Protocol):
    """How requests are signed."""

    @property
    def identity(self) -> str:
        """What stays the same as long as the same account's data is reached."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any text that we write."""
        ...

    def headers(self) -> dict[str, str]:
        """For the next request."""
        ...


@dataclass(frozen=True)
class ApiKey:
    """A key, and the header that carries it."""

    key: str = field(repr=False)
    header: str = "x-api-key"

    @property
    def identity(self) -> str:
        """The key."""
        return self.key

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key."""
        return (self.key,)

    def headers(self) -> dict[str, str]:
        """The header."""
        return {self.header: self.key}


@dataclass(frozen=True)
class ProfileLogin:
    """A login that LangSmith's command line tool made, with a token that expires and is refreshed."""

    profile: str
    path: Path
    token: str | None = field(repr=False)

    @property
    def identity(self) -> str:
        """The profile, as the token changes every hour."""
        return f"profile {self.profile} of {self.path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token that we know."""
        return (self.token,) if self.token else ()

    def headers(self) -> dict[str, str]:
        """A valid token, refreshed by LangSmith's own client where that can be done.

        May speak to LangSmith and wait for it: not for the application's threads.
        """
        stored = StoredLogin.read(self.profile, self.path)
        if stored.has_expired(time.time()):
            # It writes the new token into the file, where the command line tool finds it, too.
            _refresh(self.profile, self.path)
            stored = StoredLogin.read(self.profile, self.path)
        token = stored.token or self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


class StoredLogin(NamedTuple):
    """What the file has of a profile's login now: every process of this person may refresh it."""

    token: str | None = None
    #: Seconds since the epoch; None: it does not say.
    expires_at: float | None = None
    can_be_refreshed: bool = False

    @classmethod
    def read(cls, profile: str, path: Path) -> StoredLogin:
        """As it stands there; nothing where there is none."""
        return cls.of(read_profiles(path).get(profile))

    @classmethod
    def of(cls, profile: object) -> StoredLogin:
        """That of one profile of the file."""
        oauth = profile.get("oauth") if isinstance(profile, dict) else None
        if not isinstance(oauth, dict):
            return cls()
        expires_at = None
        with contextlib.suppress(ValueError):
            written = str(oauth.get("expires_at")).replace("Z", "+00:00")
            end = datetime.fromisoformat(written)
            expires_at = (end if end.tzinfo else end.replace(tzinfo=timezone.utc)).timestamp()
        return cls(
            clean(oauth.get("access_token")), expires_at, clean(oauth.get("refresh_token")) is not None
        )

    def has_expired(self, now: float) -> bool:
        """Whether there is no token that is still taken, and a new one can be had."""
        if not self.can_be_refreshed:
            return False
        return self.token is None or (self.expires_at is not None and self.expires_at <= now + _LEEWAY)


def read_profiles(path: Path) -> dict[str, Any]:
    """The profiles of the file; none where it cannot be read."""
    profiles = read_file(path).get("profiles")
    return profiles if isinstance(profiles, dict) else {}


def read_file(path: Path) -> dict[str, Any]:
    """All of it; nothing where it cannot be read."""
    try:
        written = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: nobody's home
        return {}
    return written if isinstance(written, dict) else {}


def clean(value: object) -> str | None:
    """Without the spaces and quotes that a copied value brings along; None if nothing is left."""
    if not isinstance(value, str):
        return None
    return value.strip().strip('"').strip("'") or None


@guarded
def _refresh(profile: str, path: Path) -> None:
    """Have LangSmith's client make a request, before which it refreshes the login."""
    from langsmith import Client  # noqa: PLC0415  half a second, and most processes have a key

    try:
        client = Client(
            profile=profile,
            profile_config_path=str(path),
            prefer_profile_auth=True,
            auto_batch_tracing=False,
        )
    except TypeError:
        # A version that knows no profiles: the token as it was, until it expires.
        return
    _ = client.info
