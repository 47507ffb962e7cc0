"""Measure a device in ten minutes: what it computes, how fast, and in how much memory.

    python -m training.device_check --out device-check

writes ``device-check.json`` and ``device-check.md``, after each row anew, so that what was measured
is kept if the machine is taken away.  Models have random weights: nothing is downloaded.
``--only memory --device cpu`` runs one check where there is no GPU, and ``--toy`` all of them on
tiny networks, to try the script itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # training/, as for its other scripts

import torch
from device_check.checks import CHECKS
from device_check.models import FULL, TOY

from comfy_glaze.devices import choose_device
from comfy_glaze.errors import first_line
from comfy_glaze.files.atomic import atomic_write, write_json


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures are of."""
    found: dict[str, Any] = {"device": str(device), "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory GB": properties.total_memory / 1e9,
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    else:
        found["threads"] = torch.get_num_threads()
    return found


def markdown(report: dict[str, Any]) -> str:
    """A table for each check."""
    parts = [", ".join(f"{key} {_cell(value)}" for key, value in report["machine"].items()) + "."]
    for name, check in report["checks"].items():
        parts.append(f"### {name.capitalize()} ({check['s']:.0f} s)")
        if "why" in check:
            parts.append(check["why"])
        rows = check["rows"]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if columns:
            cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
            table = [columns, ["---"] * len(columns), *cells]
            parts.append("\n".join("| " + " | ".join(line) + " |" for line in table))
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the checks until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("device-check"), help="without an ending")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=9, help="no check begins after these")
    parser.add_argument("--only", choices=CHECKS, action="append", help="may be repeated")
    parser.add_argument("--toy", action="store_true", help="tiny networks and pictures")
    options = parser.parse_args()
    device, started = choose_device(options.device), time.monotonic()
    until = started + 60 * options.minutes
    report: dict[str, Any] = {"machine": machine(device), "checks": {}}
    for name in options.only or CHECKS:
        began = time.monotonic()
        check: dict[str, Any] = {"s": 0.0, "rows": []}
        report["checks"][name] = check
        try:
            for row in CHECKS[name](device, TOY if options.toy else FULL):
                check["rows"].append(row)
                check["s"] = time.monotonic() - began
                print(f"{time.monotonic() - started:5.0f} s  {name}: {json.dumps(row)}", flush=True)
                write(report, options.out)
                if time.monotonic() > until:
                    check["why"] = "Ended here for want of time."
                    break
        except Exception as error:  # one check that fails must not cost the others
            check["why"] = f"Failed: {type(error).__name__}: {first_line(error)}."
            print(check["why"], flush=True)
        check["s"] = time.monotonic() - began
        if device.type == "cuda":
            torch.cuda.empty_cache()
        write(report, options.out)
        if time.monotonic() > until:
            break


def write(report: dict[str, Any], out: Path) -> None:
    """The JSON and the tables of what was measured so far."""
    write_json(report, out.with_suffix(".json"))
    with atomic_write(out.with_suffix(".md")) as file:
        file.write_text(markdown(report), "utf-8")


if __name__ == "__main__":
    main()
