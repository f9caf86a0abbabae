"""A client's frame that the server cannot accept, answered with an `error` event.

The codes are those that the vendor's server is known to send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")


class Rejected(Exception):  # noqa: N818  a name, not an Error: the conversation goes on
    """What is wrong with a client's frame."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def error(self, client_event_id: str | None) -> dict[str, Any]:
        """The `error` object, naming the frame that caused it where that had an id."""
        return {
            "type": "invalid_request_error",
            "code": self.code,
            "message": str(self),
            "param": self.param,
            "event_id": client_event_id,
        }


def required(event: Mapping[str, Any], name: str, kind: type[_T], *, within: str = "") -> _T:
    """The field `name`, which has to be there and of type `kind`.

    Raises:
        Rejected: It is missing or of another type.
    """
    path = f"{within}.{name}" if within else name
    value = event.get(name)
    if value is None:
        raise Rejected("missing_required_parameter", f"'{path}' is required", path)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Rejected("invalid_type", f"'{path}' has to be of type {kind.__name__}", path)
    return value
