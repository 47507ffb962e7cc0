"""What the tests of portfolios share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """An empty folder for originals; what is made of them goes beside it."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"
