"""Train the generator of the world on real art.

    python -m training.real_art.train_generator --autoencoder taef2.safetensors --minutes 60

It learns the hands that no mimic of it copies, from random crops and reflections of their squares.
Every ten minutes ``generator-run.pt`` (all of the state) and ``generator.safetensors`` (the running
mean of the weights in float16, a few MB) are written.  Given again, the command goes on from the
first; on another machine, where there is only the second, it goes on from that with a fresh
optimiser.  One thread is used unless OMP_NUM_THREADS says more.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from comfy_glaze.files.atomic import atomic_write

from .autoencoder import Autoencoder, load_autoencoder, quick
from .generator import (
    MIMICKED,
    NOBODY,
    Generator,
    Prompt,
    Shape,
    load_generator,
    loss_of,
    save_generator,
)
from .loaders import area
from .pictures import Piece, load_square, read_pieces, vocabulary, words_of
from .world import JUDGED, LEFT_OUT, TRAINED, arguments
from .world import MIMICKED as ARTISTS

CHANNELS, LAYERS = (56, 88), 1
BATCH, RATE, WARM_UP, DECAY = 16, 4e-4, 200, 0.999
DROPPED = 0.12  # share of prompts that lose the name, and as many their words
SMALLEST_CROP = 0.65  # of a square's side
EVERY_SECONDS = 600.0


def learned_pieces(folder: Path, without: Sequence[str]) -> list[Piece]:
    """All works but those by the artists without whom it learns."""
    left_out = {*without, *(hand for name in without for hand in LEFT_OUT.get(name, ()))}
    return [piece for piece in read_pieces(folder) if piece.hand not in left_out]


def crop_of(piece: Piece, number: int, turn: int) -> Tensor:
    """A work as training sees it in one turn: (1, 3, 128, 128); turn 0 is all of it."""
    square = load_square(piece.path)
    if turn == 0:
        return area(square, TRAINED)
    order = random.Random(f"{number}/{turn}")
    side = round(square.shape[-1] * order.uniform(SMALLEST_CROP, 1))
    top, left = (order.randint(0, square.shape[-1] - side) for _ in range(2))
    cut = square[..., top : top + side, left : left + side]
    return area(cut.flip(-1) if order.random() < 0.5 else cut, TRAINED)


class Shelf:
    """Latents of one crop of each work; each step puts a new crop in the place of the oldest.

    What it holds after a step depends on the step's number alone.
    """

    def __init__(self, pieces: Sequence[Piece], autoencoder: Autoencoder, step: int = 0) -> None:
        self.pieces, self.autoencoder = pieces, autoencoder
        turns = [(step + len(pieces) - 1 - i) // len(pieces) for i in range(len(pieces))]
        self.latents = torch.cat([self._encoded(i, turn) for i, turn in enumerate(turns)])

    def _encoded(self, number: int, turn: int) -> Tensor:
        with torch.no_grad(), quick():
            crop = crop_of(self.pieces[number], number, turn)
            return self.autoencoder.encode(crop).float().contiguous()

    def refresh(self, step: int) -> None:
        """Take the crop of a step, from 1."""
        number, turn = (step - 1) % len(self.pieces), (step - 1) // len(self.pieces) + 1
        self.latents[number] = self._encoded(number, turn)[0]


def prompts_for(pieces: Sequence[Piece], order: random.Random) -> list[Prompt]:
    """Name and words of works, some of them left away."""
    prompts = []
    for piece in pieces:
        name = NOBODY if order.random() < DROPPED else piece.hand
        words = () if order.random() < DROPPED else tuple(words_of(piece.title))
        prompts.append(Prompt(name, () if name == NOBODY else words))
    return prompts


class Run:
    """A training's state and where it is kept."""

    def __init__(self, folder: Path, generator: Generator, step: int) -> None:
        self.folder, self.generator, self.step = folder, generator, step
        self.fresh = step  # the step before which the optimiser knew nothing
        self.adam = torch.optim.AdamW(generator.parameters(), lr=RATE, weight_decay=1e-2)
        self.mean = [p.detach().clone() for p in generator.parameters()]
        self.state = folder / "generator-run.pt"
        if self.state.is_file():
            saved = torch.load(self.state, weights_only=True)
            self.step, self.fresh = saved["step"], saved["fresh"]
            generator.load_state_dict(saved["generator"])
            self.adam.load_state_dict(saved["adam"])
            self.mean = saved["mean"]

    def learn(self, shelf: Shelf) -> float:
        """One step; its loss."""
        self.step += 1
        shelf.refresh(self.step)
        order = random.Random(self.step)
        noise = torch.Generator().manual_seed(self.step)
        chosen = torch.randint(0, len(shelf.pieces), (BATCH,), generator=noise)
        latents = self.generator.normalised(shelf.latents[chosen])
        prompts = prompts_for([shelf.pieces[i] for i in chosen.tolist()], order)
        for group in self.adam.param_groups:
            group["lr"] = RATE * min(1.0, (self.step - self.fresh) / WARM_UP)
        loss = loss_of(self.generator, latents, prompts, noise)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        self.adam.step()
        decay = min(DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, weight in zip(self.mean, self.generator.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
        return float(loss.detach())

    def keep(self) -> None:
        """Write the whole state, and the running mean as the generator."""
        with atomic_write(self.state) as temporary:
            torch.save(
                {
                    "step": self.step,
                    "fresh": self.fresh,
                    "generator": self.generator.state_dict(),
                    "adam": self.adam.state_dict(),
                    "mean": self.mean,
                },
                temporary,
            )
        own = [p.detach().clone() for p in self.generator.parameters()]
        with torch.no_grad():
            for weight, mean in zip(self.generator.parameters(), self.mean, strict=True):
                weight.copy_(mean)
            save_generator(self.generator, self.folder / "generator.safetensors", self.record())
            for weight, kept in zip(self.generator.parameters(), own, strict=True):
                weight.copy_(kept)

    def record(self) -> dict[str, float]:
        """What a table must say about the training."""
        return {"step": self.step, "batch": BATCH, "rate": RATE, "decay": DECAY}


def begin(folder: Path, pieces: Sequence[Piece], shelf: Shelf) -> Run:
    """A new training, or the one that stopped here."""
    kept = folder / "generator.safetensors"
    if kept.is_file():
        generator, record = load_generator(kept)
        return Run(folder, generator, int(record["step"]))
    torch.manual_seed(0)
    names = (NOBODY, MIMICKED, *dict.fromkeys(piece.hand for piece in pieces))
    generator = Generator(Shape(CHANNELS, LAYERS, names, tuple(vocabulary(pieces))))
    generator.mean.copy_(shelf.latents.mean(dim=(0, 2, 3)).view(1, -1, 1, 1))
    generator.spread.copy_(shelf.latents.std(dim=(0, 2, 3)).view(1, -1, 1, 1))
    return Run(folder, generator, 0)


def step_reached(folder: Path) -> int:
    """Where the training in a folder stands."""
    if (folder / "generator-run.pt").is_file():
        return int(torch.load(folder / "generator-run.pt", weights_only=True)["step"])
    kept = folder / "generator.safetensors"
    return int(load_generator(kept)[1]["step"]) if kept.is_file() else 0


def main() -> None:
    """Train until the time or the steps are over."""
    parser = arguments("Train the generator of the world on real art.")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument(
        "--without", nargs="+", choices=JUDGED, default=ARTISTS, help="whom its mimics copy"
    )
    options = parser.parse_args()
    folder: Path = options.folder
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * options.minutes
    pieces = learned_pieces(folder, options.without)
    shelf = Shelf(pieces, load_autoencoder(options.autoencoder), step_reached(folder))
    run = begin(folder, pieces, shelf)
    count = sum(p.numel() for p in run.generator.parameters())
    print(
        f"{len(pieces)} works, {len(run.generator.shape.words)} words, {count:,} weights",
        flush=True,
    )
    kept, losses = time.monotonic(), []
    while run.step < options.steps and time.monotonic() < until:
        losses.append(run.learn(shelf))
        if run.step % 100 == 0:
            line = {"step": run.step, "loss": round(sum(losses) / len(losses), 4)}
            line["minutes_left"] = round((until - time.monotonic()) / 60, 1)
            print(json.dumps(line), flush=True)
            losses.clear()
        if time.monotonic() - kept > EVERY_SECONDS:
            run.keep()
            kept = time.monotonic()
    run.keep()


if __name__ == "__main__":
    main()
