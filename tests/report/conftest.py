from __future__ import annotations

import pytest
from made_call import write_call


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "calls"


@pytest.fixture
def call(folder):
    return write_call(folder)
