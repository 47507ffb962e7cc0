"""Write locales/en/main.json from the nodes themselves, as a running ComfyUI describes them.

    python -m docs.node_texts --address http://127.0.0.1:8188

English is never edited by hand.  The other languages are: a test says what they lack.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

ENGLISH = Path(__file__).parent.parent / "locales/en/main.json"


def texts_of(node: dict[str, Any]) -> dict[str, Any]:
    """What of a node's description is shown to people, in the host's layout for languages."""
    inputs = {
        name: {"name": name, "tooltip": spec[1]["tooltip"]}
        for section in ("required", "optional")
        for name, spec in node["input"].get(section, {}).items()
    }
    outputs = {}
    for index, name in enumerate(node["output_name"]):
        outputs[str(index)] = {"name": name}
        if tooltip := node["output_tooltips"][index]:
            outputs[str(index)]["tooltip"] = tooltip
    return {
        "display_name": node["display_name"],
        "description": node["description"],
        "inputs": inputs,
        "outputs": outputs,
    }


def main() -> None:
    """Ask the host and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", default="http://127.0.0.1:8188", help="a running ComfyUI")
    with urllib.request.urlopen(f"{parser.parse_args().address}/object_info") as answer:
        nodes = json.loads(answer.read())
    ours = {
        name: texts_of(nodes[name]) for name in sorted(nodes) if nodes[name]["category"] == "Glaze"
    }
    ENGLISH.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"nodeDefs": ours}, indent=2, ensure_ascii=False)
    ENGLISH.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
