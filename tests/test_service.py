"""The recipe for a service: its client and its door, before a stand-in for ComfyUI's web API."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from .files.test_hostile_files import png

SERVICE = Path(__file__).parent.parent / "samples" / "service"
GRAPH = {
    "1": {"class_type": "GlazeLoadArtwork", "inputs": {"source": "harbour.png"}},
    "2": {"class_type": "GlazeLPIPSBudget", "inputs": {"preset": "default", "limit": 0.05}},
    "3": {"class_type": "GlazeSaveCloaked", "inputs": {"filename_prefix": "cloaked/art"}},
}


def picture(size: int = 48, format: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.full((size, size, 3), 7, np.uint8)).save(buffer, format)
    return buffer.getvalue()


class StandIn(ThreadingHTTPServer):
    """ComfyUI's routes as its documentation gives them; "cloaking" turns a picture upside down."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Routes)
        self.inputs: dict[str, bytes] = {}
        self.graphs: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.mode = "works"  # or: never ends, fails, leaves out

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Routes(BaseHTTPRequestHandler):
    server: StandIn

    def _json(self, answer: Any, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            found = re.search(rb'name="image"; filename="([^"]+)"\r\n.*?\r\n\r\n', body, re.DOTALL)
            assert found
            border = body[: body.index(b"\r\n")]
            name = found[1].decode()
            self.server.inputs[name] = body[found.end() : body.rindex(b"\r\n" + border)]
            self._json({"name": name, "subfolder": "", "type": "input"})
        elif self.path == "/prompt":
            graph = json.loads(body)["prompt"]
            if graph["1"]["inputs"]["source"] not in self.server.inputs:
                self._json({"error": "no such\nfile"}, 400)
                return
            self.server.graphs.append(graph)
            errors = {"3": {"errors": [{"message": "Input is\nmissing", "details": "quality"}]}}
            left_out = {"node_errors": errors if self.server.mode == "leaves out" else {}}
            self._json({"prompt_id": str(len(self.server.graphs) - 1)} | left_out)
        else:
            self.server.deleted += json.loads(body).get("delete", [])
            self._json({})

    def do_GET(self) -> None:
        if self.path.startswith("/history/"):
            number = self.path.rsplit("/")[-1]
            done: dict[str, Any] = {"outputs": {}, "status": {"status_str": "success"}}
            file = {"filename": f"{number}.png", "subfolder": "cloaked", "type": "output"}
            done["outputs"]["3"] = {"images": [file]}
            if self.server.mode == "fails":
                event = ["execution_error", {"exception_message": "out of\nmemory"}]
                done["status"] = {"status_str": "error", "messages": [event]}
            self._json({} if self.server.mode == "never ends" else {number: done})
            return
        assert "filename=0.png&subfolder=cloaked&type=output" in self.path
        data = self.server.inputs[self.server.graphs[0]["1"]["inputs"]["source"]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[::-1])

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def comfy() -> Iterator[StandIn]:
    with StandIn() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def client(folder: Path, comfy: StandIn, *words: object) -> subprocess.CompletedProcess[str]:
    (folder / "graph.json").write_text(json.dumps(GRAPH))
    script = SERVICE / "comfy_client.py"
    given = [
        "--server",
        comfy.address,
        "--workflow",
        folder / "graph.json",
        "--out",
        folder / "out",
    ]
    return run(script, *given, *words)


def test_the_client_sends_a_picture_and_fetches_its_cloak(tmp_path: Path, comfy: StandIn) -> None:
    (tmp_path / "my secret name.png").write_bytes(picture())
    done = client(tmp_path, comfy, tmp_path / "my secret name.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/my secret name.png").read_bytes() == picture()[::-1]
    (name,) = comfy.inputs
    assert re.fullmatch(r"glaze-[0-9a-f]{32}\.png", name)
    assert comfy.graphs[0]["1"]["inputs"] == {"source": name}
    assert comfy.graphs[0]["3"] == GRAPH["3"]
    again = client(tmp_path, comfy, tmp_path / "my secret name.png", tmp_path / "absent.png")
    assert again.returncode == 1
    assert "is there already." in again.stderr
    assert "absent.png" in again.stderr
    assert len(comfy.graphs) == 1


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("fails", "The server could not cloak it: out of memory"),
        ("never ends", "The server took longer than 1 seconds."),
        ("leaves out", "does not take this workflow: Input is missing (quality)."),
    ],
)
def test_what_the_server_says_is_passed_on(
    tmp_path: Path, comfy: StandIn, mode: str, words: str
) -> None:
    comfy.mode = mode
    (tmp_path / "a.png").write_bytes(picture())
    done = client(tmp_path, comfy, tmp_path / "a.png", "--limit", 1)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").iterdir())
    assert comfy.deleted == ([] if mode == "fails" else ["0"])


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"nodes": [], "links": []}, 'must be saved with "Export (API)"'),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "must have one GlazeLoadArtwork and one"),
    ],
)
def test_a_workflow_of_another_kind_is_refused(
    tmp_path: Path, comfy: StandIn, graph: dict[str, Any], words: str
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "other.json").write_text(json.dumps(graph))
    done = client(tmp_path, comfy, tmp_path / "a.png", "--workflow", tmp_path / "other.json")
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


VISIT = """
import json, sys, urllib.request, urllib.error
for kind, url, data, headers in json.load(sys.stdin):
    request = urllib.request.Request(url, bytes.fromhex(data), headers, method=kind)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            print(answer.status, answer.headers["Content-Type"], answer.read().hex())
    except urllib.error.HTTPError as error:
        print(error.code, error.headers["Content-Type"], error.read().hex())
"""


def visit(url: str, *visits: tuple[str, bytes]) -> list[tuple[int, str, bytes]]:
    asked = [("POST", url + path, data.hex(), {}) for path, data in visits]
    words = [sys.executable, "-c", VISIT]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    heads = [(head.split(" ", 1), body) for head, body in lines]
    return [(int(status), kind, bytes.fromhex(body)) for (status, kind), body in heads]


def test_the_door_lets_in_pictures_and_nothing_else(tmp_path: Path, comfy: StandIn) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    limits = [
        "--max-megabytes",
        "0.01",
        "--max-megapixels",
        "0.003",
        "--queue",
        "1",
        "--limit",
        "3",
    ]
    given = ["--workflow", str(tmp_path / "graph.json"), "--comfy", comfy.address, "--port", "0"]
    words = [sys.executable, str(SERVICE / "gateway.py"), *given, *limits]
    root = SERVICE.parent.parent
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=root) as door:
        try:
            assert door.stdout is not None
            address = door.stdout.readline().strip().removesuffix("/cloak")
            assert address.startswith("http://127.0.0.1:")
            first, *others = visit(
                address,
                ("/cloak?preset=gallery&filename_prefix=../../x&source=/etc/passwd", picture()),
                ("/cloak?preset=../../etc", picture()),
                ("/prompt", b"{}"),
                ("/cloak", b"%PDF-1.7" + bytes(50)),
                ("/cloak", picture(60)),
                ("/cloak", bytes(20_000)),
                ("/cloak", picture(format="TIFF")[:7000]),
                ("/cloak", picture()[:-30]),
                ("/cloak", b""),
            )
        finally:
            door.terminate()
    assert first == (200, "image/png", picture()[::-1])
    assert comfy.graphs[0]["2"]["inputs"] == {"preset": "gallery", "limit": 0.05}
    assert comfy.graphs[0]["3"] == GRAPH["3"]
    assert [status for status, _, _ in others] == [400, 404, 400, 413, 413, 415, 400, 413]
    sentences = [body.decode() for _, _, body in others]
    assert sentences[2].startswith("The picture: expected a PNG")
    assert all(sentence.endswith(".") and "/tmp" not in sentence for sentence in sentences)
    assert len(comfy.inputs) == 1


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SERVICE)
    module = importlib.import_module("gateway")
    monkeypatch.delitem(sys.modules, "gateway")
    monkeypatch.delitem(sys.modules, "comfy_client")
    return module


def refusal(gateway: Any, data: bytes, max_megapixels: float = 0.003) -> int:
    """The status with which the door refuses a picture."""
    limits = {"max_bytes": 10**6, "queue": 1, "limit": 1.0}
    with (
        gateway.Gateway(
            ("127.0.0.1", 0), None, {}, max_megapixels=max_megapixels, **limits
        ) as server,
        pytest.raises(gateway.Refusal) as caught,
    ):
        server.check(data)
    assert str(caught.value).endswith(".")
    return int(caught.value.status)


def test_what_is_too_large_or_of_another_kind_is_not_decoded(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(gateway, "load_artwork", decoded)
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    for format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        assert refusal(gateway, picture(60, format)) == 413
    for side in (9000, 60_000, 2**31 - 1):
        assert refusal(gateway, png(side, side, 16, 6, b""), 25) == 413
    for format in ("TIFF", "AVIF"):
        assert refusal(gateway, picture(40, format)) == 415
    assert refusal(gateway, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)) == 415
    for format in ("PNG", "JPEG", "WEBP"):
        assert refusal(gateway, picture(40, format)[:14]) == 400
