"""Moments as tests and whoever debugs see them."""

from __future__ import annotations

import pytest

from voicespan.protocol.events import ErrorReported, SpeechStarted, SpeechStopped, WireError


def test_moments_are_equal_where_all_they_tell_is():
    def reported(message):
        return ErrorReported(1, "error", WireError("server_error", message), {"code": "x"})

    assert reported("busy") == reported("busy")
    assert reported("busy") != reported("down")
    assert SpeechStarted(1, "speech", "u1") != SpeechStopped(1, "speech", "u1")


def test_a_moment_says_what_it_tells_and_has_no_hash_since_it_can_be_changed():
    moment = ErrorReported(1, "error", WireError("server_error", "busy"))
    assert repr(moment) == (
        "ErrorReported(at=1, event_type='error', error=WireError(type='server_error', message='busy'), facts={})"
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(moment)
