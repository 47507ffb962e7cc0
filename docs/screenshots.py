r"""Open or run workflows in a real ComfyUI and take pictures, for docs/ and the nodes' pages.

    COMFYUI_PATH=path/to/ComfyUI python -m docs.screenshots [--steps N] [--side N] \
        [--as-it-opens] [name ...]

A ComfyUI is started with the bundled artworks and a checkpoint of random weights, which takes the
place of Stable Diffusion: what it redraws is a texture, and no style at all.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path

from PIL import Image
from safetensors.torch import load_file, save_file

from nodes.families import MOST
from tests.host.checkpoint import write_checkpoint
from tests.host.conftest import copy_pack, free_port
from tests.host.page import HostPage, open_host
from tests.host.server import start_server
from tests.tiny_clip import write_clip

ROOT = Path(__file__).parent.parent
PACK = "comfy-glaze"  # the folder that ComfyUI's manager makes; the nodes' badges show it
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
PICTURES = {
    "glaze-sample-harbour.png": "harbour",
    "glaze-sample-ink.png": "ink",
    "harbour.png": "harbour",
}
JUDGE = "models/glaze_judges/clip-vit-large-patch14"
NODES = {  # whose page shows it as it looks in which workflow, by number
    "GlazeCloakPicture": "01",
    "GlazeLoadArtwork": "04",
    "GlazeStyleTransfer": "02",
    "GlazeLoadEncoder": "04",
    "GlazeLoadStyleBank": "04",
    "GlazeSelectTargetStyle": "04",
    "GlazeLPIPSBudget": "04",
    "GlazeCloakOptimize": "04",
    "GlazeSaveCloaked": "04",
    "GlazeCombineEncoders": "08",
    "GlazeBuildStyleBank": "08",
    "GlazeNightshadePoison": "12",
    "GlazeApplyCountermeasure": "09",
    "GlazeMeasureCloak": "09",
    "GlazeBaselineCloak": "10",
    "GlazeGenreShift": "11",
}
CHOSEN = {"GlazeCombineEncoders": ("also", MOST)}  # on the nodes' own pictures
OPTIMISERS = ("GlazeCloakOptimize", "GlazeNightshadePoison", "GlazeBaselineCloak")


def prepare(base: Path, side: int) -> None:
    """A folder for a host that holds all that the workflows ask for.

    Args:
        side: the artworks' longer side at most, in px.
    """
    copy_pack(base / "custom_nodes" / PACK)
    write_checkpoint(base / "models/checkpoints" / CHECKPOINT)
    _brighten(base / "models/checkpoints" / CHECKPOINT)
    write_clip(base / JUDGE)
    for folder in ("input", "output/paintings", "user"):
        (base / folder).mkdir(parents=True)
    for name, artwork in PICTURES.items():
        picture = Image.open(ROOT / f"samples/{artwork}.png").convert("RGB")
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        picture.save(base / "input" / name)
    picture.save(base / "output/paintings/picture_00001_.png")


def _brighten(checkpoint: Path) -> None:
    """Let the random decoder paint around a middle grey; as it is made, all comes out black."""
    weights = load_file(checkpoint)
    layer = "first_stage_model.taesd_decoder."
    last = max(int(key.split(".")[2]) for key in weights if key.startswith(layer))
    weights[f"{layer}{last}.bias"] += 0.5
    weights[f"{layer}{last}.weight"] *= 6
    save_file(weights, checkpoint)


def save_webp(picture: Image.Image, path: Path, width: int, limit: int) -> None:
    """Save at most `width` px wide and `limit` bytes large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (min(width, picture.width), 10 * picture.height)
    picture.thumbnail(size, Image.Resampling.LANCZOS)
    for quality in (90, 80, 70, 55, 40):
        picture.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size <= limit:
            return
    raise ValueError(f"{path.name} needs more than {limit} bytes.")


def photograph(host: HostPage, workflow: Path, steps: int, run: bool = True) -> None:
    """Run one workflow, or leave it as it opens, and save all pictures of it."""
    host.drop(workflow)
    if run:
        run_small(host, workflow, steps)
    host.page.wait_for_timeout(2000)  # the gallery's pictures
    shot = Image.open(io.BytesIO(host.picture())).convert("RGB")
    save_webp(shot.copy(), ROOT / "docs/workflows" / f"{workflow.stem}.webp", 1800, 300_000)
    for node, where in NODES.items():
        box = host.node_box(node) if where == workflow.name.split()[1] else None
        if box is not None:
            if node in CHOSEN:
                host.set_widget(node, *CHOSEN[node])
                shot = Image.open(io.BytesIO(host.picture())).convert("RGB")
            save_webp(shot.crop(box), ROOT / f"web/docs/pictures/{node}.webp", 800, 150_000)


def run_small(host: HostPage, workflow: Path, steps: int) -> None:
    """Run what has been dropped, with little to draw and to learn."""
    if steps:
        text = workflow.read_text(encoding="utf-8")
        for optimiser in OPTIMISERS:
            if optimiser in text:
                host.set_widget(optimiser, "steps", steps)
    if "EmptyLatentImage" in workflow.read_text(encoding="utf-8"):
        host.set_widget("EmptyLatentImage", "width", 256)
        host.set_widget("EmptyLatentImage", "height", 192)
    if "TrainLoraNode" in workflow.read_text(encoding="utf-8"):
        host.set_widget("GlazeStyleTransfer", "short_side", 192)
        for node in ("TrainLoraNode", "GlazeStyleTransfer", "KSampler"):
            host.set_widget(node, "steps", steps or 8)
        host.set_widget("TrainLoraNode", "training_dtype", "fp32")
    host.draw_bank_small(workflow)
    host.run(1800)


def main() -> None:
    """Take the pictures of the named workflows, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=0, help="of the cloak; 0 for the method's own")
    parser.add_argument("--side", type=int, default=1024, help="of the artworks, in px, at most")
    parser.add_argument("--as-it-opens", action="store_true", help="without a run")
    parser.add_argument("names", nargs="*", help="workflows; all of them if none is named")
    chosen = parser.parse_args()
    names = chosen.names or sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        prepare(base, chosen.side)
        server = start_server(Path(os.environ["COMFYUI_PATH"]), base, free_port())
        try:
            with open_host(server.url, Comfy_VueNodes_Enabled=False) as host:
                for name in names:
                    workflow = ROOT / "workflows" / f"{name}.json"
                    photograph(host, workflow, chosen.steps, not chosen.as_it_opens)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
