"""What wheel, sdist and registry pack hold: all that they must, and nothing else."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

from .building import ROOT, ReleaseError, built, committed, in_pack

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NEEDED_IN_PACK = ("__init__.py", "requirements.txt", "pyproject.toml", "LICENSE", "README.md")
FOLDERS_IN_PACK = ("comfy_glaze/", "nodes/", "web/", "web/docs/", "workflows/", "locales/")
WEIGHTS = "comfy_glaze/networks/embedded/"
TO_BE_DECIDED = "OWNER"
BY_NAME = re.compile(r"pip install [^\n`&|;]*(?<![\w/.-])comfy[-_]glaze")
"""The program installed by its name from an index, where the name is not ours yet."""


def names_in(archive: Path) -> list[str]:
    """The files of a wheel, sdist or zip; of an sdist without its outer folder."""
    if archive.suffix == ".gz":
        with tarfile.open(archive) as tar:
            return sorted(m.name.partition("/")[2] for m in tar.getmembers() if not m.isdir())
    with zipfile.ZipFile(archive) as file:
        return sorted(file.namelist())


def expected() -> dict[str, list[str]]:
    """By kind, the files that it must hold, from those of the last commit."""
    wheel, _, _ = built()
    meta = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
    own = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    return {
        "wheel": sorted(
            [name for name in committed() if name.startswith("comfy_glaze/")]
            + [meta + name for name in own]
        ),
        "sdist": sorted([*committed(), "PKG-INFO"]),
        "pack": in_pack(),
    }


def check() -> list[str]:
    """A line for each archive.

    Raises:
        ReleaseError: one holds too little or too much.
    """
    lines = []
    for (kind, wanted), archive in zip(expected().items(), built(), strict=True):
        found = names_in(archive)
        missing, strange = set(wanted) - set(found), set(found) - set(wanted)
        if missing or strange:
            raise ReleaseError(
                f"The {kind} lacks {', '.join(sorted(missing)) or 'nothing'}, and holds what it "
                f"must not: {', '.join(sorted(strange)) or 'nothing'}."
            )
        weights = [name for name in found if name.startswith(WEIGHTS)]
        lacking = [] if weights else [WEIGHTS]
        if kind == "pack":
            lacking += [name for name in NEEDED_IN_PACK if name not in found]
            lacking += [top for top in FOLDERS_IN_PACK if not any(n.startswith(top) for n in found)]
        if lacking:
            raise ReleaseError(f"The {kind} lacks {', '.join(lacking)}.")
        size = archive.stat().st_size
        lines.append(f"{archive.name}: {len(found)} files, {size / 1e6:.1f} MB, as it must be.")
    return [*lines, *undecided()]


def undecided() -> list[str]:
    """What only the owner can say, and nobody has said yet."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    open_ones = [name for name, url in project["urls"].items() if TO_BE_DECIDED in url]
    notes = [f"The owner must fill in: project.urls.{name}." for name in open_ones]
    text = (ROOT / "README.md").read_text("utf-8")
    if BY_NAME.search(text):
        raise ReleaseError("README.md installs comfy-glaze by a name that is not ours yet.")
    return notes
