"""``comfy-glaze benchmark speed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import DeviceOption, EncoderOption, MetricOption, number, one_encoder, one_sentence
from .terminal import progress_bar, results


def speed(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_FOLDER...", help="Pictures, or folders of them."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="speed.json and speed.png go here.")
    ] = Path("speed"),
    size: Annotated[
        int, typer.Option(min=32, help="Scale the pictures so that the short side is at most this.")
    ] = 512,
    limit: Annotated[float, typer.Option(help="The perceptual limit.")] = 0.05,
    linf: Annotated[str, typer.Option(metavar="E", help="The L∞ cap.")] = "6/255",
    steps: Annotated[int, typer.Option(min=0, help="Of fast; 0 for its own number.")] = 0,
    paper_steps: Annotated[int, typer.Option(min=0, help="Of paper; 0 for its own number.")] = 0,
    style: Annotated[
        str, typer.Option(metavar="NAME", help="Target style, drawn by the embedded transfer.")
    ] = "Pink and black cut-outs",
    raw_size: Annotated[
        int,
        typer.Option(
            min=0, help="Side of the picture for the encoder's raw speed; 0 to leave it out."
        ),
    ] = 512,
    encoder: EncoderOption = None,
    metric: MetricOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Cloak pictures by both methods and write down what each reached and cost.

    With it comes the raw speed of a full-size Stable Diffusion encoder with random weights, against
    what the device's matrix product reaches.
    """
    from ..cloaking.budget import Budget
    from ..cloaking.cloak import CloakSettings
    from ..cloaking.methods import CloakStep
    from ..devices import choose_device
    from ..evaluation.drawing import require_matplotlib
    from ..evaluation.speed import compare_methods, ratios, raw_speed
    from ..evaluation.speed_plot import write_plot
    from ..files.artwork import load_artwork
    from ..files.atomic import write_json
    from ..files.finding import find_artworks
    from ..images import shrink, to_grid
    from ..networks.encoder_files import load_encoder
    from ..networks.perceptual import load_metric
    from ..styles.bank import builtin_styles, find_style
    from ..styles.transfer import load_style_transfer

    with one_sentence():
        require_matplotlib()
        on_device = choose_device(device)
        phi = load_encoder(one_encoder(encoder), on_device)
        distance = load_metric(metric, on_device)
        omega, target = (
            load_style_transfer("embedded", on_device),
            find_style(builtin_styles(), style),
        )
        budget = Budget(limit, number(linf), metric=distance.name)
        pictures = {}
        for source, _ in find_artworks(sources):
            pixels = to_grid(shrink(load_artwork(source).pixels, size).clamp(0, 1))
            pictures[source.name] = (pixels, omega(pixels, target))
    pairs = []
    with progress_bar() as progress:
        task = progress.add_task("Measuring", note="")

        def on_step(title: str, step: CloakStep) -> None:
            progress.update(task, completed=step.step, total=step.steps, note=title)

        settings = CloakSettings(steps=steps)
        for pair in compare_methods(
            pictures, phi, distance, budget, settings, paper_steps, on_step
        ):
            pairs.append(pair)
    report: dict[str, Any] = {
        "encoder": {"name": phi.name, "fingerprint": phi.fingerprint},
        "device": str(on_device),
        "budget": {"metric": distance.name, "limit": limit, "linf": budget.linf},
        "style": target.name,
        "cloaks": [cloak.as_json() for pair in pairs for cloak in pair],
        "ratios": {pair[0].picture: ratios(*pair) for pair in pairs},
        "raw": raw_speed(on_device, raw_size) if raw_size else None,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(report, out / "speed.json")
    write_plot(pairs, out / "speed.png")
    results.print(_table(pairs))


def _table(pairs: Any) -> Any:
    from rich.table import Table

    table = Table("picture", "method", box=None, pad_edge=False)
    for column in ("passes", "gradients", "seconds", "shift", "perceptual", "L∞", "PSNR"):
        table.add_column(column, justify="right")
    for cloak in (cloak for pair in pairs for cloak in pair):
        measures = cloak.measures
        table.add_row(
            cloak.picture,
            cloak.method,
            str(cloak.passes),
            f"{cloak.gradients:.1f}",
            f"{cloak.seconds:.1f}",
            f"{measures.shift_512:.3f}",
            f"{measures.perceptual:.4f}",
            f"{measures.linf * 255:.0f}/255",
            "-" if measures.psnr is None else f"{measures.psnr:.1f} dB",
        )
    return table
