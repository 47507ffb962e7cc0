"""A grid of cells, run to the end or as far as the time goes, and its tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..cloaking.cloak import CloakSettings
from ..files.atomic import write_json
from ..networks.captions import Work
from .drawing import require_matplotlib
from .experiment import pictures_of, run_cell
from .figures import write_grid
from .generation import Generation
from .lab import Artist, Lab, Progress
from .mimicry import FineTuning
from .scenarios import Scenario
from .tables import markdown, write_tables


@dataclass(frozen=True)
class Preset:
    """A mimic's usual settings.

    Attributes:
        tuning, generation: see there.
        source: who used them.
        cloaking: of the cloaks that the mimic is given.
    """

    tuning: FineTuning
    generation: Generation
    source: str
    cloaking: CloakSettings = field(default_factory=CloakSettings)


PRESETS: dict[str, Preset] = {
    "smoke": Preset(
        FineTuning(steps=6, batch=2, learning_rate=1e-3, resolution=64),
        Generation(steps=4, images_per_caption=4, resolution=64),
        "this project: minutes on two cores, says nothing about any cloak",
        CloakSettings(steps=6),
    ),
    "paper": Preset(
        FineTuning(steps=3000, batch=32, learning_rate=5e-6),
        Generation(),
        "Shan et al. (2023), §6.1 and A.2: the whole U-Net, PNDM",
    ),
    "lora": Preset(
        FineTuning(method="lora", steps=2000, batch=1, learning_rate=1e-4),
        Generation(),
        "Mist v2: rank not named there, 16 here",
    ),
    "dreambooth": Preset(
        FineTuning(method="dreambooth", steps=1000, batch=2, learning_rate=5e-6),
        Generation(),
        "StyleGuard; the text encoder stays as it is here",
    ),
}


@dataclass(frozen=True)
class CellProgress:
    """Which cell of a grid is at work, and how far it is."""

    cell: int
    cells: int
    artist: str
    scenario: str
    seed: int
    progress: Progress


def run_grid(
    lab: Lab,
    artists: Sequence[Artist],
    grid: Sequence[Scenario],
    seeds: int,
    about: dict[str, Any],
    on_progress: Callable[[CellProgress], None] = lambda _: None,
    *,
    minutes: float | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Run every scenario for every artist and seed, and write the tables of what is finished.

    Seeds come outermost, so that what is finished first is balanced.  ``lab.folder`` gets
    ``results.json``, ``results.md`` and, for each artist, ``ARTIST.png``.

    Args:
        about: for the head of the tables.
        minutes: stop after so many, at a checkpoint; a second call goes on there.

    Raises:
        ValueError: matplotlib is not installed.

    Returns:
        The finished cells, and how many are not finished.
    """
    require_matplotlib()
    lab.folder.mkdir(parents=True, exist_ok=True)
    until = None if minutes is None else time.monotonic() + 60 * minutes
    planned = [(s, a, g) for s in range(seeds) for a in artists for g in grid]
    cells: list[dict[str, Any]] = []
    for number, (seed, artist, scenario) in enumerate(planned, start=1):
        if until is not None and time.monotonic() > until:
            break
        at = partial(CellProgress, number, len(planned), artist.name, scenario.name, seed)

        def tell(progress: Progress, at: Callable[[Progress], CellProgress] = at) -> None:
            on_progress(at(progress))

        cell = run_cell(lab, artist, scenario, seed, tell, until=until)
        if cell is None:
            break
        cells.append(cell)
        write_tables(cells, [g.name for g in grid], about, lab.folder)
    write_json(_attempts(lab, artists, grid, cells), lab.folder / ATTEMPTS)
    for artist in artists:
        _draw_grid(lab, artist, grid, [c for c in cells if c["artist"] == artist.name])
    return cells, len(planned) - len(cells)


ATTEMPTS = "attempts.json"
"""What a rating kit is made from: for each artist and scenario, the pictures to be shown."""


def _attempts(
    lab: Lab, artists: Sequence[Artist], grid: Sequence[Scenario], cells: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    found = []
    for artist in artists:
        for scenario in grid:
            mine = [c for c in cells if (c["artist"], c["name"]) == (artist.name, scenario.name)]
            drawn = [str(path.resolve()) for cell in mine for path in pictures_of(lab, cell)]
            originals = [str(work.path.resolve()) for work in artist.works]
            names = {"artist": artist.name, "scenario": scenario.name}
            found += [names | {"originals": originals, "drawn": drawn}] if drawn else []
    return found


def _draw_grid(
    lab: Lab, artist: Artist, grid: Sequence[Scenario], cells: Sequence[dict[str, Any]]
) -> None:
    """The artist's works above, below them what the first seed's models drew."""
    columns = 4
    rows: list[tuple[str, list[Path]]] = [
        (f"works of {artist.name}", [work.path for work in artist.works])
    ]
    for scenario in grid:
        mine = [c for c in cells if c["name"] == scenario.name]
        if mine:
            files = list(pictures_of(lab, mine[0]))
            every = max(1, len(files) // columns)
            rows.append((scenario.name, files[::every]))
    write_grid(rows, columns, lab.folder / f"{artist.name}.png")


# --- the leaderboard -----------------------------------------------------------------------------


def enter(path: Path, row: dict[str, Any], world: str) -> str:
    """Put a row of a table on a leaderboard, in place of the entry of the same name.

    Args:
        path: a JSON file, made if it is not there; its Markdown twin lies beside it.
        row: of :func:`comfy_glaze.evaluation.tables.summarise`.
        world: what makes rows comparable (generator, artists, settings, judges); rows of another
            world are refused.

    Returns:
        The board as Markdown, what misleads the mimic most at the head.

    Raises:
        ValueError: the board is about another world.
    """
    board: dict[str, Any] = {"world": world, "entries": []}
    if path.is_file():
        board = json.loads(path.read_text(encoding="utf-8"))
        if board["world"] != world:
            raise ValueError(
                f"{path} compares entries of another world ({board['world']}); "
                "choose another leaderboard."
            )
    entries = [entry for entry in board["entries"] if entry["name"] != row["name"]]
    entries = sorted([*entries, row], key=_misleads, reverse=True)
    write_json({"world": world, "entries": entries}, path)
    table = markdown(entries)
    path.with_suffix(".md").write_text(f"World: {world}\n\n{table}", encoding="utf-8")
    return table


def _misleads(row: dict[str, Any]) -> float:
    """Genre shift where there is one, else the style distance."""
    figure = row["genre_shift"] or row["style_distance"]
    return float(figure["value"])


def world_of(lab: Lab, artists: Sequence[Artist], seeds: int) -> str:
    """One line that two tables must share to be comparable."""
    tuning, judge = lab.tuning, lab.classifier.name if lab.classifier else lab.extractor.name
    names = ", ".join(f"{a.name} ({_count(a.works)})" for a in artists)
    return (
        f"{Path(lab.generator).name}; {names}; {tuning.method}, {tuning.steps} steps, "
        f"batch {tuning.batch}, lr {tuning.learning_rate:g}, {tuning.resolution} px; "
        f"{seeds} seeds; {judge}"
    )


def _count(works: Sequence[Work]) -> str:
    return f"{len(works)} works"
