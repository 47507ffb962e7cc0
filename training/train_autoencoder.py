"""Train the embedded image encoder: a small ``diffusers.AutoencoderTiny`` for artwork.

    python training/train_autoencoder.py --data training/data --run training/run --minutes 90

It reads what ``collect_artwork.py`` wrote. The learning rate reaches zero at the time limit. If the
command is given again, it goes on from the checkpoint in ``--run``. It exports the averaged
weights.

The network is trained in an equivalent but cheaper layout. ``AutoencoderTiny`` begins with two
convolutions at full resolution that have no activation in between, and ends with two more, so each
pair is one linear map. Here the first pair is one 5 x 5 convolution with stride 2, and the last
pair is one 5 x 5 kernel applied at half resolution. ``TrainingLayout.standard`` converts them back
exactly.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import queue
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from calibration import LOST, one_step, smooth_colour_
from diffusers import AutoencoderTiny
from measure_autoencoder import held_out, psnr
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

VERSION = "embedded-1"


class TrainingLayout(nn.Module):
    """An ``AutoencoderTiny`` whose linear full-resolution pairs are merged for speed."""

    to_half: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        """Build from a diffusers configuration without blocks at full resolution."""
        super().__init__()
        self.config = config
        model = AutoencoderTiny.from_config(config)
        encoder, decoder = model.encoder.layers, model.decoder.layers
        width = encoder[0].out_channels
        if config["num_encoder_blocks"][0] or config["num_decoder_blocks"][-1]:
            raise ValueError("blocks at full resolution are not supported")
        self.stem = nn.Conv2d(3, width, 5, stride=2, padding=2)
        self.encoder = encoder[2:]
        self.decoder = decoder[:-3]
        self.tail = nn.Conv2d(width, 3, 5, padding=2)
        # nearest-neighbour doubling and a 5-tap kernel, as 3 taps for even and for odd pixels
        rows = [[[(p + u) // 2 == a for u in range(5)] for a in range(3)] for p in range(2)]
        self.register_buffer("to_half", torch.tensor(rows, dtype=torch.float32), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation; each residual branch starts small, so that depth does not hurt."""
        for layers in (self.encoder, self.decoder):
            for name, module in layers.named_modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    module.weight.data *= 0.2 if name.endswith("conv.4") else 0.7
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        nn.init.constant_(self.tail.bias, 0.5)  # type: ignore[arg-type]
        self.tail.weight.data *= 0.5

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents of pixels in [0, 1]."""
        latents: Tensor = self.encoder(self.stem(pixels))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (not clamped) of latents."""
        features = self.decoder(torch.tanh(latents / 3) * 3)
        kernel = torch.einsum("ocuv,pau,qbv->opqcab", self.tail.weight, self.to_half, self.to_half)
        bias = cast(Tensor, self.tail.bias).repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(features, kernel.flatten(0, 2), bias, padding=1), 2)

    @torch.no_grad()
    def standard(self) -> AutoencoderTiny:
        """The same function as a plain ``AutoencoderTiny``."""
        model = AutoencoderTiny.from_config(self.config)
        model.encoder.layers[2:].load_state_dict(self.encoder.state_dict())
        model.decoder.layers[:-3].load_state_dict(self.decoder.state_dict())
        first, second = model.encoder.layers[0], model.encoder.layers[1]
        doubled, last = model.decoder.layers[-2], model.decoder.layers[-1]
        for layer in (first, second, doubled, last):
            layer.weight.zero_()
        first.bias.zero_()
        # A 5-tap offset u is split into two 3-tap offsets: u = s + t with t = u unless |u| = 2.
        for row in range(-2, 3):
            for column in range(-2, 3):
                outer = [int(math.copysign(1, u)) if abs(u) == 2 else 0 for u in (row, column)]
                inner = (row - outer[0] + 1, column - outer[1] + 1)
                shift = (outer[0] + 1, outer[1] + 1)
                group = 3 * (3 * shift[0] + shift[1])
                channels, (i, j), (k, m) = slice(group, group + 3), shift, inner
                first.weight[channels, :, i, j] = last.weight[:, channels, i, j] = torch.eye(3)
                second.weight[:, channels, k, m] = self.stem.weight[:, :, row + 2, column + 2]
                doubled.weight[channels, :, k, m] = self.tail.weight[:, :, row + 2, column + 2]
        first.bias[27] = 1  # a constant channel carries the stem's bias
        second.weight[:, 27, 1, 1] = self.stem.bias
        last.bias.copy_(self.tail.bias)
        return model


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each convolution is made orthogonal (Jordan et al., 2024)."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        """Take convolution weights; those of one shape are treated together."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Apply one update."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                shapes.setdefault(parameter.shape, []).append(parameter)
            for parameters in shapes.values():
                updates = []
                for parameter in parameters:
                    gradient, state = parameter.grad, self.state[parameter]
                    assert gradient is not None
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    state["momentum"].lerp_(gradient, 1 - group["momentum"])
                    update = gradient.lerp(state["momentum"], group["momentum"])
                    updates.append(update.flatten(1))
                matrices = torch.stack(updates)
                scale = 0.2 * math.sqrt(max(matrices.shape[1:]))
                for parameter, update in zip(parameters, orthogonal(matrices), strict=True):
                    parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * scale)


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrices, on their short side."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x: Tensor = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = torch.bmm(x, x.mT.contiguous())
    product = eye = torch.eye(gram.shape[1], device=x.device).expand_as(gram)
    for _ in range(rounds):
        factor = 3.4445 * eye - 4.7750 * gram + 2.0315 * torch.bmm(gram, gram)
        product, gram = torch.bmm(factor, product), torch.bmm(torch.bmm(factor, gram), factor)
    x = torch.bmm(product, x)
    return x if wide else x.mT.contiguous()


class Crops:
    """Random crops of the training pictures, from one file of raw pixels without decoding."""

    def __init__(self, data: Path, size: int, batch: int, seed: int) -> None:
        """Pack the pictures once, then fill a queue of batches from a thread."""
        packed, index = data / "train.u8", data / "train.json"
        if not index.exists():
            shapes = []
            with packed.open("wb") as file:
                for path in sorted((data / "train").glob("*.png")):
                    pixels = np.asarray(Image.open(path).convert("RGB"))
                    file.write(pixels.tobytes())
                    shapes.append(pixels.shape[:2])
            index.write_text(json.dumps(shapes))
        self.shapes: list[tuple[int, int]] = json.loads(index.read_text())
        self.pixels = np.memmap(packed, dtype=np.uint8, mode="r")
        self.starts = np.concatenate([[0], np.cumsum([3 * h * w for h, w in self.shapes])])
        self.size, self.batch, self.random = size, batch, np.random.default_rng(seed)
        self.queue: queue.Queue[Tensor] = queue.Queue(8)
        threading.Thread(target=self._fill, daemon=True).start()

    def _crop(self) -> np.ndarray:
        """One crop, flipped at random; nearly empty ones are mostly passed over."""
        size, random = self.size, self.random
        while True:
            i = int(random.integers(len(self.shapes)))
            height, width = self.shapes[i]
            picture = self.pixels[self.starts[i] : self.starts[i + 1]].reshape(height, width, 3)
            top, left = random.integers(height - size + 1), random.integers(width - size + 1)
            crop = picture[top : top + size, left : left + size]
            if random.random() < 0.15 or crop[::4, ::4].std() > 4:
                break
        crop = crop[:, :: int(random.choice((1, -1)))]
        return crop.swapaxes(0, 1) if random.random() < 0.25 else crop

    def _fill(self) -> None:
        while True:
            batch = np.stack([self._crop() for _ in range(self.batch)])
            self.queue.put(torch.from_numpy(batch))

    def next(self, device: torch.device) -> Tensor:
        """A batch of pixels in [0, 1]."""
        batch = self.queue.get().to(device).permute(0, 3, 1, 2)  # stays channels-last in memory
        return batch.float() / 255


def moment_penalty(latents: Tensor) -> Tensor:
    """How far the latents are from zero mean, one variance and no correlation of channels.

    The variance is 1.6: crops are busier than whole pictures, whose variance is then nearer one.
    """
    flat = latents.permute(1, 0, 2, 3).flatten(1)
    wanted = 1.6 * torch.eye(len(flat), device=flat.device)
    return flat.mean(1).square().mean() + (torch.cov(flat) - wanted).square().sum(0).mean()


@torch.no_grad()
def held_out_psnr(layout: TrainingLayout, pictures: list[Tensor], device: torch.device) -> float:
    """Mean PSNR of the reconstructions, in dB."""
    values = []
    for picture in pictures:
        pixels = picture.to(device).contiguous(memory_format=torch.channels_last)
        values.append(psnr(layout.decode(layout.encode(pixels)).clamp(0, 1), pixels))
    return sum(values) / len(values)


def export(layout: TrainingLayout, folder: Path) -> None:
    """Write fp16 weights and the diffusers configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    model = layout.standard()
    tensors = {k: v.half().contiguous().cpu() for k, v in model.state_dict().items()}
    save_file(tensors, folder / f"{VERSION}.safetensors", metadata={"version": VERSION})
    (folder / f"{VERSION}.safetensors").chmod(0o644)
    unused = ("_use_default_values", "block_out_channels")
    config = {"_class_name": type(model).__name__}
    config |= {k: v for k, v in model.config.items() if k not in unused}
    (folder / f"{VERSION}.json").write_text(json.dumps(config, indent=2) + "\n")


def replicate(layout: TrainingLayout, count: int) -> list[TrainingLayout]:
    """Copies that share the parameters' memory and have gradients of their own."""
    replicas = [copy.deepcopy(layout) for _ in range(count)]
    for replica in replicas:
        for own, shared in zip(replica.parameters(), layout.parameters(), strict=True):
            own.data = shared.data
    return replicas


def work(layout: TrainingLayout, pixels: Tensor, options: argparse.Namespace) -> Tensor:
    """One forward and backward pass; PSNR, moment penalty, shift and loss of it of the crops.

    The loss is the mean over crops of the logarithm of the squared error, which is the PSNR.
    """
    if options.workers > 1:
        torch.set_num_threads(1)  # of this thread
    count = len(pixels) // 2
    left, lost, latents = one_step(
        layout.encode, pixels[:count].requires_grad_(True), pixels[count:]
    )
    amount = options.noise * torch.rand(len(latents), 1, 1, 1, device=pixels.device)
    decoded = layout.decode(latents + amount * torch.randn_like(latents))
    error = (decoded - pixels).square().mean(dim=(1, 2, 3))
    moments = moment_penalty(latents)
    loss = torch.log(error + options.floor).mean() + options.moments * moments
    loss = loss + options.pliancy * torch.log(left).mean()
    (loss + options.steadiness * torch.log(lost.clamp_min(LOST)).mean()).backward()
    quality = -10 * torch.log10(error.detach() + 1e-6).mean()
    rest = (moments.detach(), 1 - left.detach().mean(), lost.detach().mean())
    return torch.stack([quality, *rest]).cpu()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--run", type=Path, default=Path("training/run"))
    parser.add_argument("--export", type=Path, help="default: the run's folder")
    parser.add_argument("--minutes", type=float, default=90, help="time limit, over all restarts")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--latents", type=int, default=16)
    parser.add_argument("--encoder-blocks", type=int, nargs=4, default=(0, 1, 4, 6))
    parser.add_argument("--decoder-blocks", type=int, nargs=4, default=(6, 4, 1, 0))
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--batch", type=int, default=10, help="crops per worker thread")
    parser.add_argument("--workers", type=int, default=1 if torch.cuda.is_available() else 2)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--noise", type=float, default=0.08, help="largest noise on the latents")
    parser.add_argument("--moments", type=float, default=0.5, help="weight of the moment penalty")
    parser.add_argument("--pliancy", type=float, default=1.0, help="weight of the one-step shift")
    parser.add_argument("--steadiness", type=float, default=0.3, help="weight of the shift lost")
    parser.add_argument(
        "--smooth-colour", action="store_true", help="blur what the stem sees of it"
    )
    parser.add_argument("--floor", type=float, default=3e-4, help="error below which gain is small")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--evaluate-minutes", type=float, default=5)
    parser.add_argument("--export-only", action="store_true", help="of the checkpoint, then stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def configuration(options: argparse.Namespace) -> dict[str, Any]:
    """The diffusers configuration of the command line's network."""
    widths = (options.width,) * 4
    return {
        "latent_channels": options.latents,
        "encoder_block_out_channels": widths,
        "decoder_block_out_channels": widths,
        "num_encoder_blocks": tuple(options.encoder_blocks),
        "num_decoder_blocks": tuple(options.decoder_blocks),
    }


def optimizers(layout: TrainingLayout, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions inside, Adam for everything else."""
    square = (options.width, options.width)
    inside = [p for p in layout.parameters() if p.shape[:2] == square]
    rest = [p for p in layout.parameters() if all(p is not other for other in inside)]
    adam = torch.optim.AdamW(rest, lr=options.lr, betas=(0.9, 0.98), weight_decay=1e-4)
    return [Muon(inside, options.lr), adam]


def train(options: argparse.Namespace) -> None:
    """Train until the time limit, then export."""
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    device = torch.device(options.device)
    layout = TrainingLayout(configuration(options)).to(device)
    layout = layout.to(memory_format=torch.channels_last)
    average = copy.deepcopy(layout).requires_grad_(False)
    steps_taken, spent, optimisers = 0, 0.0, optimizers(layout, options)
    checkpoint = options.run / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        layout.load_state_dict(saved["layout"])
        average.load_state_dict(saved["average"])
        for optimiser, state in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        steps_taken, spent = saved["steps"], saved["seconds"]
    if options.export_only:
        return export(average, options.export or options.run)
    crops = Crops(options.data, options.crop, options.batch, options.seed + steps_taken)
    if not steps_taken:
        with torch.no_grad():  # latents begin with unit variance
            first = layout.encode(crops.next(device))
            layout.encoder[-1].weight.div_(first.std(dim=(0, 2, 3)).view(-1, 1, 1, 1))
    if options.smooth_colour:
        for each in (layout, average):
            smooth_colour_(each.stem.weight)
    pictures = [p.pixels for p in held_out(options.data)[::6]]
    options.run.mkdir(parents=True, exist_ok=True)
    limit, started, evaluated = options.minutes * 60, time.monotonic(), spent
    running: list[Tensor] = []
    replicas, pool = replicate(layout, options.workers), ThreadPoolExecutor(options.workers)
    while True:
        seconds = spent + time.monotonic() - started
        finished = seconds >= limit
        if finished or seconds - evaluated >= options.evaluate_minutes * 60:
            evaluated, quality = seconds, held_out_psnr(average, pictures, device)
            if not math.isfinite(quality):
                raise FloatingPointError("training has diverged; the last checkpoint is kept")
            recent = torch.stack(running).mean(0).tolist() if running else [0.0] * 4
            print(
                f"{seconds / 60:6.1f} min  step {steps_taken:6d}  held-out {quality:.2f} dB",
                "crops {:.2f} dB  moments {:.3f}  shift {:.3f}  lost {:.3f}".format(*recent),
                flush=True,
            )
            running = []
            saving: dict[str, Any] = {"layout": layout.state_dict()}
            saving["average"] = average.state_dict()
            saving["optimisers"] = [o.state_dict() for o in optimisers]
            temporary = checkpoint.with_suffix(".tmp")
            torch.save({**saving, "steps": steps_taken, "seconds": seconds}, temporary)
            temporary.replace(checkpoint)
        if finished:
            return export(average, options.export or options.run)
        rate = min(1, (steps_taken + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * seconds / limit))
        for group in [group for o in optimisers for group in o.param_groups]:
            group["lr"] = options.lr * rate
        batches = [crops.next(device) for _ in replicas]
        measures = list(pool.map(partial(work, options=options), replicas, batches))
        for parameter, *copies in zip(*(r.parameters() for r in (layout, *replicas)), strict=True):
            parameter.grad = torch.stack([c.grad for c in copies]).mean(0)
            for one in copies:
                one.grad = None
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        steps_taken += 1
        decay = min(options.ema, steps_taken / (steps_taken + 20))
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), layout.parameters(), strict=True):
                mean.lerp_(parameter, 1 - decay)
        running.append(torch.stack(measures).mean(0))


if __name__ == "__main__":
    train(parse())
