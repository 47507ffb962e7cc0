"""Cloak pictures on a ComfyUI of your own, somewhere else: a client of its web API.

    python samples/service/comfy_client.py --server http://studio.local:8188 \\
        --workflow cloak-api.json --out cloaked art1.png art2.jpg

``--workflow`` is a graph saved with "Export (API)" that begins with one Load Artwork and ends with
one Save Cloaked.  Only the standard library is used, so this file can be copied anywhere.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

LOAD, SAVE = "GlazeLoadArtwork", "GlazeSaveCloaked"
MAX_ANSWER = 500_000_000  # bytes of a picture that is fetched


class ServiceError(RuntimeError):
    """What the server refused, in one sentence."""


class Comfy:
    """A ComfyUI server at an address such as ``http://127.0.0.1:8188``."""

    def __init__(self, server: str, timeout: float = 30.0) -> None:
        if not server.startswith(("http://", "https://")):
            raise ServiceError(f"Expected an address that begins with http, but got {server}.")
        self.server, self.timeout = server.rstrip("/"), timeout

    def _ask(self, path: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        headers = {"Content-Type": kind} if data is not None else {}
        request = urllib.request.Request(self.server + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                body: bytes = answer.read(MAX_ANSWER + 1)
        except urllib.error.HTTPError as error:
            said = " ".join(error.read(500).decode("utf-8", "replace").split())
            raise ServiceError(f"{path} was refused with {error.code}: {said}.") from error
        except OSError as error:
            raise ServiceError(f"{self.server} cannot be reached: {error}.") from error
        if len(body) > MAX_ANSWER:
            raise ServiceError(f"{path} gave more than {MAX_ANSWER} bytes.")
        return body

    def upload(self, data: bytes, suffix: str) -> str:
        """Put a picture into the server's input folder; gives the name that it has there.

        The name is a random one, so that neither a path nor a person's file name travels.
        """
        name, border = f"glaze-{secrets.token_hex(16)}{suffix}", secrets.token_hex(16)
        head = f'--{border}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        body = head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data
        body += f"\r\n--{border}--\r\n".encode()
        answer = json.loads(
            self._ask("/upload/image", body, f"multipart/form-data; boundary={border}")
        )
        return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

    def queued(self) -> int:
        """How many graphs are waiting or running."""
        answer = json.loads(self._ask("/queue"))
        return len(answer["queue_running"]) + len(answer["queue_pending"])

    def run(self, graph: dict[str, Any], limit: float) -> list[dict[str, str]]:
        """Run a graph and wait at most ``limit`` seconds; gives the files that were saved.

        One that takes longer is taken out of the queue, or interrupted.
        """
        posted = json.loads(self._ask("/prompt", json.dumps({"prompt": graph}).encode()))
        number, ends = posted["prompt_id"], time.monotonic() + limit
        if reasons := _reasons(posted.get("node_errors") or {}):
            self._cancel(number)
            raise ServiceError(f"The server does not take this workflow: {reasons}.")
        while time.monotonic() < ends:
            found = json.loads(self._ask(f"/history/{number}")).get(number)
            if found is not None:
                return _files_of(graph, found)
            time.sleep(min(1.0, limit / 10))
        self._cancel(number)
        raise ServiceError(f"The server took longer than {limit:g} seconds.")

    def _cancel(self, number: str) -> None:
        self._ask("/queue", json.dumps({"delete": [number]}).encode())
        self._ask("/interrupt", json.dumps({"prompt_id": number}).encode())

    def fetch(self, file: dict[str, str]) -> bytes:
        """The bytes of a saved file."""
        chosen = {key: file.get(key, "") for key in ("filename", "subfolder", "type")}
        return self._ask("/view?" + urllib.parse.urlencode(chosen))

    def cloak(self, data: bytes, suffix: str, graph: dict[str, Any], limit: float) -> bytes:
        """A picture in, its cloaked file out."""
        files = self.run(with_source(graph, self.upload(data, suffix)), limit)
        if len(files) != 1:
            raise ServiceError(f"Expected one saved picture, but got {len(files)}.")
        return self.fetch(files[0])


def with_source(graph: dict[str, Any], source: str) -> dict[str, Any]:
    """A graph whose Load Artwork reads ``source``; the graph that was given stays as it was."""
    loaders = [name for name, node in graph.items() if node.get("class_type") == LOAD]
    savers = [name for name, node in graph.items() if node.get("class_type") == SAVE]
    if len(loaders) != 1 or len(savers) != 1:
        raise ServiceError(
            f"The workflow must have one {LOAD} and one {SAVE}, but it has {len(loaders)} and "
            f"{len(savers)}."
        )
    filled = copy.deepcopy(graph)
    filled[loaders[0]]["inputs"]["source"] = source
    return filled


def _reasons(errors: dict[str, Any]) -> str:
    """Why nodes are left out of a graph that is run all the same."""
    said = [f"{one['message']} ({one['details']})" for e in errors.values() for one in e["errors"]]
    return " ".join("; ".join(said).split())


def _files_of(graph: dict[str, Any], found: dict[str, Any]) -> list[dict[str, str]]:
    status = found.get("status") or {}
    if status.get("status_str") == "error":
        said = [
            event[1].get("exception_message") for event in status.get("messages", []) if event[1]
        ]
        reason = " ".join(str(next((text for text in said if text), "no reason was given")).split())
        raise ServiceError(f"The server could not cloak it: {reason}")
    savers = [name for name, node in graph.items() if node.get("class_type") == SAVE]
    return [file for name in savers for file in found["outputs"].get(name, {}).get("images", [])]


def load_graph(path: Path) -> dict[str, Any]:
    """A workflow in ComfyUI's API format.

    Raises:
        ServiceError: it is none, or one saved for the page and not for the API.
    """
    try:
        graph = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ServiceError(f"{path.name} is no workflow: {error}.") from error
    nodes = (
        isinstance(graph, dict)
        and graph
        and all(isinstance(node, dict) and "class_type" in node for node in graph.values())
    )
    if not nodes:
        raise ServiceError(
            f'{path.name} must be saved with "Export (API)", but it is another kind.'
        )
    return dict(graph)


def main() -> int:
    """Cloak the named pictures; gives the exit code."""
    parser = argparse.ArgumentParser(description="Cloak pictures on a ComfyUI of your own.")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8188")
    parser.add_argument("--workflow", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for each picture")
    words = parser.parse_args()
    failed = 0
    try:
        comfy, graph = Comfy(words.server), load_graph(words.workflow)
        words.out.mkdir(parents=True, exist_ok=True)
    except (ServiceError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for picture in words.pictures:
        target = words.out / picture.name
        try:
            if target.exists():
                raise ServiceError(f"{target} is there already.")
            cloaked = comfy.cloak(picture.read_bytes(), picture.suffix.lower(), graph, words.limit)
            half = target.with_name(f".{target.name}.part")
            half.write_bytes(cloaked)
            os.replace(half, target)
            print(target)
        except (ServiceError, OSError, KeyError, ValueError) as error:
            failed += 1
            print(f"Failed: {picture}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
