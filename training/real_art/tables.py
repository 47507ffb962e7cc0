"""Make the tables of docs/real-art-world.md from the lines that ``screen.py`` wrote.

    python -m training.real_art.tables docs/real-art-world/screen*.jsonl

Shares are of drawings that a judge gives to the mimicked artist.  Falls are against "no cloak" of
the same file, artist, seed, upload, loader and counter-move, drawing by drawing, since both have
the same prompts and noise.  Intervals are 95%, over artists; where there is one artist, over
drawings, and then they say nothing about another.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_glaze.judges.intervals import Interval, mean_interval, share_interval

from .judges import SIGHTS
from .screen import NO_CLOAK, done_in
from .world import SIDE

WAYS = ("prompts", "layouts")
_SETTING = ("upload", "loader", "counter", "rank", "side")
_PAIR = ("artist", "seed", "fold", *_SETTING)
_SHOWN = ("rms", "ssimulacra2", "flat_delta_e", "shift", "shift_loaded", "decoded_loaded")


def read_lines(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The lines of files, each with its file's name: every file is a round with judges of its own,
    and falls are against "no cloak" of the same round."""
    return [
        {"round": path.stem, **line, "cell": {"side": SIDE, **line["cell"]}}
        for path in paths
        for line in done_in(path)
    ]


def groups_of(lines: Sequence[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Lines by setting and kind, in their order."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        cell = line["cell"]
        found.setdefault((*(cell[key] for key in _SETTING), cell["kind"]), []).append(line)
    return found


def hits(line: dict[str, Any], way: str, sight: str) -> list[bool]:
    """For each drawing, whether the judge gives it to the mimicked artist."""
    return [name == line["cell"]["artist"] for name in line[way][sight]["names"]]


def share(lines: Sequence[dict[str, Any]], way: str, sight: str) -> Interval:
    """Of drawings in the artist's style."""
    values = [(hit, line["cell"]["artist"]) for line in lines for hit in hits(line, way, sight)]
    return share_interval([hit for hit, _ in values], [artist for _, artist in values])


def pairs_of(
    lines: Sequence[dict[str, Any]], every: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each line with the "no cloak" that differs in nothing else."""
    plain = {_pair(line): line for line in every if line["cell"]["kind"] == NO_CLOAK}
    return [(plain[_pair(line)], line) for line in lines if _pair(line) in plain]


def _pair(line: dict[str, Any]) -> tuple[Any, ...]:
    return (line.get("round"), *(line["cell"][key] for key in _PAIR))


def fall(
    lines: Sequence[dict[str, Any]], every: Sequence[dict[str, Any]], way: str, sight: str
) -> dict[str, Interval] | None:
    """``points`` of share and ``log_odds``, against "no cloak"; None where that is missing."""
    values: dict[str, list[float]] = {"points": [], "log_odds": []}
    artists: list[str] = []
    for plain, line in pairs_of(lines, every):
        before, after = plain[way][sight], line[way][sight]
        for first, second in zip(hits(plain, way, sight), hits(line, way, sight), strict=True):
            values["points"].append(100.0 * (first - second))
        for one, other in zip(before["log_odds"], after["log_odds"], strict=True):
            values["log_odds"].append(one - other)
        artists += [line["cell"]["artist"]] * len(after["names"])
    if not artists:
        return None
    return {key: mean_interval(found, artists) for key, found in values.items()}


def said(interval: Interval, form: str) -> str:
    """A figure with its interval."""
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def effect_table(lines: Sequence[dict[str, Any]], way: str) -> str:
    """A Markdown table of one way of drawing."""
    head = ["uploaded at, as, loader, counter-move, training", "cloak", "models"]
    for sight in SIGHTS:
        head += [f"in the style ({sight} judge)", "falls by, points", "log-odds fall"]
    rows = [[*head, "nearest", "kernel"], ["---"] * (len(head) + 2)]
    for (upload, loader, counter, rank, side, kind), group in groups_of(lines).items():
        training = f"LoRA {rank}" if rank else "all weights"
        way_there = f"{side} px, {upload or 'no'} JPEG, {loader}, {counter}, {training}"
        row = [way_there, kind, str(len(group))]
        for sight in SIGHTS:
            lost = None if kind == NO_CLOAK else fall(group, lines, way, sight)
            row.append(said(share(group, way, sight), ".0%"))
            row += (
                [said(lost["points"], ".0f"), said(lost["log_odds"], ".1f")] if lost else ["", ""]
            )
        for key in ("nearest", "kernel"):
            row.append(f"{sum(line[way][key] for line in group) / len(group):.2f}")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def cost_table(lines: Sequence[dict[str, Any]]) -> str:
    """What each kind of cloak looks like and moves, means over the artists' works."""
    kinds: dict[str, dict[str, dict[str, Any]]] = {}  # by kind and artist; one line of each will do
    for line in lines:
        if line["cell"]["kind"] != NO_CLOAK:
            kinds.setdefault(line["cell"]["kind"], {})[line["cell"]["artist"]] = line
    rows = [["cloak", "artists", *_SHOWN, "moved"], ["---"] * (len(_SHOWN) + 3)]
    for kind, by_artist in kinds.items():
        group = list(by_artist.values())
        means = [[line["cloaks"].get(key) for line in group] for key in _SHOWN]
        cells = [_mean([value for value in values if value is not None]) for values in means]
        rows.append([kind, str(len(group)), *cells, _mean([line["moved"] for line in group])])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.2f}" if values else ""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Tables of the world on real art.")
    parser.add_argument("lines", type=Path, nargs="+")
    lines = read_lines(parser.parse_args().lines)
    print(cost_table(lines))
    for way in WAYS:
        print(f"\n{way}\n\n{effect_table(lines, way)}")


if __name__ == "__main__":
    main()
