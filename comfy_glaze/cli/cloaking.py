"""What makes the pictures of a run, and what is shown while it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ..files.formats import named
from .terminal import log, say

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..cloaking.methods import CloakStep, OnStep
    from ..portfolio.engine import CloakRequest, Engine
    from ..portfolio.manifest import Manifest
    from ..portfolio.outcome import Outcome
    from ..portfolio.outputs import Job


@dataclass(eq=False)
class Workers:
    """A cluster's client, and what its workers open their engines for."""

    client: Any
    request: CloakRequest


@dataclass(frozen=True, eq=False)
class Processes:
    """How many processes cloak side by side, and what they open their engines for."""

    count: int
    request: CloakRequest


def processes_for(count: int, request: CloakRequest, engine: Engine) -> Processes | None:
    """What ``--jobs`` asks for; None for one process.

    Raises:
        ValueError: the pictures are cloaked on a GPU.
    """
    if count == 1:
        return None
    if engine.encoder.device.type != "cpu":
        raise ValueError(
            f"Expected --jobs on a CPU, but the device is {engine.encoder.device}; a GPU takes "
            "several pictures of one size together with --batch."
        )
    return Processes(count, request)


@dataclass(eq=False)
class Cloaking:
    """What makes the pictures of a run."""

    engine: Engine
    mask: Path | None = None
    resume: bool = False
    batch: int = 1
    workers: Workers | None = None
    processes: Processes | None = None

    def outcomes(
        self, jobs: Sequence[Job], manifest: Manifest, progress: Progress
    ) -> Iterator[Outcome]:
        """What becomes of each picture; shown as far as it is."""
        from ..portfolio.cluster import cloak_on_cluster
        from ..portfolio.processes import cloak_in_processes
        from ..portfolio.run import cloak_portfolio

        if self.processes is not None:
            count = self.processes.count
            say(
                f"{count} processes, each with the models: {count + 1} times the memory of one.",
                "dim",
            )
            return cloak_in_processes(
                jobs,
                self.processes.request,
                self.engine,
                manifest,
                count,
                mask=self.mask,
                resume=self.resume,
            )
        if self.workers is not None:
            return cloak_on_cluster(
                jobs,
                self.workers.request,
                self.engine,
                manifest,
                self.workers.client,
                mask=self.mask,
                resume=self.resume,
            )
        return cloak_portfolio(
            jobs,
            self.engine,
            manifest,
            mask=self.mask,
            resume=self.resume,
            batch=self.batch,
            on_begin=shown_steps(progress, jobs),
        )


_EVERY = 30.0  # seconds between lines about one picture, where there is no terminal
_NUMBERS_EVERY = 0.1  # seconds: to look at a step's numbers is to wait for the device


def shown_steps(progress: Progress, jobs: Sequence[Job]) -> Callable[[Job], OnStep]:
    """Bars for the picture at hand; where there is no terminal, a line now and then."""
    places = {job: number for number, job in enumerate(jobs, start=1)}

    def on_begin(job: Job) -> OnStep:
        for old in progress.task_ids[1:]:
            progress.remove_task(old)
        name = named(job.source.name)
        task = progress.add_task(escape(name), total=None, note="")
        last, looked = time.monotonic(), float("-inf")
        if not log.is_terminal:
            say(f"{places[job]} of {len(jobs)}: {name}", "dim")

        def on_step(step: CloakStep) -> None:
            nonlocal last, looked
            if step.step < step.steps and time.monotonic() - looked < _NUMBERS_EVERY:
                return
            looked = time.monotonic()
            shift = 1 - float(step.feature_distance[0])
            note = f"shift {shift:.2f}, perceptual {float(step.perceptual[0]):.3f}"
            progress.update(task, completed=step.step, total=step.steps, note=note)
            if not log.is_terminal and time.monotonic() - last > _EVERY:
                last = time.monotonic()
                say(f"{name}: step {step.step} of {step.steps}, {note}", "dim")

        return on_step

    return on_begin
