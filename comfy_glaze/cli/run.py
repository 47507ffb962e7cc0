"""A run of ``cloak`` or ``nightshade``: its checks before, what it shows, what it leaves."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .. import HOW_TO_BREAK, __version__
from ..files.formats import named
from .terminal import (
    TOO_WEAK,
    log,
    lost_sentence,
    print_json,
    progress_bar,
    remarks_of,
    results,
    results_table,
    say,
    verdict_sentences,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..portfolio.engine import CloakRequest, Engine
    from ..portfolio.manifest import Manifest
    from ..portfolio.outcome import Outcome
    from ..portfolio.outputs import Job


def fail(failures: list[str], sentence: str) -> None:
    """Name what failed, and go on."""
    failures.append(sentence)
    say(f"Failed: {sentence}", "red")


def tell_passed_over(sources: Sequence[Path]) -> None:
    """Say what the folders hold that is not worked on, and what to do with it."""
    from ..files.passed_over import passed_over

    for others in passed_over(sources):
        say(others.sentence, "yellow")


def gather(
    sources: Sequence[Path], failures: list[str], exclude: Sequence[str] = ()
) -> list[tuple[Path, Path]]:
    """All pictures that were named, once each, with their names below what was named; a source
    without any is told as failed.

    Args:
        sources: files, folders, and patterns such as ``art/*.png`` that no shell has replaced.
        exclude: see :func:`comfy_glaze.files.finding.find_artworks`.
    """
    from ..files.finding import find_artworks
    from ..files.formats import ArtworkError

    sources = [path for source in sources for path in _expanded(source)]
    tell_passed_over(sources)
    found: list[tuple[Path, Path]] = []
    for source in sources:
        try:
            found += find_artworks([source], exclude)
        except ArtworkError as error:
            fail(failures, str(error))
    found = list({source.resolve(): (source, name) for source, name in found[::-1]}.values())
    found.reverse()  # a picture named twice is worked on once, where it was named first
    if not found:
        if not failures:
            fail(failures, "Expected pictures, but --exclude leaves none.")
        raise typer.Exit(1)
    return found


def _expanded(source: Path) -> list[Path]:
    """The files and folders that a pattern stands for; anything else as it is."""
    if source.exists() or not glob.has_magic(str(source)):
        return [source]
    return sorted(map(Path, glob.glob(str(source), recursive=True))) or [source]


def tell_metric(asked: str, engine: Engine) -> None:
    """Say which metric ``auto`` came to, and how to get the usual one."""
    from ..networks.perceptual import trunk_hint

    if asked == "auto" and engine.metric and engine.metric.name != "lpips-alex":
        say(f"Metric: {engine.metric.name}, because {trunk_hint('alex')}.", "dim")


def open_telling(request: CloakRequest, works: Sequence[Path], failures: list[str]) -> Engine:
    """Open the engine, and show how far a style bank is that must be made for it.

    Raises:
        ValueError: something cannot be had.
        typer.Exit: with code 1 where none of the works can be read; each is told as failed.
    """
    from ..portfolio.engine import open_engine
    from ..styles.works import UnreadableWorksError

    with progress_bar() as progress:
        task = progress.add_task("Loading the models", total=None, note="")

        def on_style(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of, description="Making the style bank")
            if not log.is_terminal and done == 1:
                say(f"Making the style bank: {of} styles.", "dim")

        try:
            return open_engine(request, works, on_style)
        except UnreadableWorksError as error:
            for sentence in error.sentences:
                fail(failures, sentence)
            raise typer.Exit(1) from None


NOT_SAVED = ("failed", "left alone")
"""What becomes of a picture that gets no file."""


@dataclass(eq=False)
class Run:
    """Pictures to cloak or to poison, and what is told of them.

    Attributes:
        jobs, manifest, out: the pictures, where they are noted, and where they go.
        poison: concept poison in place of cloaks.
        strict: whether a verdict that is none or weak ends with exit code 3.
        pictures: what became of each, for JSON.
    """

    jobs: Sequence[Job]
    manifest: Manifest
    out: Path
    poison: bool = False
    strict: bool = False
    pictures: list[dict[str, Any]] = field(default_factory=list)

    def to_the_end(
        self,
        outcomes_of: Callable[[Sequence[Job], Manifest, Progress], Iterator[Outcome]],
        failures: list[str],
    ) -> None:
        """Make picture after picture; one that fails is named and the rest goes on.

        Raises:
            typer.Exit: with code 1 where anything failed, 3 where ``strict`` and a cloak is too
                weak, 130 where the user stopped it.
        """
        reports: dict[str, dict[str, Any]] = {}
        with progress_bar() as progress:
            whole = progress.add_task("", total=len(self.jobs), note="")
            outcomes: Iterator[Outcome] = iter(())
            try:
                outcomes = outcomes_of(self.jobs, self.manifest, progress)
                for number, outcome in enumerate(outcomes, start=1):
                    progress.update(
                        whole, completed=number, description=f"{number}/{len(self.jobs)}"
                    )
                    self._take(outcome, failures)
                    if outcome.report is not None:
                        reports[outcome.job.name] = _for_the_table(outcome.report)
                        for sentence in remarks_of(outcome.report, outcome.job.name):
                            say(sentence, "dim")
                        if lost := lost_sentence(outcome.report):
                            say(lost, "yellow")
            except KeyboardInterrupt:
                if isinstance(outcomes, Generator):
                    outcomes.close()
                progress.stop()
                saved = sum(picture["status"] not in NOT_SAVED for picture in self.pictures)
                log.print(
                    f"Stopped. {saved} of {len(self.jobs)} are saved; nothing is half-written. "
                    "The same command with --resume goes on from here."
                )
                raise typer.Exit(130) from None
        self._tell(reports)
        if self.pictures and (reports or failures or self._page_is_old()):
            self._write_page(failures)
        self._conclude(failures)

    def _take(self, outcome: Outcome, failures: list[str]) -> None:
        """Note what became of a picture."""
        name, report, verdict = outcome.job.name, outcome.report, None
        if outcome.error is not None:
            status = "failed"
            fail(failures, outcome.error)
        elif outcome.left_alone is not None:
            status = "left alone"
            say(outcome.left_alone, "yellow")
        elif report is None:
            status, verdict = "unchanged", self.manifest.entries[name].get("verdict")
        else:
            status, verdict = "poisoned" if self.poison else "cloaked", report["verdict"]
        self.pictures.append(
            {
                "source": str(outcome.job.source),
                "file": name,
                "status": status,
                "verdict": verdict,
                "error": outcome.error,
            }
        )

    def _tell(self, reports: dict[str, dict[str, Any]]) -> None:
        unchanged = sum(picture["status"] == "unchanged" for picture in self.pictures)
        if unchanged:
            results.print(f"Unchanged since an earlier run: {unchanged}.")
        left_alone = sum(picture["status"] == "left alone" for picture in self.pictures)
        if left_alone:
            results.print(f"Left alone, as you asked: {left_alone}.")
        if reports:
            results.print(results_table(reports))
            what = "Poisoned" if self.poison else "Cloaked"
            where = f"{what} pictures: {named(self.out)}    Reports: {named(self._page.parent)}"
            results.print(where, soft_wrap=True, markup=False)
        verdicts = {picture["file"]: picture["verdict"] for picture in self.pictures}
        for sentence in verdict_sentences(verdicts):
            say(sentence, "yellow")
        if any(verdicts.values()):
            say(f"What undoes cloaks: {HOW_TO_BREAK}", "dim")

    def _conclude(self, failures: Sequence[str]) -> None:
        if failures:
            saved = any(picture["status"] not in NOT_SAVED for picture in self.pictures)
            rest = "Everything else is saved." if saved else "Nothing was saved."
            say(f"Failed: {len(failures)}. {rest}", "bold red")
            raise typer.Exit(1)
        if self.strict and any(is_too_weak(picture["verdict"]) for picture in self.pictures):
            raise typer.Exit(3)

    @property
    def _page(self) -> Path:
        from ..portfolio.outputs import reports_folder

        return reports_folder(self.out) / "index.html"

    def _page_is_old(self) -> bool:
        """Whether the page is missing, or tells of failures that are mended."""
        try:
            return b'<h2 class="bad">' in self._page.read_bytes()
        except OSError:
            return True

    def _write_page(self, failures: Sequence[str]) -> None:
        from ..files.formats import ArtworkError
        from ..portfolio.page import write_page

        try:
            write_page(self._page.parent, self.manifest, failures)
        except ArtworkError as error:
            say(f"The page of the portfolio: {error}", "yellow")


@contextmanager
def json_at_the_end(
    as_json: bool, pictures: Sequence[dict[str, Any]], failures: Sequence[str]
) -> Iterator[None]:
    """Print what became of the pictures as JSON, however a run ends, bad usage excepted.

    Raises:
        typer.Exit: with code 130 where the user stopped it, as while models load.
    """
    try:
        yield
    except KeyboardInterrupt:
        log.print("Stopped; nothing is half-written.")
        if as_json:
            print_json(_summary(pictures, failures, 130))
        raise typer.Exit(130) from None
    except typer.Exit as end:
        if as_json and end.exit_code != 2:
            print_json(_summary(pictures, failures, end.exit_code))
        raise
    if as_json:
        print_json(_summary(pictures, failures, 0))


def _summary(
    pictures: Sequence[dict[str, Any]], failures: Sequence[str], exit_code: int
) -> dict[str, Any]:
    statuses = Counter(picture["status"] for picture in pictures)
    return {
        "schema": 1,
        "version": __version__,
        "exit_code": exit_code,
        "counts": {
            **dict(sorted(statuses.items())),
            "weak": sum(is_too_weak(picture["verdict"]) for picture in pictures),
        },
        "pictures": list(pictures),
        "failures": list(failures),
    }


def is_too_weak(verdict: dict[str, str] | None) -> bool:
    """Whether a verdict of a report is none or weak."""
    return verdict is not None and verdict["level"] in TOO_WEAK


def _for_the_table(report: dict[str, Any]) -> dict[str, Any]:
    """The part of a report that the table shows; a long run keeps no more of it."""
    shown = ("effect", "verdict", "encoded", "shift", "perceptual", "linf", "psnr", "seconds")
    return {key: report[key] for key in shown if key in report}
