"""A folder in a real host that is killed in the middle, and stopped, and goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..conftest import ARTWORKS
from .conftest import PACK_FOLDER, copy_pack, free_port
from .graphs import rehearsal_graph
from .server import Event, Graph, Server, start_server

PICTURES = 6


@pytest.fixture(scope="module")
def folder_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folders with six small pictures of different sizes and formats."""
    base = tmp_path_factory.mktemp("folder")
    copy_pack(base / "custom_nodes" / PACK_FOLDER)
    for folder in ("input/works/old", "output", "user"):
        (base / folder).mkdir(parents=True)
    harbour = Image.open(ARTWORKS / "harbour.png").convert("RGB")
    for number in range(PICTURES):
        x, y = 380 + 40 * number, 200 + 30 * number
        name = f"{'old/' if number % 2 else ''}{number}.{('png', 'jpg', 'webp')[number % 3]}"
        harbour.crop((x, y, x + 64 + 8 * number, y + 64)).save(base / "input/works" / name)
    return base


@pytest.fixture
def start(host_path: Path, folder_base: Path) -> Iterator[Callable[[], Server]]:
    """Starts the host; whatever is left running is stopped at the end."""
    started: list[Server] = []

    def begin() -> Server:
        started.append(start_server(host_path, folder_base, free_port()))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.stop()


def folder_graph(out: str, steps: int = 8) -> Graph:
    graph = rehearsal_graph("works/")
    graph["target"]["inputs"]["images"] = ["artwork", 3]
    graph["cloak"]["inputs"] |= {"steps": steps, "keep_clear": ["artwork", 1]}
    graph["save"]["inputs"] |= {"filename_prefix": f"{out}/%name%", "resume": True}
    return graph


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("That never came.")


def finish(server: Server, graph: Graph) -> int:
    """Run a graph until it queues itself no more; how many pictures were saved."""
    before = set(server.get("/history"))

    def idle() -> bool:
        queue = server.get("/queue")
        return not queue["queue_running"] and not queue["queue_pending"]

    server.post("/prompt", {"prompt": graph})
    wait_until(idle)
    runs = [run for name, run in server.get("/history").items() if name not in before]
    assert all(run["status"]["status_str"] == "success" for run in runs), runs
    return sum(bool(run["outputs"].get("save", {}).get("glaze")) for run in runs)


def tree(base: Path, out: str) -> dict[str, str]:
    top = base / "output" / out
    files = sorted(path for path in top.rglob("*") if path.is_file())
    return {str(p.relative_to(top)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def finished(base: Path, out: str) -> list[str]:
    """The pictures under their final names."""
    return [name for name in tree(base, out) if ".comfy-glaze-" not in name]


def entries(base: Path, out: str) -> list[dict[str, Any]]:
    path = base / "output" / f"{out}-reports" / "manifest.jsonl"
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "output" in line]


def test_a_host_killed_in_the_middle_goes_on(
    start: Callable[[], Server], folder_base: Path
) -> None:
    server = start()
    assert finish(server, folder_graph("whole")) == PICTURES
    whole = tree(folder_base, "whole")
    assert len(whole) == PICTURES
    assert {entry["output"]["sha256"] for entry in entries(folder_base, "whole")} == set(
        whole.values()
    )
    assert finish(server, folder_graph("whole")) == 0, "there is nothing left to do"

    server.post("/prompt", {"prompt": folder_graph("killed")})
    wait_until(lambda: len(finished(folder_base, "killed")) >= 2)
    server.process.kill()
    server.process.wait()
    done = finished(folder_base, "killed")
    assert 2 <= len(done) < PICTURES
    server = start()
    assert finish(server, folder_graph("killed")) == PICTURES - len(done)
    assert tree(folder_base, "killed") == whole
    reports = folder_base / "output" / "killed-reports"
    assert f"{PICTURES} pictures" in (reports / "index.html").read_text()
    assert not [path for path in reports.rglob("*") if ".comfy-glaze-" in path.name]

    picture = folder_base / "input/works/new.png"
    shutil.copyfile(folder_base / "input/works/0.png", picture)
    assert finish(server, folder_graph("killed")) == 1
    styles = {entry["output"]["file"]: entry for entry in entries(folder_base, "killed")}
    assert len(styles) == PICTURES + 1
    picture.unlink()


def test_a_stopped_folder_goes_on(start: Callable[[], Server], folder_base: Path) -> None:
    server = start()

    def stop_soon(event: Event) -> None:
        if event["type"] == "comfy_glaze.step" and event["data"]["step"] == 1:
            server.post("/interrupt", {})

    run = server.run(folder_graph("stopped", steps=300), stop_soon)
    assert run.end == "execution_interrupted"
    while (queue := server.get("/queue"))["queue_running"]:  # cleared after the page is told
        time.sleep(0.1)
    assert queue["queue_pending"] == []
    assert finished(folder_base, "stopped") == []
    assert finish(server, folder_graph("stopped")) == PICTURES
    finish(server, folder_graph("whole"))
    assert tree(folder_base, "stopped") == tree(folder_base, "whole")
