"""``comfy-glaze benchmark robustness`` and ``countermeasures``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DeviceOption,
    EncoderOption,
    MetricOption,
    PipelineOption,
    SeedsOption,
    UpscalerOption,
    number,
    one_encoder,
    one_sentence,
)
from .terminal import cloaks_table, kept_table, progress_bar, results

if TYPE_CHECKING:
    import torch

    from ..evaluation.comparisons import Subject
    from ..networks.encoders import Encoder
    from ..networks.perceptual import PerceptualMetric

Sources = Annotated[
    list[Path], typer.Argument(metavar="FILE_OR_FOLDER...", help="Pictures, or folders of them.")
]
SizeOption = Annotated[
    int, typer.Option(min=32, help="Scale the pictures so that the short side is at most this.")
]
StyleOption = Annotated[
    str, typer.Option(metavar="NAME", help="Target style, drawn by the embedded transfer.")
]
OutOption = Annotated[
    Path, typer.Option(metavar="DIR", help="Where the rows and the plot go; rows there are kept.")
]


def robustness(
    sources: Sources,
    out: OutOption = Path("robustness"),
    size: SizeOption = 512,
    style: StyleOption = "Pink and black cut-outs",
    encoder: EncoderOption = None,
    metric: MetricOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Cloak pictures by every preset: how visible, how far, and what everyday changes leave."""
    from ..evaluation.comparisons import Ledger, compare_presets

    with one_sentence(), _working() as on_row:
        subjects, phi, distance = _subjects(sources, size, style, encoder, metric, device)
        out.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(out / "robustness.jsonl", ("picture", "preset", "robustness"))
        compare_presets(subjects, phi, distance, ledger, on_row)
    results.print(cloaks_table(ledger.rows))


def countermeasures(
    sources: Sources,
    out: OutOption = Path("robustness"),
    size: SizeOption = 512,
    style: StyleOption = "Pink and black cut-outs",
    cloaks: Annotated[
        str, typer.Option(help="What to compare, with commas: paper, none, web, strong.")
    ] = "none,web",
    countermeasures: Annotated[
        str,
        typer.Option(help="all, or names with commas, each alone or with an amount: noise:0.1."),
    ] = "all",
    limit: Annotated[float, typer.Option(help="The perceptual limit of all cloaks.")] = 0.05,
    linf: Annotated[str, typer.Option(metavar="E", help="The L∞ cap of all cloaks.")] = "8/255",
    seeds: SeedsOption = 3,
    pipeline: PipelineOption = None,
    upscaler: UpscalerOption = None,
    encoder: EncoderOption = None,
    metric: MetricOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """What each countermeasure leaves of cloaks within one budget, worst first, with a plot."""
    from ..cloaking.budget import Budget
    from ..cloaking.cloak import CloakSettings
    from ..countermeasures import parse_cases
    from ..countermeasures.tools import Tools
    from ..devices import choose_device
    from ..evaluation.comparisons import Ledger, Trials, compare_countermeasures, mean_by
    from ..evaluation.drawing import require_matplotlib
    from ..evaluation.retention_plot import write_bars
    from ..networks.encoder_files import load_round_trip

    with one_sentence(), _working() as on_row:
        require_matplotlib()
        subjects, phi, distance = _subjects(sources, size, style, encoder, metric, device)
        tools = Tools(
            load_round_trip(one_encoder(encoder), choose_device(device)), pipeline, upscaler
        )
        names = [name.strip() for name in cloaks.split(",")]
        out.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(
            out / "countermeasures.jsonl", ("picture", "cloak", "countermeasure", "amount")
        )
        compare_countermeasures(
            subjects,
            phi,
            distance,
            Budget(limit=limit, linf=number(linf)),
            [
                CloakSettings(method="paper") if name == "paper" else CloakSettings(robustness=name)
                for name in names
            ],
            Trials(parse_cases(countermeasures, tools), tools, range(seeds)),
            ledger,
            on_row,
        )
    found = mean_by(ledger.rows, ("countermeasure", "amount", "cloak"), "shift")
    labels = {(name, amount): f"{name} {amount:g}" for name, amount, _ in found}
    rows = [
        (label, {name: found.get((*case, name), 0.0) for name in names})
        for case, label in labels.items()
    ]
    rows.sort(key=lambda row: row[1][names[-1]])
    results.print(kept_table(rows, mean_by(ledger.rows, ("cloak",), "untouched")))
    write_bars("Shift that is left after each countermeasure", rows, out / "countermeasures.png")


@contextmanager
def _working() -> Iterator[Callable[[str], None]]:
    with progress_bar() as progress:
        task = progress.add_task("Measuring", total=None, note="")
        yield lambda title: progress.update(task, note=title)


def _subjects(
    sources: list[Path],
    size: int,
    style: str,
    encoder: list[str] | None,
    metric: str,
    device: str,
) -> tuple[list[Subject], Encoder, PerceptualMetric]:
    """The pictures at their size with their styled versions, the encoder and the metric."""
    from ..devices import choose_device
    from ..evaluation.comparisons import Subject
    from ..files.artwork import load_artwork
    from ..files.finding import find_artworks
    from ..images import shrink, to_grid
    from ..networks.encoder_files import load_encoder
    from ..networks.perceptual import load_metric
    from ..styles.bank import builtin_styles, find_style
    from ..styles.transfer import load_style_transfer

    on_device = choose_device(device)
    target = find_style(builtin_styles(), style)
    redraw = load_style_transfer("embedded", on_device)

    def subject(path: Path) -> Subject:
        pixels: torch.Tensor = to_grid(shrink(load_artwork(path).pixels, size).clamp(0, 1))
        return Subject(path.stem, pixels, redraw(pixels, target))

    subjects: list[Any] = [subject(path) for path, _ in find_artworks(sources)]
    return subjects, load_encoder(one_encoder(encoder), on_device), load_metric(metric, on_device)
