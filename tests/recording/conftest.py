from __future__ import annotations

import pytest
from studio import Studio


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path)
