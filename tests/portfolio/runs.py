"""Portfolio runs in processes that may be killed, for the tests; each is a fork of this one.

``python -m tests.portfolio.runs FOLDER PICTURES KILLS`` makes pictures, cloaks them once
undisturbed and once killed again and again, and prints what the two left, as JSON.
``python -m tests.portfolio.runs FOLDER PICTURES KILLS kinds`` does so with pictures of many kinds.
``python -m tests.portfolio.runs FOLDER PICTURES cluster`` cloaks them once alone, and once on a
local cluster of two workers of which one is killed.
``python -m tests.portfolio.runs FOLDER PICTURES throughput`` does so with neither killed.
``python -m tests.portfolio.runs FOLDER PICTURES batches`` cloaks them with the embedded encoder one
by one, then four together.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings
from comfy_glaze.files.atomic import remove_leftovers
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.portfolio.cluster import cloak_on_cluster, connect
from comfy_glaze.portfolio.engine import CloakRequest, Engine, ModelNames, StyleChoice, open_engine
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import Job, plan_outputs, reports_folder
from comfy_glaze.portfolio.run import cloak_portfolio
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.target import TargetStyle
from comfy_glaze.styles.transfer import StyleTransfer


def small_engine(steps: int = 3) -> Engine:
    """Block means for an encoder, the negative for a style: milliseconds for a picture."""
    encoder = Encoder("blocks", "0" * 16, lambda x: F.avg_pool2d(x, 8) * 8, 8, torch.device("cpu"))
    transfer = StyleTransfer(
        "negative", lambda image, style, seed: 1 - image, lambda style: True, lambda: "0" * 16
    )
    target = TargetStyle(builtin_styles()[0], seed=0)
    budget = Budget(limit=0.05, linf=6 / 255, metric="none", alpha=20.0)
    return Engine(encoder, transfer, None, target, budget, CloakSettings(steps=steps))


def make_pictures(folder: Path, count: int, size: int = 64) -> None:
    """Pictures of a few formats in a few folders."""
    rng = random.Random(0)
    for number in range(count):
        place = folder / f"year {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.effect_noise((size, size), 60).convert("RGB")
        picture.paste((rng.randrange(256), rng.randrange(256), 90), (8, 8, 40, 40))
        picture.save(place / f"{number:03}.{('png', 'jpg', 'webp')[number % 3]}")


def make_kinds(folder: Path, count: int) -> None:
    """Pictures as artists have them: grey, 1-bit, few colours, stickers, strips, JPEG, 16 bits."""
    rng, folder = random.Random(1), folder / "kinds"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        kind = ("grey", "line", "palette", "sticker", "strip", "jpeg", "flat", "webp", "tiff")
        name, noise = kind[number % len(kind)], Image.effect_noise((64, 64), 60)
        colour = noise.convert("RGB")
        colour.paste((rng.randrange(256), 80, rng.randrange(256)), (8, 8, 40, 50))
        path = folder / f"{number:03} {name}.png"
        if name == "grey":
            noise.save(path)
        elif name == "line":
            noise.point(lambda level: 255 * (level > 90)).convert("1").save(path)
        elif name == "palette":
            colour.quantize(16).save(path)
        elif name == "sticker":
            colour.putalpha(noise.point(lambda level: 255 * (level > 120)))
            colour.save(path)
        elif name == "strip":
            colour.resize((48, 320)).save(path)
        elif name == "flat":
            Image.new("RGB", (72, 64), (rng.randrange(256), 200, 90)).save(path)
        else:
            ending = {"jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}[name]
            colour.save(path.with_suffix(ending), quality=88)


def jobs_of(folder: Path, out: Path, manifest: Manifest | None = None) -> list[Job]:
    jobs, refused = plan_outputs(find_artworks([folder]), out, "same", manifest)
    assert not refused, refused
    return jobs


def run(folder: Path, out: Path, memory: Path | None = None, engine: Engine | None = None) -> None:
    """One resumed run over a folder, as the command line does it."""
    engine = engine or small_engine()
    for place in (out, reports_folder(out)):
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
    manifest = Manifest(reports_folder(out))
    jobs = jobs_of(folder, out, manifest)
    for outcome in cloak_portfolio(jobs, engine, manifest, resume=True):
        assert outcome.error is None, outcome.error
        if memory:
            with memory.open("a") as file:
                file.write(f"{int(Path('/proc/self/statm').read_text().split()[1])}\n")


def forked(*arguments: object, kill_after: float | None = None) -> bool:
    """Whether a run in a process of its own came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(*arguments)  # type: ignore[arg-type]
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return True
    return False


def tree_of(top: Path) -> dict[str, str]:
    """Every file below a folder, with the hash of its bytes."""
    files = [path for path in sorted(top.rglob("*")) if path.is_file()]
    return {
        p.relative_to(top).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def on_cluster(top: Path, steps: int, kill: bool) -> dict[str, object]:
    """One run alone, one on two workers; with ``kill``, one of them dies in the middle."""

    request = CloakRequest(
        replace(PRESETS["default"], metric="none"),
        CloakSettings(steps=steps),
        ModelNames(device="cpu"),
        StyleChoice("Heavy outlines"),
    )
    engine, took = open_engine(request), {}
    started = time.monotonic()
    run(top / "in", top / "alone", engine=engine)
    took["alone"] = time.monotonic() - started
    client = connect("local:2")
    (top / "shared-reports").mkdir()
    manifest, done = Manifest(top / "shared-reports"), []
    jobs = jobs_of(top / "in", top / "shared")
    list(client.run(lambda: open_engine(request) and 0).values())  # everything is imported
    started = time.monotonic()
    workers = list(client.run(os.getpid).values())
    for outcome in cloak_on_cluster(jobs, request, engine, manifest, client):
        assert outcome.error is None, outcome.error
        done.append(outcome.job.name)
        took["shared"] = time.monotonic() - started
        if kill and len(done) == 2:
            os.kill(workers[0], signal.SIGKILL)
    return {
        "alone": tree_of(top / "alone"),
        "shared": tree_of(top / "shared"),
        "reports": sorted(tree_of(top / "shared-reports")),
        "alone reports": sorted(tree_of(top / "alone-reports")),
        "manifest": sorted(Manifest(top / "shared-reports").entries),
        "done": sorted(done),
        "took": took,
    }


def in_batches(top: Path, together: int) -> dict[str, object]:
    """How far the measures differ when pictures are cloaked together, and what it saves."""
    engine = open_engine(CloakRequest(PRESETS["default"], style=StyleChoice("Heavy outlines")))
    found: dict[int, list[dict[str, Any]]] = {}
    took = {}
    for batch in (1, together):
        out = top / f"batches of {batch}"
        manifest = Manifest(reports_folder(out))
        cpu, wall = time.process_time(), time.monotonic()
        outcomes = list(cloak_portfolio(jobs_of(top / "in", out), engine, manifest, batch=batch))
        took[batch] = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
        outcomes.sort(key=lambda outcome: outcome.job.name)
        found[batch] = [outcome.report for outcome in outcomes if outcome.report]
    pairs = list(zip(found[1], found[together], strict=True))
    return {
        "pictures": len(pairs),
        "shift": max(abs(a["shift"]["512"] - b["shift"]["512"]) for a, b in pairs),
        "perceptual": max(
            abs(a["perceptual"]["value"] - b["perceptual"]["value"]) for a, b in pairs
        ),
        "seconds": took,
    }


def main() -> None:
    torch.set_num_threads(1)
    top, pictures = Path(sys.argv[1]), int(sys.argv[2])
    if sys.argv[3] in ("cluster", "throughput"):
        kill = sys.argv[3] == "cluster"
        make_pictures(top / "in", pictures, 64 if kill else 256)
        print(json.dumps(on_cluster(top, 3 if kill else 40, kill)))
        return
    if sys.argv[3] == "batches":
        make_pictures(top / "in", pictures, 128)
        print(json.dumps(in_batches(top, 4)))
        return
    kills = int(sys.argv[3])
    make = make_kinds if sys.argv[4:] == ["kinds"] else make_pictures
    make(top / "in", pictures)
    started = time.monotonic()
    forked(top / "in", top / "whole", top / "memory")
    took, whole = time.monotonic() - started, tree_of(top / "whole")
    rng, killed, done, half = random.Random(pictures), 0, [], []
    while killed < kills:
        wait = rng.uniform(0.05, 1.6) * took / kills
        killed += not forked(top / "in", top / "killed", kill_after=wait)
        left = tree_of(top / "killed") if (top / "killed").exists() else {}
        done.append(sum(".comfy-glaze-" not in name for name in left))
        half += [n for n in left if ".comfy-glaze-" not in n and left[n] != whole[n]]
    forked(top / "in", top / "killed")
    print(
        json.dumps(
            {
                "whole": tree_of(top / "whole"),
                "killed": tree_of(top / "killed"),
                "reports": sorted(tree_of(top / "killed-reports")),
                "whole reports": sorted(tree_of(top / "whole-reports")),
                "done": done,
                "half": half,
                "memory": [int(line) for line in (top / "memory").read_text().split()],
            }
        )
    )


if __name__ == "__main__":
    main()
