"""A portfolio in several processes of one computer: for CPUs, which one picture does not fill.

Each process opens an engine of its own, so memory grows with their number, and takes its share of
the processor's threads.  As on a cluster, processes write under temporary names, and this one alone
keeps the manifest and lets finished files take their places.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import torch

from ..files.artwork import load_artwork
from ..files.atomic import remove_leftovers
from ..files.formats import named
from .cluster import own_engine
from .engine import CloakRequest, Engine
from .few_colours import LeftAlone
from .manifest import Manifest
from .outcome import Outcome
from .outputs import Job, unchanged
from .run import cloak_and_stage, sentence_of
from .saving import StagedFiles


def cloak_in_processes(
    jobs: Sequence[Job],
    request: CloakRequest,
    engine: Engine,
    manifest: Manifest,
    count: int,
    *,
    mask: Path | None = None,
    resume: bool = False,
) -> Iterator[Outcome]:
    """Like :func:`comfy_glaze.portfolio.run.cloak_portfolio`, in ``count`` processes.

    Where a process dies, as for lack of memory, the pictures in hand are told as failed, and the
    others are done in half as many processes.

    Args:
        request: what ``engine`` was opened for, for the processes' own.
    """
    settings = engine.fingerprint(mask)
    chosen = replace(request, style=replace(request.style, chosen=engine.target))
    waiting = deque[Job]()
    for job in jobs:
        if resume and unchanged(job, manifest, settings):
            yield Outcome(job)
        else:
            waiting.append(job)
    try:
        while waiting:
            yield from _until_broken(waiting, chosen, mask, min(count, len(waiting)), manifest)
            count = max(1, count // 2)
    finally:
        folders = {job.target.parent for job in jobs} | {job.report_stem.parent for job in jobs}
        for folder in folders:
            remove_leftovers(folder)


def _until_broken(
    waiting: deque[Job], request: CloakRequest, mask: Path | None, count: int, manifest: Manifest
) -> Iterator[Outcome]:
    """Cloak what is waiting, until nothing is or a process has died."""
    threads = max(1, torch.get_num_threads() // count)
    context = multiprocessing.get_context("spawn")  # a fork of threads at work may hang
    running: dict[Future[StagedFiles], Job] = {}
    with ProcessPoolExecutor(count, context, _begin, (threads,)) as pool:
        broken = False
        try:
            while running or (waiting and not broken):
                while waiting and len(running) < count and not broken:
                    try:
                        running[pool.submit(_cloak, waiting[0], request, mask)] = waiting[0]
                    except BrokenProcessPool:  # one died since, with a picture in hand or none
                        broken = True
                    else:
                        waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for task in done:
                    job = running.pop(task)
                    broken = broken or isinstance(task.exception(), BrokenProcessPool)
                    yield _outcome_of(task, job, manifest)
        except BaseException:  # stopped: the pool would wait for the pictures in hand
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _outcome_of(task: Future[StagedFiles], job: Job, manifest: Manifest) -> Outcome:
    try:
        return Outcome(job, task.result().publish(manifest))
    except LeftAlone as left:
        return Outcome(job, left_alone=str(left))
    except BrokenProcessPool:
        return Outcome(
            job,
            error=f"{named(job.source)}: one of the processes ended before its time, as for lack "
            "of memory; take fewer --jobs, and --resume.",
        )
    except Exception as error:
        return Outcome(job, error=sentence_of(error, job.source))


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    torch.set_num_threads(threads)


def _cloak(job: Job, request: CloakRequest, mask: Path | None) -> StagedFiles:
    engine = own_engine(request)
    return cloak_and_stage(job, load_artwork(job.source, held=True), engine, mask)
