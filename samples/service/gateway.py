"""A door for the public in front of a ComfyUI that nobody else can reach.

    python samples/service/gateway.py --workflow cloak-api.json --port 8080

``POST /cloak`` with a picture as the body gives the cloaked picture; ``?preset=gallery`` chooses
how much may change.  What a public service must limit is limited here: the bytes and the pixels of
a picture, how many wait, how long one takes, and what a client may say at all: no path, no name,
no graph.  Put a web server with TLS and a rate limit before it (docs/service.md).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import threading
import urllib.parse
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from comfy_client import Comfy, ServiceError, load_graph
from PIL import Image

from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.files.formats import FORMATS, ArtworkError, read_file
from comfy_glaze.files.reading import strict_pillow

PRESETS = ("gallery", "default", "strong")
PASSED_OVER = 1_000_000  # bytes of a refused upload that are read, and dropped
DIGITS = 12  # of a length; Python refuses to read numbers of thousands
KINDS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class Refusal(Exception):
    """A status code of HTTP, and the sentence that goes with it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Gateway(ThreadingHTTPServer):
    """The door, and its limits."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        comfy: Comfy,
        graph: dict[str, Any],
        *,
        max_bytes: int,
        max_megapixels: float,
        queue: int,
        limit: float,
    ) -> None:
        super().__init__(address, Door)
        self.comfy, self.graph = comfy, graph
        self.max_bytes, self.max_megapixels, self.limit = max_bytes, max_megapixels, limit
        self.places = threading.BoundedSemaphore(queue)

    def graph_for(self, preset: str) -> dict[str, Any]:
        """The one graph there is, with one of the presets."""
        if preset not in PRESETS:
            raise Refusal(400, f"The preset must be one of {', '.join(PRESETS)}.")
        return {
            name: {**node, "inputs": {**node["inputs"], "preset": preset}}
            if node["class_type"] == "GlazeLPIPSBudget"
            else node
            for name, node in self.graph.items()
        }

    def check(self, data: bytes) -> str:
        """The picture's format; it is decoded here before it goes any further.

        Its kind and size are told by its first bytes: what may not come in is not decoded.
        """
        shown_as = Path("The picture")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture")
            path.write_bytes(data)
            try:
                _, kind = read_file(path, shown_as)
                if kind in FORMATS and megapixels_of(data, kind) > self.max_megapixels:
                    limit = f"{self.max_megapixels:g} megapixels"
                    raise Refusal(413, f"A picture may have {limit} at most.")
                if kind not in KINDS:
                    raise Refusal(415, f"The picture must be one of {', '.join(KINDS)}.")
                return load_artwork(path, shown_as).format
            except ArtworkError as error:
                raise Refusal(400, str(error)) from error


def megapixels_of(data: bytes, kind: str) -> float:
    """The size that a picture's header tells, infinite if it is beyond what Pillow opens.

    Raises:
        ArtworkError: it has no header that can be read.
    """
    try:
        with strict_pillow(), Image.open(BytesIO(data), formats=[kind.upper()]) as picture:
            return picture.width * picture.height / 1e6
    except Image.DecompressionBombError:
        return math.inf
    except Exception as error:  # decoders raise whatever they trip over in a broken file
        expected = f"a whole {kind.upper()} file"
        sentence = f"The picture: expected {expected}, but it is broken or cut short."
        raise ArtworkError(sentence) from error


class Door(BaseHTTPRequestHandler):
    """One visitor."""

    server: Gateway
    timeout = 60  # seconds that a client may be silent
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.close_connection = True
        self.unread = True
        try:
            body, format = self._cloaked()
        except Refusal as refusal:
            self._pass_over()
            self._answer(refusal.status, "text/plain; charset=utf-8", str(refusal).encode())
        except (ServiceError, OSError, KeyError, ValueError) as error:
            print(f"failed: {error}", file=sys.stderr)  # for the owner, not for the visitor
            self._answer(502, "text/plain; charset=utf-8", b"The picture could not be cloaked.")
        else:
            self._answer(200, KINDS[format], body)

    def _cloaked(self) -> tuple[bytes, str]:
        server, asked = self.server, urllib.parse.urlsplit(self.path)
        if asked.path != "/cloak":
            raise Refusal(404, "There is only /cloak here.")
        words = urllib.parse.parse_qs(asked.query)
        graph = server.graph_for(words.get("preset", ["default"])[0])
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refusal(411, "The picture's length must be told.")
        if len(length) > DIGITS or not 0 < int(length) <= server.max_bytes:
            raise Refusal(413, f"A picture may have {server.max_bytes} bytes at most.")
        if not server.places.acquire(blocking=False):
            raise Refusal(503, "Too many pictures are waiting; try again later.")
        try:
            self.unread = False
            data = self.rfile.read(int(length))
            if len(data) < int(length):
                raise Refusal(400, "The picture was cut short.")
            format = server.check(data)
            return server.comfy.cloak(data, FORMATS[format][0], graph, server.limit), format
        finally:
            server.places.release()

    def _pass_over(self) -> None:
        """Take what a client is still sending, if it is little: one that is cut off in the middle
        sees a broken connection and not the answer."""
        length = self.headers.get("Content-Length", "")
        if self.unread and length.isdecimal():
            with suppress(OSError):
                self.connection.settimeout(2)
                self.rfile.read(min(int(length[:DIGITS]), PASSED_OVER))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if status == 503:
            self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is kept about visitors."""


def main() -> int:
    """Open the door; gives the exit code."""
    parser = argparse.ArgumentParser(description="A door in front of a ComfyUI of your own.")
    parser.add_argument("--workflow", type=Path, required=True)
    parser.add_argument("--comfy", default="http://127.0.0.1:8188")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--max-megabytes", type=float, default=40.0)
    parser.add_argument("--max-megapixels", type=float, default=25.0)
    parser.add_argument("--queue", type=int, default=8, help="pictures that may wait")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for each picture")
    words = parser.parse_args()
    try:
        gateway = Gateway(
            (words.host, words.port),
            Comfy(words.comfy),
            load_graph(words.workflow),
            max_bytes=int(words.max_megabytes * 1e6),
            max_megapixels=words.max_megapixels,
            queue=words.queue,
            limit=words.limit,
        )
    except (ServiceError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"http://{words.host}:{gateway.server_address[1]}/cloak", flush=True)
    gateway.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
