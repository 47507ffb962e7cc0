"""A trial: cloaks that are led through a mimic which has learned the works already.

    python -m training.real_art.bilevel --autoencoder taef2.safetensors --artists denslow greenaway

``error, alternating``: the mimic's errors are led away, then the mimic learns the cloaked works,
and its errors are led away again (ASPL; Van Le et al., ICCV 2023).  ``gradients``: what a step of
the mimic's training would change is led towards what the styled works would teach it, or beyond
(gradient matching; Geiping et al., ICLR 2021).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from comfy_glaze.cloaking.effect import structure_changed
from comfy_glaze.cloaking.quality import measure_quality

from . import objectives
from .cloaks import Cloaker, Kind, target_of
from .generator import MIMICKED, NOBODY, Generator, Prompt, schedule
from .loaders import uploaded
from .mimic import Tuning, drawn, fine_tuned, latents_of, measured
from .objectives import Networks
from .pictures import load_square, words_of
from .screen import Screening, open_screening
from .split import held_out, layouts, mimic_works
from .world import arguments

STEPS = 150
TIMES = (150, 400, 650)


def _gradients(networks: Networks, pictures: Tensor) -> Tensor:
    """What a step of training on pictures (1, 3, H, W) would change in the last layers."""
    generator, plan = networks.generator, schedule()
    assert generator is not None
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        latents = generator.normalised(networks.autoencoder.encode(pictures).float())
        asked = generator.embedded([Prompt(MIMICKED)] * len(latents)).detach()
        weights = [p for n, p in generator.unet.named_parameters() if n.startswith("up_blocks")]
        loss = latents.new_zeros(())
        for time in TIMES:
            random = torch.Generator().manual_seed(time)
            noise = torch.randn(latents.shape, generator=random)
            times = torch.full((len(latents),), time)
            said = generator(plan.add_noise(latents, noise, times), times, asked)
            loss = loss + (said - plan.get_velocity(latents, noise, times)).square().mean()
        wants = latents.requires_grad
        found = torch.autograd.grad(loss, weights, create_graph=wants)
    return torch.cat([part.flatten() for part in found])[None]


def cloaks_of(screening: Screening, mimic: Generator, kind: Kind, works: Sequence) -> list[Tensor]:
    cloaker = replace(
        screening.cloaker, networks=Networks(screening.autoencoder, mimic)
    )
    shown = []
    for piece in works:
        original = load_square(piece.path)
        styled = cloaker.redraw(original, target_of(piece.hand)).clamp(0, 1)
        shown.append(cloaker._led(original, styled, kind))
    return shown


def main() -> None:
    parser = arguments("Cloaks led through a mimic.")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--artists", nargs="+", required=True)
    parser.add_argument("--budget", default="default")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("gradients",):
        plain = _gradients
        objectives.FEATURES = {**objectives.FEATURES, "sent gradients": objectives._as_sent(plain)}
    screening = open_screening(options.folder, options.autoencoder, Tuning(), 0)
    for artist in options.artists:
        works, unseen = (f(screening.pieces, artist, 0) for f in (mimic_works, held_out))
        originals = [load_square(piece.path) for piece in works]
        titles = [piece.title for piece in works for _ in range(2)]

        def learned(shown: Sequence[Tensor], tuning: Tuning) -> tuple[Generator, Tensor]:
            sent = [uploaded(picture, 85) for picture in shown]
            latents = latents_of(sent, screening.autoencoder, "area", 0)
            return fine_tuned(screening.generator, latents, titles, tuning)[0], latents

        first, _ = learned(originals, Tuning(steps=STEPS, seed=7))
        for name in ("towards gradients", "beyond gradients", "error, alternating"):
            lead = name.split(" ")[0] if "gradients" in name else "away"
            features = "sent gradients" if "gradients" in name else "sent error"
            kind = Kind(features, options.budget, lead)
            shown = cloaks_of(screening, first, kind, works)
            if "alternating" in name:
                second, _ = learned(shown, Tuning(steps=STEPS, seed=8))
                shown = cloaks_of(screening, second, kind, works)
            mimic, latents = learned(shown, Tuning())
            pictures = drawn(
                mimic,
                screening.autoencoder,
                [piece.title for piece in unseen],
                layouts(screening.pieces, screening.generator.shape.names, 24),
                screening.drawing,
                0,
            )
            others = [load_square(piece.path) for piece in unseen]
            found = measured(pictures, screening.judges, artist, originals, others)
            clean = latents_of([uploaded(p, 85) for p in originals], screening.autoencoder, "area", 0)
            quality = [measure_quality(a, b) for a, b in zip(originals, shown, strict=True)]
            line = {
                "artist": artist,
                "kind": f"{name}/{options.budget}",
                "ssimulacra2": sum(q.ssimulacra2 for q in quality) / len(quality),
                "covered": float(structure_changed(clean, latents).mean()),
                "shares": {
                    way: {sight: found[way][sight]["share"] for sight in ("colour", "grey")}
                    for way in ("prompts", "layouts")
                },
            }
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
