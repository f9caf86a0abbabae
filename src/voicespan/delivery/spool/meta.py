"""What a folder of the spool says of itself: whose it is, where it goes, and what its deliverer has to keep to."""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import asdict, dataclass, field
from typing import Any

from voicespan.delivery.spool import secure_file

_VERSION = 1
_LATEST = 1 << 63


@dataclass(frozen=True)
class Terms:
    """What whoever delivers a folder has to keep to: another process may, with other settings."""

    #: What the recording is to be attached as; None: as it is.
    recording_format: str | None = None
    hide_recording: bool = False
    hide_metadata: bool = False
    #: The conversation is shown while it is going on.
    live: bool = False
    #: Its figures become feedback in LangSmith.
    feedback: bool = False

    def is_sound(self) -> bool:
        """The same as for `Meta`."""
        return isinstance(self.recording_format, str | None) and all(
            isinstance(asked, bool)
            for asked in (self.hide_recording, self.hide_metadata, self.live, self.feedback)
        )


@dataclass(frozen=True)
class Meta:
    """Whose folder it is."""

    #: As `Destination.named` returns it.
    destination: dict[str, str | None]
    #: Wall clock, nanoseconds.
    started_at: int
    trace_id: str | None = None
    root_span_id: str | None = None
    thread_id: str | None = None
    #: The name of the folder that must be delivered before this one.
    after: str | None = None
    process: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    version: int = _VERSION
    #: None: the settings of who delivers it count.
    terms: Terms | None = None
    #: The machine (see `machine`), for containers of one machine whose hosts have different names.
    machine: str | None = None

    @property
    def standalone(self) -> bool:
        """Whether there is no root to wait for."""
        return self.root_span_id is None

    @classmethod
    def of(cls, written: bytes | None) -> Meta | None:
        """What `meta.json` says; None: it is not there, damaged, or from a version that wrote other folders."""
        facts = read_json(written)
        if facts.get("version") != _VERSION:
            return None
        try:
            if (terms := facts.get("terms")) is not None:
                facts["terms"] = Terms(**terms)
            meta = cls(**facts)
        except TypeError:
            return None
        return meta if meta.is_sound() else None

    def encoded(self) -> bytes:
        """As it is written. Older versions do not know what is left out here where it says nothing."""
        facts = asdict(self)
        for name in ("terms", "machine"):
            if facts[name] is None:
                del facts[name]
        return json.dumps(facts).encode()

    def is_sound(self) -> bool:
        """Whether everything is of its kind: others may have written it."""
        return (
            isinstance(self.destination, dict)
            and all(isinstance(named, str | None) for named in self.destination.values())
            and type(self.started_at) is int
            and 0 <= self.started_at < _LATEST
            and _is_hex(self.trace_id, 32)
            and _is_hex(self.root_span_id, 16)
            and isinstance(self.thread_id, str | None)
            and (self.after is None or secure_file.is_plain(self.after))
            and isinstance(self.process, int)
            and isinstance(self.host, str)
            and (self.terms is None or self.terms.is_sound())
            and isinstance(self.machine, str | None)
        )


def read_json(written: bytes | None) -> dict[str, Any]:
    """The facts that a file of a folder holds; none where it is not there, or damaged."""
    try:
        facts = json.loads(written or b"")
    except (ValueError, RecursionError):  # the latter for a million brackets
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_hex(written: object, digits: int) -> bool:
    return written is None or (
        isinstance(written, str) and bool(re.fullmatch(f"[0-9a-f]{{{digits}}}", written))
    )
