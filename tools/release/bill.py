"""What the program consists of: a bill of materials (CycloneDX), and everybody's licence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .building import DIST, ROOT, run

BILL = DIST / "sbom.cdx.json"
PAGE = ROOT / "docs/licences.md"
BEGIN, END = "<!-- dependencies -->", "<!-- end of dependencies -->"


def write_bill(python: Path) -> list[str]:
    """Describe what an environment has installed, and renew the table of docs/licences.md.

    Args:
        python: the environment's interpreter, as :mod:`.trial` makes one.

    Raises:
        ReleaseError: cyclonedx-bom fails.
    """
    words = ["--output-reproducible", "--of", "JSON", "-o", BILL]
    words += ["--pyproject", ROOT / "pyproject.toml", "--mc-type", "application"]
    run(sys.executable, "-m", "cyclonedx_py", "environment", *words, python)
    components = json.loads(BILL.read_text("utf-8"))["components"]
    stated = json.loads(run(python, "-c", _STATED))
    rows = sorted(
        (one["name"].lower(), one.get("version", ""), licence_of(one, stated.get(one["name"], "")))
        for one in components
        if one["name"] not in ("comfy-glaze", "pip")
    )
    table = ["| package | version | licence |", "|---|---|---|"]
    table += [f"| {name} | {version} | {licence} |" for name, version, licence in rows]
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    lines = "\n".join(table)
    PAGE.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}", encoding="utf-8")
    silent = [name for name, _, licence in rows if licence == UNKNOWN]
    return [
        f"{BILL.name}: {len(rows)} packages. Without a licence in their metadata: "
        f"{', '.join(silent) or 'none'}."
    ]


UNKNOWN = "not said"
_CLASSIFIER = "License :: "
_STATED = """
import json
from importlib.metadata import distributions
fields = {one.metadata["Name"]: one.metadata["License"] for one in distributions()}
print(json.dumps({name: text for name, text in fields.items() if text}))
"""


def licence_of(component: dict[str, Any], stated: str = "") -> str:
    """The licence that a package states: in SPDX where it does, else by its classifier.

    Args:
        component: of the bill of materials.
        stated: the package's own words, for one whose words the bill leaves out.
    """
    found = []
    for one in component.get("licenses", []):
        licence = one.get("license", {})
        found.append(one.get("expression") or licence.get("id") or licence.get("name") or "")
    found.sort(key=lambda text: text.startswith(_CLASSIFIER))
    for text in [*found, stated]:
        line = next(iter(text.strip().splitlines()), "")
        line = line.rpartition(" :: ")[2] if line.startswith(_CLASSIFIER) else line
        if line and len(line) < 120:
            return line.replace("|", "/")
    return UNKNOWN
