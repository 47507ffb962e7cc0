"""The generator: a small latent diffusion model with an artist's name and words as its prompt.

A U-Net of diffusers predicts v (Salimans and Ho, 2022) on latents of 128 px pictures, normalised
per channel.  A prompt is the sum of a vector for the artist and the mean vector of the words; both
enter beside the time.  The untrained name is the empty prompt of classifier-free guidance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from comfy_glaze.files.atomic import atomic_write

NOBODY, MIMICKED = "nobody", "the mimicked artist"
"""Names that every generator has: the empty prompt's, and the one that a mimic learns."""

TIMES = 1000

_FORMAT = "comfy_glaze real-art generator 1"


@dataclass(frozen=True)
class Shape:
    """What the U-Net looks like, and what it can be asked for.

    Attributes:
        channels: of its two levels, each a multiple of ``groups``.
        layers: residual blocks per level.
        names: artists, :data:`NOBODY` and :data:`MIMICKED` among them.
        words: the vocabulary.
        latents: channels of the latents.
        side: positions of the latents along one side.
        groups: of the normalisation.
    """

    channels: tuple[int, ...]
    layers: int
    names: tuple[str, ...]
    words: tuple[str, ...]
    latents: int = 32
    side: int = 16
    groups: int = 8


@dataclass(frozen=True)
class Prompt:
    """An artist's name and the words for what to draw."""

    name: str
    words: tuple[str, ...] = ()


class Generator(nn.Module):
    """The U-Net, its prompts, and the latents' mean and spread per channel."""

    mean: Tensor
    spread: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = 4 * shape.channels[0]
        self.names = nn.Embedding(len(shape.names), width)
        self.words = nn.EmbeddingBag(len(shape.words) + 1, width, mode="mean", padding_idx=0)
        for table in (self.names, self.words):
            nn.init.normal_(table.weight, std=0.3)
        with torch.no_grad():
            self.words.weight[0].zero_()
        self.unet = UNet2DModel(
            sample_size=shape.side,
            in_channels=shape.latents,
            out_channels=shape.latents,
            layers_per_block=shape.layers,
            block_out_channels=shape.channels,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=shape.groups,
            attention_head_dim=shape.channels[-1] // 4,
            class_embed_type="identity",
        )
        self.register_buffer("mean", torch.zeros(1, shape.latents, 1, 1))
        self.register_buffer("spread", torch.ones(1, shape.latents, 1, 1))
        self.to(memory_format=torch.channels_last)

    def normalised(self, latents: Tensor) -> Tensor:
        """Φ's latents to the U-Net's."""
        return (latents - self.mean) / self.spread

    def restored(self, latents: Tensor) -> Tensor:
        """The U-Net's latents to D's."""
        return latents * self.spread + self.mean

    def embedded(self, prompts: Sequence[Prompt]) -> Tensor:
        """(B, D).  Words outside the vocabulary are passed over."""
        place = {word: i + 1 for i, word in enumerate(self.shape.words)}
        rows = [[place[w] for w in prompt.words if w in place] for prompt in prompts]
        longest = max(1, *(len(row) for row in rows)) if rows else 1
        words = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        names = torch.tensor([self.shape.names.index(prompt.name) for prompt in prompts])
        embedded: Tensor = self.names(names) + self.words(words)
        return embedded

    def forward(self, noisy: Tensor, times: Tensor, prompts: Tensor) -> Tensor:
        """v of normalised latents (B, 32, 16, 16) at times (B,) from 0 to 999."""
        said: Tensor = self.unet(noisy, times, class_labels=prompts).sample
        return said


def schedule() -> Any:
    """The noise of both training and drawing; the last time is pure noise."""
    return DDIMScheduler(
        num_train_timesteps=TIMES,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def loss_of(
    generator: Generator, latents: Tensor, prompts: Sequence[Prompt], random: torch.Generator
) -> Tensor:
    """The mean squared error of v for one batch of normalised latents."""
    noise = torch.randn(latents.shape, generator=random)
    times = torch.randint(0, TIMES, (len(latents),), generator=random)
    plan = schedule()
    noisy = plan.add_noise(latents, noise, times)
    wanted = plan.get_velocity(latents, noise, times)
    said = generator(noisy, times, generator.embedded(prompts))
    return nn.functional.mse_loss(said, wanted)


@torch.no_grad()
def draw(
    generator: Generator,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    guidance: float = 2.0,
    steps: int = 25,
    layouts: Tensor | None = None,
    strength: float = 0.7,
) -> Tensor:
    """Latents for D (B, 32, 16, 16), by DDIM.

    Args:
        seeds: one a picture; each picture's noise depends on its own seed alone.
        guidance: of classifier-free guidance; 1 for none.
        layouts: latents of Φ to start from (img2img), instead of noise.
        strength: share of the noise's times that a layout goes back by.
    """
    plan = schedule()
    plan.set_timesteps(steps)
    size = (generator.shape.latents, generator.shape.side, generator.shape.side)
    noise = torch.stack(
        [torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    times, latents = plan.timesteps, noise
    if layouts is not None:
        times = times[round((1 - strength) * steps) :]
        latents = plan.add_noise(generator.normalised(layouts), noise, times[:1])
    asked = generator.embedded(prompts)
    nothing = generator.embedded([Prompt(NOBODY)] * len(prompts))
    for time in times:
        said = generator(latents, time.expand(len(latents)), asked)
        if guidance != 1:
            without = generator(latents, time.expand(len(latents)), nothing)
            said = without + guidance * (said - without)
        latents = plan.step(said, time, latents).prev_sample
    return generator.restored(latents)


def save_generator(generator: Generator, path: Path, record: dict[str, Any]) -> None:
    """Write float16 weights, the shape, and what is known of the training."""
    metadata = {
        "format": _FORMAT,
        "shape": json.dumps(asdict(generator.shape)),
        "record": json.dumps(record),
    }
    halved = {k: w.detach().half().contiguous() for k, w in generator.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(halved, temporary, metadata)


def load_generator(path: Path) -> tuple[Generator, dict[str, Any]]:
    """Read what :func:`save_generator` wrote, in float32, and its record.

    Raises:
        ValueError: the file is no generator of this kind.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"Expected a real-art generator, but {path.name} is another file.")
        fields = json.loads(metadata["shape"])
        for key in ("channels", "names", "words"):
            fields[key] = tuple(fields[key])
        generator = Generator(Shape(**fields))
        weights = {name: file.get_tensor(name).float() for name in generator.state_dict()}
        generator.load_state_dict(weights)
    generator.to(memory_format=torch.channels_last)
    return generator, json.loads(metadata["record"])
