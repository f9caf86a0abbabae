"""What LangSmith answered to a Collector that passes its answers on.

A Collector's exporter without a queue hands its failure to the receiver, whose answer has the status that OTLP knows:
400, 401, 403, 404, 429 and 503 as they were (502 and 504 become 503 too), and 500 for every other. The words say which:
`error exporting items, request to URL responded with HTTP Status Code 422`, once for each Collector on the way.
"""

from __future__ import annotations

import re

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Status

_EVERY_OTHER = 500
_BEHIND = re.compile(r"request to (\S+) responded with HTTP Status Code ([1-5]\d\d)\b")
#: User and password of a URL.
_LOGIN = re.compile(r"(?<=//)[^/?#\s]*@")


def answer_behind(status: int, words: str) -> tuple[int, str]:
    """The status that the last server on the way has answered with, and who that was; as given where nothing says so."""
    behind = _BEHIND.findall(words)
    if not behind:
        return status, words
    url, code = behind[-1]
    return int(code) if status == _EVERY_OTHER else status, f"{_LOGIN.sub('', url)} answered {code}"


def words_of(content: bytes) -> str:
    """The words of a failure as OTLP has it, a `google.rpc.Status`; empty where it is none.

    Its message has the same place in OTLP's own `Status`, which spares a dependency.
    """
    try:
        return Status.FromString(content).message
    except DecodeError:
        return ""
