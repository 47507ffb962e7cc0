"""The mimic: a text-to-image model fine-tuned on an artist's works (Glaze, §6.1).

Everything random in a step depends on the seed and the step's number alone, so that a run which was
interrupted and taken up again is the same run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..devices import computing_in, fast_dtype
from ..files.atomic import atomic_write, write_json
from ..networks.captions import Work, works_as_json
from ..networks.encoders import fingerprint_of
from ..optional import PackageError, import_optional
from .generation import Generation, generate
from .generators import denoiser_of, is_flow, predict
from .noising import noising_of
from .training_data import Shelf, seed_of


@dataclass(frozen=True)
class FineTuning:
    """How the mimic trains.

    Attributes:
        method: a key of :data:`METHODS`.
        steps: optimiser steps; 0 for a mimic that only prompts with the artist's name.
        batch: pictures per step.
        at_once: pictures per pass through the denoiser; it bounds the memory and changes nothing.
        learning_rate: of AdamW, after ``warm_up`` steps of linear rise.
        resolution: pixels; pictures are scaled to this short side and cut to the middle square.
        seed: decides everything random.
        rank: of the LoRA matrices.
        prior_pictures: how many pictures of no artist DreamBooth keeps in mind.
        caption_dropout: share of captions replaced by the empty one.
        average: decay of a running mean of the weights, which is then what is saved; 0 for none.
    """

    method: str = "full"
    steps: int = 3000
    batch: int = 32
    at_once: int = 8
    learning_rate: float = 5e-6
    warm_up: int = 0
    resolution: int = 512
    seed: int = 0
    rank: int = 16
    prior_pictures: int = 100
    caption_dropout: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"Expected a fine-tuning method among {', '.join(METHODS)}, but got {self.method}."
            )
        if self.steps < 0 or min(self.batch, self.at_once, self.resolution, self.rank) < 1:
            raise ValueError(
                "Expected steps of 0 or more, and batch, at_once, resolution and rank of 1 or "
                f"more, but got {self}."
            )


PRIOR_PROMPT = "a painting"
"""What DreamBooth's pictures of no artist show; with "by" and the name, what its works show."""

_EVERY_SECONDS = 180.0  # between checkpoints
_LARGE = 512  # px, above which layers are computed twice in place of being kept in memory


# --- the methods ---------------------------------------------------------------------------------


def _all_of(pipeline: Any, settings: FineTuning) -> None:
    if is_flow(pipeline):
        raise ValueError(f"FLUX.1 is fine-tuned with the method lora, but got {settings.method}.")
    pipeline.unet.requires_grad_(True)


def _add_lora(pipeline: Any, settings: FineTuning) -> None:
    try:
        peft = import_optional("peft", "peft", '"comfy-glaze[lab]"')
    except PackageError as error:
        raise ValueError(f"LoRA needs {error}.") from error
    denoiser = denoiser_of(pipeline)
    denoiser.add_adapter(
        peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.rank,
            init_lora_weights="gaussian",
            target_modules=["to_q", "to_k", "to_v", "to_out.0"],
        )
    )
    for weight in denoiser.parameters():
        if weight.requires_grad:  # half precision is too coarse for small steps
            weight.data = weight.data.float()


def _save_unet(pipeline: Any, folder: Path) -> None:
    pipeline.unet.save_pretrained(folder / "unet")


def _save_lora(pipeline: Any, folder: Path) -> None:
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = get_peft_model_state_dict(denoiser_of(pipeline))
    if is_flow(pipeline):
        pipeline.save_lora_weights(folder, transformer_lora_layers=layers)
    else:
        layers = convert_state_dict_to_diffusers(layers)
        pipeline.save_lora_weights(folder, unet_lora_layers=layers)


def _load_unet(pipeline: Any, folder: Path) -> None:
    tuned = type(pipeline.unet).from_pretrained(folder / "unet", use_safetensors=True)
    pipeline.unet.load_state_dict(tuned.state_dict())


def _load_lora(pipeline: Any, folder: Path) -> None:
    pipeline.load_lora_weights(folder)


@dataclass(frozen=True)
class Method:
    """A way to fine-tune.

    Attributes:
        prepare: makes the weights that learn ask for gradients, and no others.
        save, load: to and from a folder.
        weights: what ``save`` leaves there.
        prior: whether pictures of no artist are trained on beside the works, at equal weight, with
            one caption for all works (DreamBooth, Ruiz et al., 2023).
    """

    prepare: Callable[[Any, FineTuning], None]
    save: Callable[[Any, Path], None]
    load: Callable[[Any, Path], None]
    weights: str
    prior: bool = False


METHODS: dict[str, Method] = {
    "full": Method(_all_of, _save_unet, _load_unet, "unet"),
    "lora": Method(_add_lora, _save_lora, _load_lora, "pytorch_lora_weights.safetensors"),
    "dreambooth": Method(_all_of, _save_unet, _load_unet, "unet", prior=True),
}


def load_mimic(pipeline: Any, folder: Path) -> None:
    """Put what :func:`fine_tune` left in a folder into the pipeline that it started from."""
    method: str = json.loads((folder / "mimic.json").read_text("utf-8"))["settings"]["method"]
    METHODS[method].load(pipeline, folder)


# --- training ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingStep:
    """What the progress callback receives after each step."""

    step: int
    steps: int
    loss: float


def fine_tune(
    pipeline: Any,
    works: Sequence[Work],
    settings: FineTuning,
    folder: Path,
    on_step: Callable[[TrainingStep], None] | None = None,
    *,
    until: float | None = None,
) -> bool:
    """Teach a pipeline an artist's works; the text encoders and the VAE stay as they are.

    Args:
        pipeline: from :func:`comfy_glaze.evaluation.generators.load_generator`; its denoiser
            changes.
        works: pictures and captions.
        settings: method, steps, seed.
        folder: gets the weights, ``mimic.json`` (settings, hashes) and ``log.jsonl``.  If a run
            with the same settings stopped there before, it goes on; if one finished, it is loaded
            (and made again if its weights have been removed).
        on_step: called after each step; an exception it raises ends the training.
        until: a value of ``time.monotonic()`` after which the run stops at a checkpoint.

    Returns:
        Whether it finished.

    Raises:
        ValueError: the folder holds a run with other settings or works.
    """
    record: dict[str, Any] = {"settings": asdict(settings), "works": works_as_json(works)}
    if _is_finished(folder, record):
        load_mimic(pipeline, folder)
        return True
    folder.mkdir(parents=True, exist_ok=True)
    method = METHODS[settings.method]
    shelves = [Shelf.of(pipeline, works, settings.resolution)]
    if method.prior:
        named = [replace(work, caption=_dreambooth_caption(work)) for work in works]
        prior = [Work(path, PRIOR_PROMPT) for path in _prior_pictures(pipeline, settings, folder)]
        shelves = [
            Shelf.of(pipeline, named, settings.resolution),
            Shelf.of(pipeline, prior, settings.resolution),
        ]
    torch.manual_seed(settings.seed)  # LoRA's first matrices
    method.prepare(pipeline, settings)
    run = _Run(pipeline, settings, folder)
    if not run.train(shelves, on_step, until):
        return False
    method.save(pipeline, folder)
    learned = {str(i): tensor for i, tensor in enumerate(run.learned)}
    record["weights"] = fingerprint_of(learned)
    write_json(record, folder / "mimic.json")
    run.checkpoint.unlink(missing_ok=True)
    denoiser_of(pipeline).requires_grad_(False)
    return True


def _is_finished(folder: Path, record: dict[str, Any]) -> bool:
    try:
        found = json.loads((folder / "mimic.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    if any(found.get(key) != value for key, value in record.items()):
        raise ValueError(f"{folder} holds a mimic with other settings or works; choose another.")
    return (folder / METHODS[record["settings"]["method"]].weights).exists()


def _dreambooth_caption(work: Work) -> str:
    return f"{PRIOR_PROMPT} by {work.caption.rsplit(' by ', 1)[-1]}"


def _prior_pictures(pipeline: Any, settings: FineTuning, folder: Path) -> list[Path]:
    """What the untouched model draws for no artist's name."""
    drawing = Generation(
        images_per_caption=settings.prior_pictures,
        resolution=settings.resolution,
        seed=settings.seed,
    )
    return [path for path, _ in generate(pipeline, [PRIOR_PROMPT], drawing, folder / "prior")]


class _Run:
    """The state of one training: weights, optimiser, running mean, and where they are kept."""

    def __init__(self, pipeline: Any, settings: FineTuning, folder: Path) -> None:
        self.pipeline, self.settings = pipeline, settings
        self.checkpoint, self.log = folder / "checkpoint.pt", folder / "log.jsonl"
        self.learned = [p for p in denoiser_of(pipeline).parameters() if p.requires_grad]
        self.adam = torch.optim.AdamW(self.learned, lr=settings.learning_rate, weight_decay=1e-2)
        self.mean = [p.detach().clone() for p in self.learned] if settings.average else []
        self.noising = noising_of(pipeline)
        if is_flow(pipeline) or settings.resolution > _LARGE:
            denoiser_of(pipeline).enable_gradient_checkpointing()
        self.step = 0
        if self.checkpoint.is_file():
            self._take_up()

    def _take_up(self) -> None:
        saved = torch.load(self.checkpoint, map_location=self.pipeline.device, weights_only=True)
        if saved["settings"] != asdict(self.settings):
            raise ValueError(f"{self.checkpoint} belongs to other settings; choose another folder.")
        self.step = saved["step"]
        with torch.no_grad():
            for target, source in zip(self.learned, saved["learned"], strict=True):
                target.copy_(source)
        self.mean = saved["mean"]
        self.adam.load_state_dict(saved["adam"])
        lines = self.log.read_text("utf-8").splitlines() if self.log.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        self.log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def _keep(self) -> None:
        with atomic_write(self.checkpoint) as temporary:
            torch.save(
                {
                    "settings": asdict(self.settings),
                    "step": self.step,
                    "learned": [p.detach() for p in self.learned],
                    "mean": self.mean,
                    "adam": self.adam.state_dict(),
                },
                temporary,
            )

    @torch.inference_mode(False)
    @torch.enable_grad()
    def train(
        self,
        shelves: Sequence[Shelf],
        on_step: Callable[[TrainingStep], None] | None,
        until: float | None,
    ) -> bool:
        """Step until the last one, or until the time is over."""
        settings, kept, started = self.settings, time.monotonic(), time.monotonic()
        denoiser_of(self.pipeline).train()
        while self.step < settings.steps:
            self.step += 1
            loss = self._take_step(shelves)
            if self.step % max(1, settings.steps // 200) == 0 or self.step == settings.steps:
                line = {"step": self.step, "loss": round(loss, 6)}
                line["seconds"] = round(time.monotonic() - started, 2)
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            if on_step is not None:
                on_step(TrainingStep(self.step, settings.steps, loss))
            over = until is not None and time.monotonic() > until
            if over or time.monotonic() - kept > _EVERY_SECONDS:
                self._keep()
                kept = time.monotonic()
            if over and self.step < settings.steps:
                return False
        denoiser_of(self.pipeline).eval()
        denoiser_of(self.pipeline).disable_gradient_checkpointing()
        with torch.no_grad():
            for target, source in zip(self.learned, self.mean, strict=bool(self.mean)):
                target.copy_(source)
        return True

    def _take_step(self, shelves: Sequence[Shelf]) -> float:
        settings = self.settings
        rate = settings.learning_rate * min(1.0, self.step / max(1, settings.warm_up))
        for group in self.adam.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed(seed_of(settings.seed, self.step, 0))
        total = 0.0
        for shelf in shelves:
            for loss in self._losses(shelf, generator):
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        decay = min(settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, weight in zip(self.mean, self.learned, strict=bool(self.mean)):
                mean.lerp_(weight, 1 - decay)
        return total

    def _losses(self, shelf: Shelf, generator: torch.Generator) -> Iterator[Tensor]:
        """The denoising loss of one batch, in parts whose sum it is."""
        settings, device = self.settings, self.pipeline.device
        latents, prompts = shelf.draw(
            self.step, settings.batch, settings.seed, settings.caption_dropout, generator
        )
        asked = self.noising(latents, generator)
        # float16 would need its loss scaled, so a device without bfloat16 computes in float32
        dtype = torch.bfloat16 if fast_dtype(device) is torch.bfloat16 else None
        for first in range(0, len(latents), settings.at_once):
            part = slice(first, first + settings.at_once)
            index = torch.arange(len(latents), device=device)[part]
            with computing_in(device, dtype):
                said = predict(
                    self.pipeline,
                    asked.noisy[part],
                    asked.times[part],
                    prompts[index],
                    settings.resolution,
                )
            error = F.mse_loss(said.float(), asked.target[part], reduction="sum")
            yield error / asked.target.numel()
