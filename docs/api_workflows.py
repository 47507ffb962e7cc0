"""Write the workflows in API format, for scripts that queue them over HTTP.

    python -m docs.api_workflows --address http://127.0.0.1:8188 --out api-workflows

ComfyUI's own page converts them, in a headless Chromium, so that they are exactly what its Run
button would send.  The files are not kept in the repository: they follow the host's version.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.host.page import open_host

WORKFLOWS = Path(__file__).parent.parent / "workflows"


def main() -> None:
    """Convert every workflow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", default="http://127.0.0.1:8188", help="a running ComfyUI")
    parser.add_argument("--out", type=Path, default=Path("api-workflows"), help="a folder")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with open_host(chosen.address) as host:
        for workflow in sorted(WORKFLOWS.glob("*.json")):
            host.drop(workflow)
            text = json.dumps(host.as_api(), indent=2, ensure_ascii=False)
            (chosen.out / workflow.name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
