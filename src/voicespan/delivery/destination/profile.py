"""The profile that LangSmith's command line tool keeps in `~/.langsmith/config.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicespan.delivery.destination.credentials import ProfileLogin, StoredLogin, clean, read_file

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Profile:
    """One profile of the file; an empty one where there is none."""

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    login: ProfileLogin | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Profile:
        """The profile that LANGSMITH_PROFILE names, else the file's current one."""
        try:
            path = Path(environ.get("LANGSMITH_CONFIG_FILE") or Path.home() / ".langsmith" / "config.json")
        except RuntimeError:  # nobody's home
            return cls()
        written = read_file(path)
        profiles = written.get("profiles")
        if not isinstance(profiles, dict):
            return cls()
        name = environ.get("LANGSMITH_PROFILE") or written.get("current_profile") or "default"
        chosen = profiles.get(name) if isinstance(name, str) else None
        if not isinstance(chosen, dict):
            return cls()
        login, stored = None, StoredLogin.of(chosen)
        if stored.token or stored.can_be_refreshed:
            login = ProfileLogin(name, path, stored.token)
        return cls(name, chosen, login)

    @property
    def api_url(self) -> str | None:
        """The API it belongs to."""
        return clean(self.settings.get("api_url"))

    @property
    def workspace_id(self) -> str | None:
        """The workspace it belongs to."""
        return clean(self.settings.get("workspace_id"))

    def api_key(self, environ: Mapping[str, str]) -> str | None:
        """Its key, which may stand in an environment variable that it names."""
        key = clean(self.settings.get("api_key"))
        if key is None and self.settings.get("secret_store") != "keychain":
            variable = clean(self.settings.get("api_key_env"))
            key = environ.get(variable) if variable else None
        return key

    @property
    def why_no_key(self) -> str:
        """For the error: which of a profile's ways to a key leads nowhere from Python."""
        if self.settings.get("secret_store") == "keychain":
            return f" (profile {self.name!r} keeps its key in the system's keychain, which is not read here)"
        if self.settings.get("api_key_env"):
            return f" (profile {self.name!r} takes its key from ${self.settings['api_key_env']}, which is not set)"
        if self.settings.get("api_key_cmd"):
            return f" (profile {self.name!r} takes its key from a command, which is not run here)"
        return ""
