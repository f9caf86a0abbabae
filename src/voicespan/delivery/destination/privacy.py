"""What LangSmith's own variables keep inside the process: whole traces, or parts of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.delivery.destination.variables import DeliverySettingsError, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Privacy:
    """What LangSmith's own variables keep inside the process."""

    hide_inputs: bool = False
    hide_outputs: bool = False
    hide_metadata: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Privacy:
        """Read LANGSMITH_HIDE_INPUTS, _OUTPUTS and _METADATA."""
        return cls(
            *(variable(environ, f"HIDE_{what}") == "true" for what in ("INPUTS", "OUTPUTS", "METADATA"))
        )

    @property
    def hide_recording(self) -> bool:
        """The recording holds both voices, so it stays here if either side's words shall."""
        return self.hide_inputs or self.hide_outputs


def tracing_is_off(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether LANGSMITH_TRACING (or its older name, LANGSMITH_TRACING_V2) says no."""
    value = variable(environ, "TRACING_V2") or variable(environ, "TRACING") or ""
    return value.strip().lower() in _NO


def sampling_rate(environ: Mapping[str, str] = os.environ) -> float | None:
    """LANGSMITH_TRACING_SAMPLING_RATE, 0 to 1.

    Raises:
        DeliverySettingsError: it is something else, which LangSmith's own client refuses as well.
    """
    value = variable(environ, "TRACING_SAMPLING_RATE")
    if value is None:
        return None
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise DeliverySettingsError("LANGSMITH_TRACING_SAMPLING_RATE must be a number from 0 to 1")
    return rate


def is_sampled(run_id: str, rate: float | None) -> bool:
    """Whether a trace is among the `rate` that is kept, by the rule of LangSmith's own SDKs.

    They decide by the trace's id, so that every process and language agrees on a trace.
    """
    if rate is None or rate >= 1:
        return True
    if rate <= 0:
        return False
    try:
        from xxhash import xxh3_128_intdigest  # noqa: PLC0415  comes with langsmith since that has the rule

        digest = xxh3_128_intdigest(run_id.lower().encode())
    except ImportError:
        digest = int.from_bytes(hashlib.blake2b(run_id.lower().encode()).digest(), "big")
    return digest % 1_000_000 / 1_000_000 < rate
