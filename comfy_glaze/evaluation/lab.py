"""What every cell of a table shares: the artists, and all that is loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..cloaking.cloak import CloakSettings
from ..judges.features import FeatureExtractor
from ..judges.genres import Classifier
from ..networks.captions import Work
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric
from ..styles.bank import Style
from ..styles.transfer import StyleTransfer
from .generation import Generation
from .mimicry import FineTuning
from .prompt_inversion import Inverter

Countermeasure = Callable[[Tensor, int], Tensor]
"""From images (B, 3, H, W) in [0, 1] and a seed to images of the same range."""


@dataclass(frozen=True, eq=False)
class Artist:
    """Who is mimicked.

    Attributes:
        name: as the captions end with it.
        works: pictures and captions.
        genre: what the classifier should call the works; None where nothing classifies.
        target: T, the style that the artist's cloaks lead towards.
        stranger: an artwork by somebody else, which Fawkes leads towards.
    """

    name: str
    works: tuple[Work, ...]
    genre: str | None
    target: Style
    stranger: Path


@dataclass(frozen=True, eq=False)
class Lab:
    """All that is the same for every cell.

    Attributes:
        folder: where everything is kept.
        generator: the text-to-image model that mimics start from, as a path or a hub id.
        encoder: Φ of that model, which cloaks aim at unless a scenario names another.
        style_transfer, metric: Ω and the perceptual metric.
        extractor: features for the kernel distance.
        texture: the metric whose trunk the style distance looks through.
        classifier: names styles; None for the measures that need none.
        tuning, generation: how mimics train and draw; the cell's seed is added to theirs.
        cloaking: method, steps and seed of the cloaks.
        encoders: other encoders by name.
        entries: folders of cloaked pictures made elsewhere, by the entry's name.
        countermeasures: by name.
        inverter: finds words for pictures; None where no CLIP is at hand.
        keep_mimics: whether the fine-tuned weights stay on disk.
        device: where mimics train.
    """

    folder: Path
    generator: str
    encoder: Encoder
    style_transfer: StyleTransfer
    metric: PerceptualMetric
    extractor: FeatureExtractor
    texture: PerceptualMetric
    classifier: Classifier | None
    tuning: FineTuning
    generation: Generation
    cloaking: CloakSettings
    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    entries: Mapping[str, Path] = field(default_factory=dict)
    countermeasures: Mapping[str, Countermeasure] = field(default_factory=dict)
    inverter: Inverter | None = None
    keep_mimics: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Progress:
    """What a cell's callback receives.

    Attributes:
        stage: ``cloak``, ``fine-tune``, ``draw`` or ``measure``.
        done, of: within the stage.
        note: the loss, while fine-tuning.
    """

    stage: str
    done: int
    of: int
    note: str = ""


OnProgress = Callable[[Progress], None]
