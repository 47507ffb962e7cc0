"""A run of ``cloak`` or ``nightshade``: its checks before, what it shows, what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from ..files.formats import named
from .terminal import (
    log,
    lost_sentence,
    progress_bar,
    remarks_of,
    results,
    results_table,
    say,
    short_sentence,
)

if TYPE_CHECKING:
    from ..cloaking.methods import CloakStep, OnStep
    from ..portfolio.engine import CloakRequest, Engine
    from ..portfolio.manifest import Manifest
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


def gather(sources: Sequence[Path], failures: list[str]) -> list[tuple[Path, Path]]:
    """All pictures that were named, once each, with their names below what was named; a source
    without any is told as failed."""
    from ..files.artwork import find_artworks
    from ..files.formats import ArtworkError

    tell_passed_over(sources)
    found: list[tuple[Path, Path]] = []
    for source in sources:
        try:
            found += find_artworks([source])
        except ArtworkError as error:
            fail(failures, str(error))
    found = list({source.resolve(): (source, name) for source, name in found[::-1]}.values())
    found.reverse()  # a picture named twice is worked on once, where it was named first
    if not found:
        raise typer.Exit(1)
    return found


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
        task = progress.add_task("Making the style bank", visible=False, note="")

        def on_style(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of, visible=True)

        try:
            return open_engine(request, works, on_style)
        except UnreadableWorksError as error:
            for sentence in error.sentences:
                fail(failures, sentence)
            raise typer.Exit(1) from None


@dataclass(eq=False)
class Workers:
    """A cluster's client, and what its workers open their engines for."""

    client: Any
    request: CloakRequest


@dataclass(eq=False)
class Run:
    """Pictures to cloak or to poison, and how."""

    jobs: Sequence[Job]
    engine: Engine
    manifest: Manifest
    out: Path
    mask: Path | None = None
    resume: bool = False
    batch: int = 1
    workers: Workers | None = None

    def to_the_end(self, failures: list[str]) -> None:
        """Cloak picture after picture; one that fails is named and the rest goes on.

        Raises:
            typer.Exit: with code 1 where anything failed, 130 where the user stopped it.
        """
        from ..portfolio.outputs import reports_folder

        reports: list[dict[str, Any]] = []
        unchanged = left_alone = 0
        with progress_bar() as progress:
            whole = progress.add_task("", total=len(self.jobs), note="")
            outcomes = self._outcomes(progress)
            try:
                for number, outcome in enumerate(outcomes, start=1):
                    progress.update(
                        whole, completed=number, description=f"{number}/{len(self.jobs)}"
                    )
                    if outcome.error is not None:
                        fail(failures, outcome.error)
                    elif outcome.left_alone is not None:
                        left_alone += 1
                        say(outcome.left_alone, "yellow")
                    elif outcome.report is None:
                        unchanged += 1
                    else:
                        reports.append(_for_the_table(outcome.report, outcome.job.name))
                        for sentence in remarks_of(outcome.report, outcome.job.name):
                            say(sentence, "dim")
                        if lost := lost_sentence(outcome.report):
                            say(lost, "yellow")
            except KeyboardInterrupt:
                outcomes.close()
                progress.stop()
                log.print(
                    f"Stopped. {len(reports) + unchanged} of {len(self.jobs)} are saved; nothing "
                    "is half-written. The same command with --resume goes on from here."
                )
                raise typer.Exit(130) from None
        if unchanged:
            results.print(f"Unchanged since an earlier run: {unchanged}.")
        if left_alone:
            results.print(f"Left alone, as you asked: {left_alone}.")
        if reports:
            results.print(results_table(reports))
            folder = reports_folder(self.out)
            what = "Poisoned" if self.engine.poison else "Cloaked"
            where = f"{what} pictures: {named(self.out)}    Reports: {named(folder)}"
            results.print(where, soft_wrap=True, markup=False)
            if self.engine.poison is None and (short := short_sentence(reports)):
                say(short, "yellow")
        if reports or unchanged:
            self._write_page(failures)
        if failures:
            say(f"Failed: {len(failures)}. Everything else is saved.", "bold red")
            raise typer.Exit(1)

    def _outcomes(self, progress: Any) -> Any:
        from ..portfolio.cluster import cloak_on_cluster
        from ..portfolio.run import cloak_portfolio

        if self.workers is not None:
            return cloak_on_cluster(
                self.jobs,
                self.workers.request,
                self.engine,
                self.manifest,
                self.workers.client,
                mask=self.mask,
                resume=self.resume,
            )

        def on_begin(job: Job) -> OnStep:
            for old in progress.task_ids[1:]:
                progress.remove_task(old)
            name = escape(named(job.source.name))
            task = progress.add_task(name, total=None, note="")

            def on_step(step: CloakStep) -> None:
                shift = 1 - float(step.feature_distance[0])
                progress.update(
                    task,
                    completed=step.step,
                    total=step.steps,
                    note=f"shift {shift:.2f}, perceptual {float(step.perceptual[0]):.3f}",
                )

            return on_step

        return cloak_portfolio(
            self.jobs,
            self.engine,
            self.manifest,
            mask=self.mask,
            resume=self.resume,
            batch=self.batch,
            on_begin=on_begin,
        )

    def _write_page(self, failures: Sequence[str]) -> None:
        from ..files.formats import ArtworkError
        from ..portfolio.outputs import reports_folder
        from ..portfolio.page import write_page

        try:
            write_page(reports_folder(self.out), self.manifest, failures)
        except ArtworkError as error:
            say(f"The page of the portfolio: {error}", "yellow")


def _for_the_table(report: dict[str, Any], name: str) -> dict[str, Any]:
    """The part of a report that the table shows, and the picture's name below the output folder; a
    long run keeps no more of it."""
    shown = ("output", "encoded", "shift", "perceptual", "linf", "psnr", "seconds")
    return {"name": name, **{key: report[key] for key in shown if key in report}}
