"""LangSmith's environment variables, in both of their names, and the error for what they must not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMESPACES = ("LANGSMITH", "LANGCHAIN")


class DeliverySettingsError(ValueError):
    """The settings name no place to deliver to, or a place that must not be used."""


class NoDestinationError(DeliverySettingsError):
    """There is no key and no endpoint: nowhere to deliver to, and nothing is wrong with that."""


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """The value of `LANGSMITH_NAME`, else of `LANGCHAIN_NAME`; None: neither is set."""
    for namespace in _NAMESPACES:
        value = environ.get(f"{namespace}_{name}")
        if value is not None and value.strip():
            return value
    return None
