"""What docstrings, comments and pages refer to by its dotted name is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = ("comfy_glaze", "nodes", "training", "samples", "docs", "web/docs")
FILES = [
    *(path for place in PLACES for kind in ("*.py", "*.md") for path in (ROOT / place).rglob(kind)),
    *ROOT.glob("*.md"),
]
_NAME = re.compile(r"(?<![\w/.])comfy_glaze(?:\.[A-Za-z_]\w*)+")
_EVENTS = {"comfy_glaze.step", "comfy_glaze.measured"}  # between the nodes and the page
_KEYS = {"comfy_glaze.read", "comfy_glaze.words"}  # of the files of words in locales/


def _exists(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if part in getattr(found, "__dataclass_fields__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dotted_names_exist(path: Path) -> None:
    names = set(_NAME.findall(path.read_text(encoding="utf-8"))) - _EVENTS - _KEYS
    assert not [name for name in sorted(names) if not _exists(name)]
