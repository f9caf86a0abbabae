"""What LangSmith knows us by: a key, or the login of a person's profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from pathlib import Path


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
        """A valid token, refreshed by LangSmith's own code where that can be done.

        May speak to LangSmith and wait for it: not for the application's threads.
        """
        known = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return _refreshed(self.profile, self.path) or known


@guarded
def _refreshed(profile: str, path: Path) -> dict[str, str] | None:
    try:
        from langsmith._internal import _profiles  # noqa: PLC0415  no public way to a profile's login

        config = _profiles.load_profile_client_config(profile=profile, config_path=str(path))
        auth = _profiles.ProfileAuth(config, api_key_header="x-api-key")
    except (ImportError, AttributeError, TypeError):
        # Another version of the langsmith package: the token as it was, until it expires.
        return None
    return dict(auth.get_auth_headers())
