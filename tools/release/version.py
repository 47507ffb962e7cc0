"""A new version: its number where it stands, and the changelog's heading with the day."""

from __future__ import annotations

import datetime
import re

from .building import ROOT, ReleaseError

PLACES = {
    "comfy_glaze/__init__.py": r'(?<=__version__ = ")[^"]+',
    "CITATION.cff": r"(?<=^version: ).+$",
}
UNRELEASED = "(unreleased)"


def set_version(version: str) -> None:
    """Write a version everywhere, and date the changelog's section of that name.

    Raises:
        ReleaseError: it is no version, not a later one, or the changelog has no section for it.
    """
    from packaging.version import InvalidVersion, Version

    path = ROOT / "comfy_glaze/__init__.py"
    found = re.search(PLACES["comfy_glaze/__init__.py"], path.read_text("utf-8"))
    assert found is not None
    try:
        is_earlier = Version(version) < Version(found[0])
    except InvalidVersion:
        raise ReleaseError(f"Expected a version such as 0.2.0, but got {version}.") from None
    if is_earlier:
        raise ReleaseError(f"Expected a version after {found[0]}, but got {version}.")
    changelog = ROOT / "CHANGELOG.md"
    text, heading = changelog.read_text("utf-8"), f"## {version} {UNRELEASED}"
    if heading not in text:
        raise ReleaseError(f"Expected the heading '{heading}' in CHANGELOG.md, but it has none.")
    today = datetime.date.today().isoformat()
    changelog.write_text(text.replace(heading, f"## {version} ({today})"), encoding="utf-8")
    for name, pattern in PLACES.items():
        place = ROOT / name
        changed = re.sub(pattern, version, place.read_text("utf-8"), count=1, flags=re.MULTILINE)
        place.write_text(changed, encoding="utf-8")


def begin(version: str) -> None:
    """Open the changelog's section for the version that comes next.

    Raises:
        ReleaseError: it is there already.
    """
    changelog = ROOT / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    if re.search(rf"^## {re.escape(version)} ", text, re.MULTILINE):
        raise ReleaseError(f"CHANGELOG.md has a section for {version} already.")
    at = text.index("\n## ") + 1
    changelog.write_text(f"{text[:at]}## {version} {UNRELEASED}\n\n{text[at:]}", encoding="utf-8")
