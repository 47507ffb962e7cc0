"""What every test shares: no network, caches of its own, and small stand-ins with known answers."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # the hub's client reads this once, when it is imported

import diffusers
import pytest
import torch
import torch.nn.functional as F
import transformers
from click.testing import Result
from torch import Tensor
from typer.testing import CliRunner

from comfy_glaze.images import to_grid
from comfy_glaze.networks.encoders import Encoder

from .tiny_clip import letter_tokenizer

Run = Callable[..., Result]
"""Runs a command of the command line in an empty folder."""

ARTWORKS = Path(__file__).parent.parent / "samples"

posix_words = pytest.mark.skipif(os.name != "posix", reason="Windows says this in other words")
needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib (extra lab)"
)
names_of_any_bytes = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux takes any bytes for a file's name"
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the network is refused in tests")

    if os.name != "nt":  # asyncio on Windows connects to itself; names stay refused there
        monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    # the same draws in every run of the tests
    same = SimpleNamespace(token_bytes=lambda count: b"*" * count)
    monkeypatch.setattr("comfy_glaze.styles.secret.secrets", same)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*words: object) -> Result:
        from comfy_glaze.cli import app

        return CliRunner().invoke(app, [str(word) for word in words])

    return run_command


@pytest.fixture
def cuda() -> Iterator[Any]:
    """A pretended CUDA; see :mod:`tests.fake_devices`."""
    from .fake_devices import pretended_device

    with pretended_device() as device:
        yield device


@pytest.fixture
def small_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of 64 px instead of 512, so that a small picture has native tiles."""
    monkeypatch.setattr("comfy_glaze.images.VIEW_SIZE", 64)


@pytest.fixture
def block_encoder() -> Encoder:
    """A linear encoder with orthonormal rows: each 8 × 8 block and colour, summed, over 8.

    The rows have disjoint supports, so that optima under a box have a closed form.
    """
    return Encoder("blocks", "0" * 16, lambda x: F.avg_pool2d(x, 8) * 8, 8, torch.device("cpu"))


def tiny_unet(context: int = 32, **options: Any) -> diffusers.UNet2DConditionModel:
    """Stable Diffusion's UNet with two narrow levels and random weights, for texts whose words are
    ``context`` numbers each."""
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=context,
        attention_head_dim=8,
        **options,
    )


def tiny_sdxl_unet() -> diffusers.UNet2DConditionModel:
    """Stable Diffusion XL's, for two texts whose words are 32 numbers each."""
    return tiny_unet(
        64,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )


def tiny_vae(*channels: int, **options: Any) -> diffusers.AutoencoderKL:
    """Stable Diffusion's VAE with a level for each number of channels, and random weights."""
    return diffusers.AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        **options,
    )


def tiny_text_config(words: int, layers: int = 1) -> transformers.CLIPTextConfig:
    """Of a narrow CLIP text encoder with a vocabulary of so many words."""
    return transformers.CLIPTextConfig(
        vocab_size=words,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


@pytest.fixture
def tiny_pipeline(tmp_path: Path) -> str:
    """A Stable Diffusion with random weights and a vocabulary of single letters, on disk."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer(tmp_path)
    unet, vae = tiny_unet(), tiny_vae(32, 64)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=transformers.CLIPTextModel(tiny_text_config(len(tokenizer))),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(tmp_path / "tiny-sd")
    return str(tmp_path / "tiny-sd")


def smooth_picture(height: int, width: int, seed: int = 0, batch: int = 1) -> Tensor:
    """Random soft blobs with a little grain, (B, 3, height, width) on the 8-bit grid."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 5, 5, generator=generator)
    soft = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    grain = 0.04 * torch.randn(batch, 3, height, width, generator=generator)
    return to_grid((soft + grain).clamp(0, 1))


def modules_after(*words: str, cwd: Path) -> tuple[int, set[str], str]:
    """What a command imports in a process of its own: exit code, modules, and what it said."""
    program = (
        "import sys\n"
        "from comfy_glaze.cli import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    print('MODULES', *sorted(sys.modules), file=sys.stderr)\n"
        "    sys.exit(end.code)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ARTWORKS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
    )
    said, _, modules = done.stderr.partition("MODULES")
    return done.returncode, set(modules.split()), done.stdout + said
