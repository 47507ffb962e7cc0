"""A portfolio on several machines or GPUs, on dask.distributed (the extra ``cluster``).

Each worker opens an engine of its own once and keeps it.  Workers write a picture and its reports
under temporary names, on a disk that all of them share; this process alone keeps the manifest and
lets finished files take their places.  So a worker may die at any moment: its picture is given to
another one, and what it left half-written is cleared away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..files.artwork import load_artwork
from ..files.atomic import remove_leftovers
from ..optional import PackageError, import_optional
from .engine import CloakRequest, Engine, open_engine
from .few_colours import LeftAlone
from .manifest import Manifest
from .outcome import Outcome
from .outputs import Job, unchanged
from .run import cloak_and_stage, sentence_of
from .saving import StagedFiles

RETRIES = 2  # of a picture whose worker failed
_AHEAD = 2  # pictures given to each worker: one to work on, one to begin with at once


class ClusterError(ValueError):
    """The scheduler cannot be had; one sentence."""


@lru_cache(maxsize=1)
def own_engine(request: CloakRequest) -> Engine:
    """The worker's own engine, opened for its first picture."""
    return open_engine(request)


def cloak_on_worker(
    job: Job, request: CloakRequest, mask: Path | None, threads: int
) -> StagedFiles:
    """What a worker does with one picture; the engine stays open for the next.

    Args:
        request: with the target style that is chosen already.
        threads: of the processor, as in the run's own process, so that the bytes are the same.
    """
    from distributed import get_worker

    device, name = request.models.device, get_worker().name
    if device == "auto" and isinstance(name, int) and torch.cuda.device_count() > 1:
        models = replace(request.models, device=f"cuda:{name % torch.cuda.device_count()}")
        request = replace(request, models=models)
    torch.set_num_threads(threads)  # counts for this thread, so it is said each time
    engine = own_engine(request)
    return cloak_and_stage(job, load_artwork(job.source, held=True), engine, mask)


def connect(address: str) -> Any:
    """A client of the scheduler at ``tcp://HOST:PORT``, or of a new one for ``local[:N]``.

    ``local`` is one worker for each GPU, or one for each of this machine's cores over the threads
    that a worker uses.

    Raises:
        ClusterError: dask is missing or broken, or there is no scheduler.
    """
    try:
        distributed = import_optional("distributed", "distributed", "comfy-glaze[cluster]")
    except PackageError as error:
        raise ClusterError(f"--cluster needs {error}.") from error
    kind, _, count = address.partition(":")
    try:
        if kind != "local":
            return distributed.Client(address, timeout=10)
        if count and not (count.isdecimal() and int(count)):
            raise ValueError("after local: stands a number of workers")
        cores = max(1, (os.cpu_count() or 1) // torch.get_num_threads())
        workers = int(count) if count else torch.cuda.device_count() or cores
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None
        )
        return distributed.Client(cluster)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ClusterError(f"No cluster at {address}: {reason}.") from error


def cloak_on_cluster(
    jobs: Sequence[Job],
    request: CloakRequest,
    engine: Engine,
    manifest: Manifest,
    client: Any,
    *,
    mask: Path | None = None,
    resume: bool = False,
) -> Iterator[Outcome]:
    """Like :func:`comfy_glaze.portfolio.run.cloak_portfolio`, on a cluster's workers.

    Args:
        request: what ``engine`` was opened for, for the workers' own.
        client: from :func:`connect`; it is closed at the end.
    """
    from distributed import as_completed

    settings = engine.fingerprint(mask)
    chosen = replace(request, style=replace(request.style, chosen=engine.target))
    threads = torch.get_num_threads()
    waiting = iter(jobs)
    running: dict[Any, Job] = {}
    done = as_completed()

    def give_out() -> Iterator[Outcome]:
        """Keep every worker busy, and no more: results wait on the disk, not in memory."""
        workers = max(1, len(client.scheduler_info()["workers"]))
        while len(running) < _AHEAD * workers and (job := next(waiting, None)) is not None:
            if resume and unchanged(job, manifest, settings):
                yield Outcome(job)
                continue
            task = client.submit(
                cloak_on_worker, job, chosen, mask, threads, pure=False, retries=RETRIES
            )
            running[task] = job
            done.add(task)

    try:
        yield from give_out()
        while running:
            task = next(done)
            yield _outcome_of(task, running.pop(task), manifest, settings)
            yield from give_out()
    finally:
        for task in running:
            task.cancel()
        with suppress(Exception):
            cluster = client.cluster
            client.close()
            if cluster is not None:
                cluster.close()
        for folder in {job.target.parent for job in jobs} | {
            job.report_stem.parent for job in jobs
        }:
            remove_leftovers(folder)


def _outcome_of(task: Any, job: Job, manifest: Manifest, settings: str) -> Outcome:
    try:
        staged: StagedFiles = task.result()
        if staged.settings != settings:
            staged.discard()
            raise ClusterError(
                "The worker must have the weights of the machine that began the run, but it has "
                "others by the same name."
            )
        return Outcome(job, staged.publish(manifest))
    except LeftAlone as left:
        return Outcome(job, left_alone=str(left))
    except Exception as error:
        return Outcome(job, error=sentence_of(error, job.source))
