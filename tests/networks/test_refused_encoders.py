"""Names that lead to no encoder: each is refused in one sentence that says why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import EncoderError

from .test_encoders import tiny_kl


def _text_file(path: Path) -> str:
    (path / "model.safetensors").write_text("not weights")
    return str(path / "model.safetensors")


def _pickle(path: Path) -> str:
    torch.save({"a": torch.zeros(1)}, path / "model.ckpt")
    return str(path / "model.ckpt")


def _other_weights(path: Path) -> str:
    save_file({"lora_up.weight": torch.zeros(2, 2)}, path / "lora.safetensors")
    return str(path / "lora.safetensors")


def _broken_kl(path: Path) -> str:
    weights = tiny_kl().state_dict()
    del weights["encoder.conv_norm_out.weight"]
    save_file(weights, path / "broken.safetensors")
    return str(path / "broken.safetensors")


def _lacking_folder(path: Path) -> str:
    """diffusers fills what is missing at random, and only says so."""
    tiny_kl().save_pretrained(path)
    weights = tiny_kl().state_dict()
    kept = {key: value for key, value in weights.items() if not key.startswith("encoder.mid")}
    save_file(kept, path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return str(path)


def _changed_kl(change: Callable[[Tensor], Tensor]) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        weights = {key: change(value) for key, value in tiny_kl().state_dict().items()}
        save_file(weights, path / "changed.safetensors")
        return str(path / "changed.safetensors")

    return write


def _strange_numbers(path: Path) -> str:
    weights = {
        "encoder.conv1.weight": torch.zeros(8, 3, 3, 3, 3),
        "encoder.head.2.weight": torch.zeros(8, 8, 3, 3, 3),
        "conv1.weight": torch.zeros(8, 8, 1, 1, 1),
        "encoder.downsamples.a.residual.6.weight": torch.zeros(8, 8, 3, 3, 3),
    }
    save_file(weights, path / "strange.safetensors")
    return str(path / "strange.safetensors")


def _config(text: str) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        tiny_kl().save_pretrained(path)
        (path / "config.json").write_text(text, encoding="utf-8")
        return str(path)

    return write


def _wrong_class(path: Path) -> str:
    (path / "other").mkdir()
    (path / "other" / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    return str(path / "other")


def _empty_folder(path: Path) -> str:
    (path / "nothing").mkdir()
    return str(path / "nothing")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (_text_file, r"model.safetensors is not a readable .safetensors file"),
        (_pickle, r"Expected weights as .safetensors, but got model.ckpt"),
        (_other_weights, r"lora.safetensors holds no autoencoder of a known layout"),
        (_broken_kl, r"broken.safetensors do not fit a AutoencoderKL: encoder.conv_norm_out"),
        (_lacking_folder, r"do not fit a AutoencoderKL: encoder.mid_block.* and 25 more keys"),
        (_changed_kl(lambda weight: weight * math.nan), "some of its weights are no numbers"),
        (_changed_kl(lambda weight: weight.to(torch.int8)), "holds weights as whole numbers"),
        (_strange_numbers, r"strange.safetensors are not those of a picture VAE"),
        (_config("[]"), "its config.json names no class"),
        (_config('{"_class_name": ["AutoencoderKL"]}'), "its config.json names no class"),
        (_config('{"_class_name": "SmallEncoder"}'), "diffusers has no SmallEncoder"),
        (lambda path: "~nobody-here/vae.safetensors", "but there is no ~nobody-here"),
        (lambda path: "a" * 300 + ".safetensors", "but there is no aaa"),
        (_wrong_class, r"it holds a UNet2DModel, but an encoder must be one of AutoencoderKL"),
        (_empty_folder, r"No encoder could be loaded from .*nothing"),
        (lambda path: str(path / "absent.safetensors"), r"but there is no .*absent.safetensors"),
        (lambda path: "someone/some-model", r"No encoder could be loaded from someone/some-model"),
    ],
)
def test_what_is_no_encoder_is_named(
    source: Callable[[Path], str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match=words) as caught:
        load_encoder(source(tmp_path))
    assert "\n" not in str(caught.value)
