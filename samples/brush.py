"""A small painter: bristle strokes with paint relief, laid along a direction field.

The way of working follows the layered strokes of A. Hertzmann (SIGGRAPH 1998): broad brushes
first, finer ones where the canvas still differs from the scene. Everything is seeded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]
Points = Sequence[tuple[float, float]]


class Strokes(NamedTuple):
    """A layer of strokes: their width and length in pixels, how densely they lie, how far the scene
    may change under one, how far it must differ for one, and how much their colours vary."""

    size: float
    length: float
    density: float = 1.0
    tol: float = 0.12
    miss: float = 0.0
    jitter: float = 0.03


# --------------------------------------------------------------------------- helpers


def rgb(code: str) -> Array:
    """Turn a six-digit hex colour into floats in 0..1."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def mix(a: Array, b: Array, t: Array | float) -> Array:
    """Blend two colours (or colour fields) by a weight (or weight field)."""
    w = np.asarray(t)[..., None] if np.ndim(t) else np.asarray(t)
    return np.asarray(a + (b - a) * w)


def step(lo: float, hi: float, x: Array) -> Array:
    """Smooth ramp from 0 at ``lo`` to 1 at ``hi``."""
    t = np.clip((x - lo) / (hi - lo), 0, 1)
    return t * t * (3 - 2 * t)


def ramp(t: Array, stops: Sequence[tuple[float, str]]) -> Array:
    """Colour gradient through ``(position, hex)`` stops."""
    at = [s[0] for s in stops]
    cols = np.array([rgb(s[1]) for s in stops])
    return np.stack([np.interp(t, at, cols[:, i]) for i in range(3)], -1)


def noise(
    rng: np.random.Generator, w: int, h: int, sx: float, sy: float, octaves: int = 4
) -> Array:
    """Fractal value noise in about 0..1 with grain ``sx`` by ``sy`` pixels."""
    out, amp = np.zeros((h, w)), 1.0
    for _ in range(octaves):
        gw, gh = max(2, int(w / sx) + 3), max(2, int(h / sy) + 3)
        grid = Image.fromarray(rng.random((gh, gw)).astype(np.float32))
        box = (1.0, 1.0, min(gw, 1 + w / sx), min(gh, 1 + h / sy))
        out += amp * np.asarray(grid.resize((w, h), Image.Resampling.BICUBIC, box), float)
        sx, sy, amp = sx / 2, sy / 2, amp / 2
    return np.asarray((out - out.mean()) / (out.std() * 4) + 0.5)


def blur(img: Array, sigma: float) -> Array:
    """Gaussian blur over the first two axes, edges mirrored."""
    r = int(3 * sigma) + 1
    k = np.exp(-0.5 * (np.arange(-r, r + 1) / sigma) ** 2)
    k /= k.sum()
    for axis in (0, 1):
        pad = [(r, r) if a == axis else (0, 0) for a in range(img.ndim)]
        p, n = np.pad(img, pad, mode="symmetric"), img.shape[axis]
        img = sum(wt * p.take(range(i, i + n), axis) for i, wt in enumerate(k))
    return img


def at(text: str, x: float = 0, y: float = 0) -> list[tuple[float, float]]:
    """Read points from a string like ``"10,20 30,40"``, moved by (x, y)."""
    return [(x + float(a), y + float(b)) for a, b in (p.split(",") for p in text.split())]


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    """Corners of an upright rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def ribbon(one: str, other: str) -> list[tuple[float, float]]:
    """The shape between two curves given as text."""
    return [*curve(at(one)), *reversed(curve(at(other)))]


def curve(pts: Points, closed: bool = False, n: int = 12) -> list[tuple[float, float]]:
    """Catmull-Rom spline through ``pts``."""
    p = np.array(pts, float)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, n, endpoint=False)[:, None]
    out = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        q = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
        q = q + (3 * b - a - 3 * c + d) * t**3
        out += [(float(x), float(y)) for x, y in q / 2]
    return out if closed else [*out, (float(p[-1, 0]), float(p[-1, 1]))]


# --------------------------------------------------------------------------- the painter


class Painter:
    """A canvas of colour and paint height that takes bristle strokes."""

    def __init__(self, rng: np.random.Generator, w: int, h: int, ground: str) -> None:
        """Prime a canvas with a mottled ground colour."""
        self.rng, self.w, self.h = rng, w, h
        self.col = rgb(ground) * (0.9 + 0.2 * noise(rng, w, h, 60, 60)[..., None])
        self.hgt = np.zeros((h, w))
        self.banks: dict[int, list[tuple[Array, Array]]] = {}

    def bank(self, width: float) -> list[tuple[Array, Array]]:
        """Brush marks (coverage, bristle relief) for one brush size; bristles keep their size."""
        key = max(2, round(width))
        if key in self.banks:
            return self.banks[key]
        rows, cols, marks = key * 2 + 4, 128, []
        for _ in range(16):
            hair = noise(self.rng, cols, rows, 70, 4.5, 2)
            v = np.abs(np.linspace(-1, 1, rows))[:, None]
            v = v + 0.25 * (noise(self.rng, cols, rows, 40, 9, 2) - 0.5)
            u = np.linspace(0, 1, cols)[None]
            ragged = 0.10 * (noise(self.rng, 2, rows, 2, 3, 2)[:, :1] - 0.3)
            dry = self.rng.uniform(0.05, 0.6)
            cover = step(0, 0.10, u - ragged - 0.03 * v**2) * step(1.0, 1 - 4 / (key + 4), v)
            cover *= step(-0.15, 0.2, hair - dry * step(0.45, 1.0, u) ** 2 - 0.05)
            cover *= step(1.0, 0.9, u + np.abs(ragged))
            cover[[0, -1]] = 0
            cover[:, [0, -1]] = 0
            relief = hair + 0.5 * step(0.55, 0.9, v) * (v < 0.95) + 0.3 * step(0.6, 0.95, u)
            marks.append((cover, relief))
        self.banks[key] = marks
        return marks

    def stroke(
        self, a: tuple[float, float], b: tuple[float, float], width: float, colour: Array,
        bend: float = 0.0, load: float = 1.0, alpha: float = 1.0, streak: float = 0.045,
    ) -> None:  # fmt: skip
        """Lay one stroke from ``a`` to ``b``; ``bend`` bows it sideways by that many pixels."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        chord = math.hypot(dx, dy) or 1e-6
        dx, dy, size = dx / chord, dy / chord, chord + 0.5 * width
        cx, cy = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
        reach = width / 2 + 1 + abs(bend)
        ex = abs(dx) * size / 2 + abs(dy) * reach + 1
        ey = abs(dy) * size / 2 + abs(dx) * reach + 1
        x0, x1 = max(0, int(cx - ex)), min(self.w, int(cx + ex) + 2)
        y0, y1 = max(0, int(cy - ey)), min(self.h, int(cy + ey) + 2)
        if x0 >= x1 or y0 >= y1:
            return
        xs, ys = np.arange(x0, x1) - cx, (np.arange(y0, y1) - cy)[:, None]
        u = (xs * dx + ys * dy) / size
        v = (ys * dx - xs * dy - bend * (1 - 4 * u * u)) / width
        marks = self.bank(width)
        cover, relief = marks[int(self.rng.integers(len(marks)))]
        iu = np.clip((u + 0.5) * cover.shape[1], 0, cover.shape[1] - 1).astype(int)
        row = np.clip((v + 0.5) * (cover.shape[0] - 1), 0, cover.shape[0] - 1.001)
        iv = row.astype(int)
        row -= iv
        k = (cover[iv, iu] * (1 - row) + cover[iv + 1, iu] * row) * alpha
        r = relief[iv, iu] * (1 - row) + relief[iv + 1, iu] * row
        part, top = self.col[y0:y1, x0:x1], self.hgt[y0:y1, x0:x1]
        part += k[..., None] * (colour + (streak * (r - 0.6))[..., None] - part)
        top += k * (load * r - top)

    def cover(self, ref: Array, angle: Array, strokes: Strokes, where: Array | None = None) -> None:
        """Cover the canvas with strokes that follow ``angle`` and stop where ``ref`` changes."""
        rng, (size, length, density, tol, miss, jitter) = self.rng, strokes
        want = blur(ref, size / 4)
        gap = size * 0.55 / math.sqrt(density)
        gx, gy = np.meshgrid(np.arange(gap / 2, self.w, gap), np.arange(gap / 2, self.h, gap))
        x = np.clip(gx.ravel() + rng.normal(0, gap / 2, gx.size), 0, self.w - 1)
        y = np.clip(gy.ravel() + rng.normal(0, gap / 2, gx.size), 0, self.h - 1)
        i, j = y.astype(int), x.astype(int)
        keep = np.abs(self.col[i, j] - want[i, j]).sum(-1) >= miss
        if where is not None:
            keep &= rng.random(x.size) < where[i, j]
        x, y, i, j = x[keep], y[keep], i[keep], j[keep]
        base = want[i, j]
        ends = []
        reach = length * rng.uniform(0.6, 1.2, x.size)
        for sign in (-1, 1):
            px, py, alive = x.copy(), y.copy(), np.ones(x.size, bool)
            for n in range(8):
                th = angle[py.astype(int), px.astype(int)]
                qx = np.clip(px + sign * np.cos(th) * reach / 16, 0, self.w - 1)
                qy = np.clip(py + sign * np.sin(th) * reach / 16, 0, self.h - 1)
                off = np.abs(want[qy.astype(int), qx.astype(int)] - base).sum(-1) > tol * 3
                alive &= ~off | (n < 1)
                px, py = np.where(alive, qx, px), np.where(alive, qy, py)
            ends.append((px, py))
        tone = rng.normal(0, jitter, (x.size, 1)) + rng.normal(0, jitter * 0.6, (x.size, 3))
        warm = rng.normal(0, jitter * 0.7, x.size)[:, None] * np.array([1.0, 0.1, -1.0])
        colour = np.clip(base + tone + warm, 0, 1)
        order = np.argsort(base.sum(-1) + rng.normal(0, 0.5, x.size))
        wide = size * rng.uniform(0.7, 1.2, x.size)
        (ax, ay), (bx, by) = ends
        for n in order:
            ex, ey = bx[n] - ax[n], by[n] - ay[n]
            span = math.hypot(ex, ey) + 1e-6
            bow = ((x[n] - ax[n]) * -ey + (y[n] - ay[n]) * ex) / span
            bow = float(np.clip(bow + rng.normal(0, 0.04) * span, -0.3 * span, 0.3 * span))
            flip = rng.random() < 0.5
            p, q = (ax[n], ay[n]), (bx[n], by[n])
            p, q, bow = (q, p, -bow) if flip else (p, q, bow)
            self.stroke(p, q, float(wide[n]), colour[n], bow, 0.75 if size > 12 else size / 14)

    def finish(self) -> Image.Image:
        """Light the paint relief from the upper left and give the picture."""
        weave = np.sin(np.arange(self.w) * 2.1)[None] * np.sin(np.arange(self.h) * 2.1)[:, None]
        hgt = blur(self.hgt + 0.05 * weave, 0.7)
        gy, gx = np.gradient(hgt)
        lit = np.clip(0.45 * (gx + 1.2 * gy), -0.12, 0.14)
        out = mix(self.col, self.col**2 * (3 - 2 * self.col), 0.25) * (1 + lit[..., None])
        out = out + 0.10 * np.clip(lit, 0, 1)[..., None]
        return Image.fromarray((np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8))


class Scene:
    """What the painter looks at: colour, stroke direction and where fine brushes are wanted."""

    def __init__(self, colour: Array, angle: Array, fine: Array) -> None:
        """Start from full-size fields of colour, direction and fineness."""
        h, w = angle.shape
        big = Image.fromarray((np.clip(colour, 0, 1) * 255).astype(np.uint8))
        self.img = big.resize((w * 2, h * 2), Image.Resampling.BICUBIC)
        self.ang = Image.fromarray(angle.astype(np.float32))
        self.fin = Image.fromarray(fine.astype(np.float32))
        self.msk = Image.new("L", (w, h))

    def shape(
        self, pts: Points, colour: Array | str, angle: float | None = None, fine: float = 0.6
    ) -> None:
        """Add one flat shape."""
        c = rgb(colour) if isinstance(colour, str) else colour
        fill = tuple(int(v) for v in np.clip(c, 0, 1) * 255)
        ImageDraw.Draw(self.img).polygon([(2 * x, 2 * y) for x, y in pts], fill=fill)
        ImageDraw.Draw(self.fin).polygon(list(pts), fill=fine)
        ImageDraw.Draw(self.msk).polygon(list(pts), fill=255)
        if angle is not None:
            ImageDraw.Draw(self.ang).polygon(list(pts), fill=angle)

    def fields(self) -> tuple[Array, Array, Array]:
        """Colour, direction and fineness as arrays."""
        img = np.asarray(self.img.reduce(2), float) / 255
        return img, np.asarray(self.ang, float), np.asarray(self.fin, float)
