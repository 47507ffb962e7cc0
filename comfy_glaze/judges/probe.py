"""A style classifier of one's own: logistic regression on channel statistics of a trunk.

Where there is no CLIP, or where the styles in question have no names that CLIP knows, a classifier
is trained on pictures of known style.  It is saved with its own held-out accuracy, which belongs at
the head of every table that it decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..files.atomic import atomic_write
from .features import FeatureExtractor, load_features
from .genres import Classifier

_FORMAT = "comfy_glaze style probe 1"


@dataclass(frozen=True, eq=False)
class StyleProbe:
    """Linear scores of standardised features.

    Attributes:
        labels: L names of styles.
        weight, bias: (L, D) and (L,).
        features: the extractor's name.
        accuracy: top-1 share on held-out pictures; None when nothing was held out.
    """

    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor
    features: str
    accuracy: float | None

    def classifier(self, extractor: FeatureExtractor) -> Classifier:
        """The probe as a classifier of pictures."""
        weight, bias = (part.to(extractor.device) for part in (self.weight, self.bias))

        def scores(images: Tensor) -> Tensor:
            return F.linear(extractor.features(images), weight, bias)

        name = f"style probe on {self.features}"
        return Classifier(name, self.labels, scores, extractor.device)


def fit_probe(
    features: Tensor,
    styles: Sequence[str],
    extractor: str,
    held_out: tuple[Tensor, Sequence[str]] | None = None,
    decay: float = 1e-2,
    rounds: int = 100,
) -> StyleProbe:
    """Fit by L-BFGS; a convex problem, so that nothing is random.

    Args:
        features: (N, D).
        styles: N names.
        extractor: its name, kept with the probe.
        held_out: features and names of pictures that do not train, for the accuracy.
        decay: weight of ½‖W‖² on standardised features.

    Raises:
        ValueError: fewer than two styles.
    """
    labels = tuple(dict.fromkeys(styles))
    if len(labels) < 2:
        raise ValueError(f"A classifier needs at least two styles, but got {len(labels)}.")
    wanted = torch.tensor([labels.index(style) for style in styles])
    centre, spread = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    standard = (features - centre) / spread
    weight = torch.zeros(len(labels), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(labels), requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=rounds, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(F.linear(standard, weight, bias), wanted)
        value = value + decay / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        folded = weight / spread
        shift = bias - folded @ centre
        accuracy = None
        if held_out is not None:
            best = F.linear(held_out[0], folded, shift).argmax(dim=1)
            accuracy = sum(
                labels[int(i)] == name for i, name in zip(best, held_out[1], strict=True)
            ) / len(best)
    return StyleProbe(labels, folded.detach(), shift.detach(), extractor, accuracy)


def save_probe(probe: StyleProbe, path: Path) -> None:
    """Write one .safetensors file with the labels in its metadata."""
    from safetensors.torch import save_file

    metadata = {
        "format": _FORMAT,
        "features": probe.features,
        "labels": json.dumps(probe.labels),
        "accuracy": json.dumps(probe.accuracy),
    }
    with atomic_write(path) as temporary:
        save_file({"weight": probe.weight, "bias": probe.bias}, temporary, metadata)


def load_probe(path: Path, device: torch.device | str = "cpu") -> tuple[StyleProbe, Classifier]:
    """Read a probe and the extractor that it was fitted on.

    Raises:
        ValueError: the file is missing, or is no probe.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"Expected a style probe, but {path.name} is another file.")
            probe = StyleProbe(
                tuple(json.loads(metadata["labels"])),
                file.get_tensor("weight"),
                file.get_tensor("bias"),
                metadata["features"],
                json.loads(metadata["accuracy"]),
            )
    except (OSError, SafetensorError) as error:
        raise ValueError(f"Expected a style probe, but {path.name}: {error}.") from error
    return probe, probe.classifier(load_features(probe.features, device))
