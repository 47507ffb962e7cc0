"""Train the small world's judges, and say how good they are before anybody is judged.

    python training/small_world/train_classifier.py --world cores

writes ``style.safetensors`` and ``content.safetensors`` (style probes of the library) and
``judges.json``.  Every picture is seen twice, as it is and through the embedded autoencoder,
because whatever a generator draws has come through the decoder.  The accuracy is given for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from world import arguments, folder_of, read_grid

from comfy_glaze.devices import choose_device
from comfy_glaze.evaluation.open_lab import TEXTURE
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.judges.features import FeatureExtractor, load_features
from comfy_glaze.judges.intervals import share_interval
from comfy_glaze.judges.probe import StyleProbe, fit_probe, save_probe
from comfy_glaze.networks.encoder_files import load_round_trip
from comfy_glaze.networks.encoders import fingerprint_of


@torch.no_grad()
def seen(folder: Path, rows: Sequence[dict[str, str]], device: torch.device) -> Iterator[Tensor]:
    """Each picture as it is, then all of them through the autoencoder."""
    for row in rows:
        yield load_artwork(folder / row["file"]).pixels
    round_trip = load_round_trip("embedded", device)
    for row in rows:
        yield round_trip(load_artwork(folder / row["file"]).pixels.to(device)).clamp(0, 1)


def features_of(
    folder: Path, part: str, extractor: FeatureExtractor
) -> tuple[Tensor, list[dict[str, str]]]:
    """Features (2N, D) of a part's N pictures, remembered on disk."""
    rows = [row for row in read_grid(folder) if row["part"] == part]
    kept = folder / f"features-{part}.pt"
    if not kept.is_file():
        torch.save(extractor.of(seen(folder, rows, extractor.device)), kept)
    features: Tensor = torch.load(kept, weights_only=True)
    return features, rows


def accuracy(probe: StyleProbe, features: Tensor, names: Sequence[str]) -> dict[str, object]:
    """The share of pictures whose first label is right, with its interval over pictures."""
    best = (features @ probe.weight.T + probe.bias).argmax(dim=1)
    hits = [probe.labels[int(i)] == name for i, name in zip(best, names, strict=True)]
    return share_interval(hits).as_json()


def main() -> None:
    """Fit both judges and report."""
    options = arguments("Train the small world's judges.").parse_args()
    folder = folder_of(options)
    extractor = load_features(TEXTURE, choose_device(options.device))
    train, train_rows = features_of(folder, "judge-train", extractor)
    test, test_rows = features_of(folder, "judge-test", extractor)
    report: dict[str, object] = {"features": TEXTURE, "pictures": len(train_rows)}
    for label in ("style", "content"):
        names = [row[label] for row in train_rows] * 2
        wanted = [row[label] for row in test_rows]
        probe = fit_probe(train, names, TEXTURE, (test[len(wanted) :], wanted))
        save_probe(probe, folder / f"{label}.safetensors")
        report[label] = {
            "labels": len(probe.labels),
            "weights": fingerprint_of({"weight": probe.weight, "bias": probe.bias}),
            "as it is": accuracy(probe, test[: len(wanted)], wanted),
            "through the autoencoder": accuracy(probe, test[len(wanted) :], wanted),
        }
        print(label, report[label], flush=True)
    write_json(report, folder / "judges.json")


if __name__ == "__main__":
    main()
