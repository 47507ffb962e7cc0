"""While a cloak is optimised: progress, a live preview, numbers for the chart, and Stop."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management as mm
import comfy.utils
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image
from server import PromptServer

from ...comfy_glaze.cloaking.measures import Measures
from ...comfy_glaze.cloaking.methods import CloakStep
from ...comfy_glaze.images import to_levels

STEP_EVENT, MEASURED_EVENT = "comfy_glaze.step", "comfy_glaze.measured"
_NUMBERS_EVERY, _PREVIEW_EVERY = 0.1, 0.5  # seconds
_PREVIEW_SIDE = 512  # px


@dataclass(eq=False)
class LiveRun:
    """What the page shows of one node while it optimises pictures, one after the other.

    Attributes:
        node_id: of the node in the graph.
        pictures: how many there are; ``picture`` is the one at work, from 1, or 0 before the first.
        limit: the perceptual limit of the picture at work, or None without one.
    """

    node_id: str | None
    pictures: int
    limit: float | None = None
    picture: int = 0
    _started: float = field(default_factory=time.monotonic)
    _numbers_sent: float = float("-inf")
    _preview_sent: float = float("-inf")
    _bar: Any = None
    _last: dict[str, Any] = field(default_factory=dict)

    def on_step(self, step: CloakStep) -> None:
        """After each step; raises the host's own exception once the user has pressed Stop."""
        mm.throw_exception_if_processing_interrupted()
        now = time.monotonic()
        last = self.picture == self.pictures and step.step == step.steps
        done = (self.picture - 1) * step.steps + step.step
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(self.pictures * step.steps, node_id=self.node_id)
        preview = None
        if last or now - self._preview_sent >= _PREVIEW_EVERY:
            preview, self._preview_sent = (
                ("JPEG", Image.fromarray(to_levels(step.preview()[:1])), _PREVIEW_SIDE),
                now,
            )
        self._bar.update_absolute(done, self.pictures * step.steps, preview)
        ends = step.step in (1, step.steps)  # of a picture: both are always sent
        if ends or now - self._numbers_sent >= _NUMBERS_EVERY:
            left = self.pictures * step.steps - done
            self._last = {
                "node": str(self.node_id),
                "step": step.step,
                "steps": step.steps,
                "picture": self.picture,
                "pictures": self.pictures,
                "shift": 1 - float(step.feature_distance[0]),
                "perceptual": float(step.perceptual[0]) if self.limit is not None else None,
                "limit": self.limit,
                "seconds_left": (now - self._started) / done * left if done > 1 else None,
            }
            self._send(STEP_EVENT)
            self._numbers_sent = now

    def on_result(self, measures: Measures) -> None:
        """After each picture: the chart ends at what the cloak measures as it will be saved, and
        not where the optimiser was."""
        if self._last:
            self._last |= {"shift": measures.shift_512, "perceptual": measures.perceptual}
            self._send(MEASURED_EVENT)

    def _send(self, event: str) -> None:
        server = getattr(PromptServer, "instance", None)
        if server is not None:
            server.send_sync(event, dict(self._last), server.client_id)


def progress(node_id: str | None) -> Callable[[int, int], None]:
    """A plain progress bar for a node, to be called with (done, all)."""
    bars: list[Any] = []

    def on_progress(done: int, of: int) -> None:
        mm.throw_exception_if_processing_interrupted()
        if not bars:
            bars.append(comfy.utils.ProgressBar(of, node_id=node_id))
        bars[0].update_absolute(done, of)

    return on_progress


def blocked() -> Any:
    """In place of an output: what depends on it does not run, and nothing is said about it."""
    return ExecutionBlocker(None)


def running_graph() -> dict[str, Any]:
    """The graph that the host runs now; empty outside a run."""
    running, _ = PromptServer.instance.prompt_queue.get_current_queue_volatile()
    return dict(running[0][2]) if running else {}


def run_again() -> None:
    """Put the graph that runs now into the queue once more, unless the user has pressed Stop."""
    mm.throw_exception_if_processing_interrupted()
    server = PromptServer.instance
    running, _ = server.prompt_queue.get_current_queue_volatile()
    for entry in running[:1]:  # its place in the queue, its name, and all that stays the same
        server.prompt_queue.put((server.number, str(uuid.uuid4()), *entry[2:]))
        server.number += 1


def tell(text: str, node_id: str | None) -> None:
    """A line of text under a node."""
    PromptServer.instance.send_progress_text(text, str(node_id))
