"""A recording whose encoding comes when the root has gone with the unencoded one, as at the end of a process in a hurry."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from voicespan.delivery.attachments import RootAttachment
from voicespan.delivery.spool.folder import RecordingResult
from voicespan.testing import FakeClock


@pytest.fixture
def attachment(tmp_path, monkeypatch):
    # Each line is said once in a process, and another test may have been the first.
    monkeypatch.setattr("voicespan.delivery.spool.spool._said", set())
    spool = SimpleNamespace(recording_changed=lambda: None, reserve=lambda _: True)
    attachment = RootAttachment(FakeClock(), spool)
    files = SimpleNamespace(folder=tmp_path, size=lambda _: 0, names=list)
    attachment.made(SimpleNamespace(files=files, name="a-folder"))
    attachment.expect(30, recorder=True)
    attachment.ended()
    return attachment


def test_nothing_is_said_to_be_missing_that_went(attachment, tmp_path, caplog):
    unencoded = RecordingResult("attached", "conversation.flac", "audio/flac")
    assert attachment.close(otherwise=lambda: unencoded) == unencoded
    # Its folder was sent, and is gone.
    attachment.attach(tmp_path / "gone" / "conversation.ogg", "audio/ogg", recorder=True)
    assert caplog.text == ""


def test_what_cannot_be_read_and_went_in_no_other_way_is_said(attachment, tmp_path, caplog):
    assert attachment.close().status == "timeout"
    attachment.attach(tmp_path / "gone" / "conversation.ogg", "audio/ogg", recorder=True)
    assert "a recording cannot be attached (No such file or directory)" in caplog.text
