"""``comfy-glaze benchmark mimicry`` and ``comfy-glaze benchmark baselines``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DeviceOption, one_sentence
from .terminal import progress_bar, results, say

if TYPE_CHECKING:
    from ..evaluation.benchmark import CellProgress
    from ..evaluation.lab import Artist, Lab
    from ..evaluation.open_lab import LabRequest

SMOKE_HINT = (
    "Smoke: the generator is random and has learned nothing; the chain runs, and the figures say "
    "nothing about any cloak."
)


_EITHER = """DIR gets results.md, results.json, a picture for the artist, and everything in between:
an interrupted run goes on where it was."""


def _command(usual_grid: str, what: str) -> Callable[..., None]:
    """The command for one grid; both commands take the same options.

    Args:
        what: the command's own line of help.
    """

    def run(
        works: Annotated[
            list[Path] | None,
            typer.Argument(
                metavar="FILE_OR_FOLDER...",
                help="The artist's works; smoke has some of its own.",
            ),
        ] = None,
        out: Annotated[
            Path, typer.Option(metavar="DIR", help="Everything goes here; run again to go on.")
        ] = Path("mimicry"),
        preset: Annotated[
            str, typer.Option(help="How the mimic trains: smoke, paper, lora or dreambooth.")
        ] = "paper",
        grid: Annotated[
            str | None,
            typer.Option(
                help="Which table: core, limit, share, systems, presets, countermeasures, "
                "prompting, inversion, steps, luck or smoke."
            ),
        ] = None,
        checkpoint: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Stable Diffusion: folder, .safetensors or hub id."),
        ] = None,
        artist: Annotated[
            str, typer.Option(metavar="NAME", help="As the captions say it.")
        ] = "the artist",
        captions: Annotated[
            str,
            typer.Option(
                metavar="NAME",
                help="filename, template, sidecar (.txt beside each), or a captioner such as BLIP: "
                "folder or hub id.",
            ),
        ] = "filename",
        genre: Annotated[
            str | None,
            typer.Option(help="The artist's, among the classifier's; found out if not given."),
        ] = None,
        clip: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="CLIP or SigLIP to name genres: folder or hub id."),
        ] = None,
        probe: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="A style probe of your own in place of CLIP."),
        ] = None,
        style: Annotated[
            str, typer.Option(metavar="NAME|auto", help="The cloaks' target style.")
        ] = "auto",
        seeds: Annotated[int, typer.Option(min=1, help="How many times each row is run.")] = 1,
        encoder: Annotated[
            str | None,
            typer.Option(
                metavar="NAME", help="Cloak on another encoder than the checkpoint's (Figure 12)."
            ),
        ] = None,
        stranger: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Another artist's work, for the adapted Fawkes."),
        ] = None,
        entry: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Enter another tool's cloaks on the leaderboard."),
        ] = None,
        cloaked: Annotated[
            Path | None,
            typer.Option(metavar="FOLDER", help="The works as that tool cloaked them, same names."),
        ] = None,
        minutes: Annotated[
            float | None, typer.Option(help="Stop after so many; the next call goes on.")
        ] = None,
        device: DeviceOption = "auto",
    ) -> None:
        from ..evaluation.benchmark import PRESETS, run_grid, world_of
        from ..evaluation.open_lab import LabRequest
        from ..evaluation.scenarios import GRIDS, PLAIN, Scenario, with_encoder

        with one_sentence():
            usual = "smoke" if preset == "smoke" and usual_grid == "core" else usual_grid
            chosen = _one_of(grid or usual, GRIDS, "grid")
            if (entry is None) != (cloaked is None):
                raise ValueError("--entry and --cloaked belong together: a name and its pictures.")
            if entry is not None:
                chosen = (PLAIN, Scenario(entry, system=entry))
            lab, artists, about = _open(
                LabRequest(
                    works=tuple(works or []),
                    folder=out,
                    preset=_one_of(preset, PRESETS, "preset"),
                    checkpoint=checkpoint,
                    artist=artist,
                    captions=captions,
                    genre=genre,
                    clip=clip,
                    probe=probe,
                    style=style,
                    stranger=stranger,
                    grid=chosen,
                    device=device,
                ),
                smoke=preset == "smoke",
            )
            if entry is not None and cloaked is not None:
                lab = replace(lab, entries={entry: cloaked})
            if encoder is not None:
                from ..networks.encoder_files import load_encoder

                other = load_encoder(encoder, lab.device)
                lab = replace(lab, encoders={other.name: other})
                chosen = with_encoder(chosen, other.name)
            with progress_bar() as progress:
                task = progress.add_task("", total=None, note="")
                cells, left = run_grid(
                    lab,
                    artists,
                    chosen,
                    seeds,
                    about | {"world": world_of(lab, artists, seeds)},
                    lambda at: progress.update(task, **shown(at)),
                    minutes=minutes,
                )
            _conclude(lab, cells, left, board=entry is not None or chosen is GRIDS["systems"])

    run.__doc__ = f"{what}\n\n{_EITHER}"
    return run


mimicry = _command(
    "core",
    "Fine-tune a model on the works, uncloaked and cloaked, and measure what it learned of the "
    "style.",
)
baselines = _command(
    "systems",
    "Do as mimicry does with Glaze and other published systems (Fawkes, LowKey, PhotoGuard), all "
    "within one budget.",
)


def _one_of(name: str, known: dict[str, Any], kind: str) -> Any:
    if name not in known:
        raise ValueError(f"Expected a {kind} among {', '.join(known)}, but got {name}.")
    return known[name]


def _open(request: LabRequest, smoke: bool) -> tuple[Lab, list[Artist], dict[str, Any]]:
    """The lab that was asked for; smoke brings works and a generator of its own."""
    from ..evaluation.open_lab import open_lab
    from ..evaluation.smoke import make_smoke_world

    if smoke:
        say(SMOKE_HINT, "yellow")
    if smoke and not request.works:
        drawn, probe, untrained = make_smoke_world(request.folder / "world")
        request = replace(
            request,
            works=tuple(drawn),
            artist="ada",
            probe=request.probe or probe,
            checkpoint=request.checkpoint or str(untrained),
        )
    return open_lab(request)


def shown(at: CellProgress) -> dict[str, Any]:
    """A cell's progress as the progress bar takes it."""
    stage = at.progress
    return {
        "description": f"{at.cell}/{at.cells} {at.scenario}, {at.artist}, seed {at.seed}",
        "completed": stage.done,
        "total": stage.of,
        "note": f"{stage.stage} {stage.note}",
    }


def _conclude(lab: Lab, cells: list[dict[str, Any]], left: int, board: bool) -> None:
    """Print the table, and enter what is complete on the leaderboard."""
    from ..evaluation.benchmark import enter
    from ..evaluation.tables import read_tables

    if not cells:
        say(f"Nothing is finished yet; {left} cells are left. Run the command again.", "yellow")
        raise typer.Exit(1)
    tables = read_tables(lab.folder)
    text = (lab.folder / "results.md").read_text(encoding="utf-8")
    results.print(text, markup=False, highlight=False, soft_wrap=True)
    if board and not left:
        for row in tables["rows"]:
            enter(lab.folder / "leaderboard.json", row, tables["about"]["world"])
    results.print(f"Tables, pictures and everything in between: {lab.folder}", soft_wrap=True)
    if left:
        say(f"{left} cells are left; run the same command again to go on.", "yellow")
