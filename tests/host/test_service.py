"""The recipe for a service, before a real host: a picture in over HTTP, a cloaked file out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfy_glaze.cloaking.budget import PRESETS

from ..conftest import ARTWORKS
from .conftest import ROOT
from .graphs import rehearsal_graph
from .server import Server

SERVICE = ROOT / "samples" / "service"
PATIENCE = 1200  # seconds; a host that shares its processor is slow


def picture(side: int = 64, format: str = "PNG") -> bytes:
    box, buffer = (380, 260, 380 + side, 260 + side), BytesIO()
    Image.open(ARTWORKS / "harbour.png").convert("RGB").crop(box).save(buffer, format)
    return buffer.getvalue()


def largest_change(cloaked: bytes) -> int:
    """In grey levels, against the picture that was sent."""
    sides = [
        np.asarray(Image.open(BytesIO(data)).convert("RGB"), int) for data in (picture(), cloaked)
    ]
    return int(np.abs(sides[0] - sides[1]).max())


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "cloak-api.json"
    path.write_text(json.dumps(rehearsal_graph("harbour.png")))
    return path


@contextmanager
def gateway(server: Server, graph: Path, *words: object) -> Iterator[str]:
    """The door, open; gives its address."""
    command = [sys.executable, str(SERVICE / "gateway.py"), "--workflow", str(graph)]
    command += ["--comfy", server.url, "--port", "0", *map(str, words)]
    found = os.environ | {"PYTHONPATH": str(ROOT)}  # as if the package were installed
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=found) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            yield address
        finally:
            process.kill()


def send(address: str, data: bytes) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, data), timeout=PATIENCE
        ) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def idle(server: Server) -> bool:
    queue = server.get("/queue")
    return not queue["queue_running"] and not queue["queue_pending"]


def outputs(server: Server) -> set[Path]:
    return set((server.base / "output").rglob("*.png"))


def test_the_client_sends_a_picture_and_fetches_its_cloak(
    server: Server, graph: Path, tmp_path: Path
) -> None:
    (tmp_path / "my secret name.png").write_bytes(picture())
    words = ["--server", server.url, "--workflow", graph, "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, SERVICE / "comfy_client.py", *words, tmp_path / "my secret name.png"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    cloaked = (tmp_path / "out" / "my secret name.png").read_bytes()
    assert 0 < largest_change(cloaked) <= round(PRESETS["default"].linf * 255)
    names = [path.name for path in (server.base / "input").glob("glaze-*")]
    sent = [name for name in names if not name.startswith("glaze-sample-")]  # those come along
    assert sent
    assert all(re.fullmatch(r"glaze-[0-9a-f]{32}\.png", name) for name in sent)
    assert not [path for path in server.base.rglob("*secret name*")]


def test_the_door_gives_a_cloak_and_refuses_the_rest(server: Server, graph: Path) -> None:
    with gateway(server, graph, "--max-megabytes", 0.1, "--max-megapixels", 0.01) as door:
        before = outputs(server)
        for path, data, status, words in (
            ("?preset=../../etc/passwd", picture(), 400, b"The preset must be one of"),
            ("/../output", picture(), 404, b"There is only /cloak here."),
            ("", b"no picture at all", 400, b"The picture"),
            ("", picture(128), 413, b"0.01 megapixels"),
            ("", picture() + bytes(200_000), 413, b"100000 bytes"),
            ("", picture(64, "TIFF"), 415, b"png, jpeg, webp"),
            ("", picture()[:200], 400, b"The picture"),
        ):
            assert send(door + path, data)[0] == status
            assert words in send(door + path, data)[1], path
        assert idle(server)
        assert outputs(server) == before
        status, cloaked = send(f"{door}?preset=gallery&source=../secret.png", picture())
        assert status == 200
        assert 0 < largest_change(cloaked) <= round(PRESETS["gallery"].linf * 255)


def test_the_door_keeps_time_and_a_queue(server: Server, graph: Path) -> None:
    slow = json.loads(graph.read_text())
    slow["cloak"]["inputs"]["steps"] = 10_000
    graph.write_text(json.dumps(slow))
    before = outputs(server)
    with gateway(server, graph, "--limit", 12, "--queue", 1) as door:
        first: list[tuple[int, bytes]] = []
        visitor = threading.Thread(target=lambda: first.append(send(door, picture())))
        visitor.start()
        while idle(server):
            time.sleep(0.1)
        status, words = send(door, picture())
        assert (status, words) == (503, b"Too many pictures are waiting; try again later.")
        visitor.join()
        assert first == [(502, b"The picture could not be cloaked.")]
    for _ in range(300):
        if idle(server):
            break
        time.sleep(0.2)
    assert idle(server), "the graph that took too long was not stopped"
    assert outputs(server) == before
