"""The pen drawing: lines and hatching only, no washes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from brush import Array, Points, at, box, curve, noise, rgb, ribbon, step
from PIL import Image, ImageDraw


class Pen:
    """A dip pen on paper: wobbly, swelling lines and hatching inside masks."""

    def __init__(self, rng: np.random.Generator, size: int, k: int = 3) -> None:
        """Take a fresh sheet, drawn ``k`` times too large for smooth lines."""
        self.rng, self.size, self.k = rng, size, k
        self.img = Image.new("L", (size * k, size * k), 255)
        self.draw = ImageDraw.Draw(self.img)

    def line(self, pts: Points, width: float = 1.5, wobble: float = 0.5) -> None:
        """One pen line through ``pts``, thin at its ends."""
        p = np.array(pts, float)
        d = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
        n = max(3, int(d[-1] / 3))
        t = np.linspace(0, d[-1], n)
        w = np.stack([np.interp(t, d, p[:, 0]), np.interp(t, d, p[:, 1])], -1)
        knots = np.arange(0, n + 6, 6)
        w += 0.7 * np.interp(np.arange(n), knots, self.rng.normal(0, wobble, len(knots)))[:, None]
        press = width * (0.45 + 0.55 * np.sin(np.linspace(0.15, math.pi - 0.15, n)) ** 0.5)
        press *= 1 + 0.15 * self.rng.normal()
        dots = [(float(x), float(y)) for x, y in w * self.k]
        for a, b, c in zip(dots, dots[1:], press * self.k, strict=False):
            self.draw.line([a, b], fill=30, width=max(1, round(c)))

    def hatch(
        self,
        pts: Points,
        tone: Callable[[Array, Array], Array] | float,
        angle: float,
        gap: float = 4.0,
        width: float = 1.0,
    ) -> None:
        """Hatch a shape; darker tones get a second and third direction."""
        m = Image.new("1", (self.size, self.size))
        ImageDraw.Draw(m).polygon(list(pts), fill=1)
        mask = np.asarray(m)
        lo, hi = np.min(pts, 0), np.max(pts, 0)
        mid, half = (lo + hi) / 2, float(np.hypot(*(hi - lo))) / 2 + 2
        for turn, least in ((0.0, 0.15), (0.9, 0.5), (0.45, 0.78)):
            c, s = math.cos(angle + turn), math.sin(angle + turn)
            for v in np.arange(-half, half, gap):
                u = np.arange(-half, half, 2.5)
                off = v + self.rng.normal(0, gap * 0.12) + u * self.rng.normal(0, 0.012)
                x, y = mid[0] + u * c - off * s, mid[1] + u * s + off * c
                i, j = y.round().astype(int), x.round().astype(int)
                ok = (i >= 0) & (j >= 0) & (i < self.size) & (j < self.size)
                ok[ok] = mask[i[ok], j[ok]]
                px, py = np.clip(x, 0, self.size - 1), np.clip(y, 0, self.size - 1)
                dark = tone(px, py) if callable(tone) else np.full(len(x), tone)
                ok &= dark + self.rng.normal(0, 0.05) > least
                edge = np.flatnonzero(np.diff(np.concatenate([[0], ok.astype(int), [0]])))
                for a, b in zip(edge[::2], edge[1::2], strict=True):
                    if b - a > 2:
                        self.line([(x[a], y[a]), (x[b - 1], y[b - 1])], width, 0.25)

    def shape(
        self, pts: Points, width: float = 1.6, paper: bool = True, closed: bool = True
    ) -> None:
        """Clear a shape to bare paper and outline it."""
        if paper:
            self.draw.polygon([(x * self.k, y * self.k) for x, y in pts], fill=255)
        self.line([*pts, pts[0]] if closed else pts, width)


def foliage(pen: Pen, x: float, y: float, r: float, base: float) -> None:
    """One clump of leaves, lit from the upper left; ``base`` is its darkness in the crown."""
    rng = pen.rng
    n = max(7, int(r / 3))
    th = np.arange(n) * 2 * math.pi / n + rng.normal(0, 0.12, n)
    far = r * rng.uniform(0.8, 1.12, n)
    rim = [(x + 1.2 * q * math.cos(t), y + q * math.sin(t)) for q, t in zip(far, th, strict=True)]
    edge = curve(rim, True, 6)
    pen.draw.polygon([(u * pen.k, v * pen.k) for u, v in edge], fill=255)
    pen.hatch(edge, lambda u, v: base + ((u - x) * 0.5 + (v - y) * 0.8) / r * 0.42, 0.95, 3.4, 0.9)
    for (a, b), (c, d) in zip(rim, [*rim[1:], rim[0]], strict=True):
        mx, my, f = (a + c) / 2, (b + d) / 2, 1 + rng.uniform(0.12, 0.34)
        if rng.random() < 0.62 + 0.4 * base + 0.25 * (my - y) / r:
            bulge = (x + (mx - x) * f, y + (my - y) * f)
            pen.line(curve([(a, b), bulge, (c, d)]), 1.0 + 0.8 * base, 0.3)
    for _ in range(int(r * 0.8)):
        t, q = rng.uniform(0, 2 * math.pi), r * math.sqrt(rng.random()) * 0.9
        u, v, s = x + 1.2 * q * math.cos(t), y + q * math.sin(t), rng.uniform(2.0, 4.2)
        if rng.random() < 0.25 + base + 0.5 * ((u - x) + (v - y)) / r:
            leaf = at("-1,0 -0.2,0.9 0.6,0.2 1.3,0.5")
            pen.line(curve([(u + s * a, v + s * b) for a, b in leaf]), 1.2, 0.2)


def hillside(tone: float, x: Array, y: Array) -> Array:
    """Tone of a hill that fades downwards."""
    return np.asarray(tone + 0.1 * np.sin(x / 47) - 0.002 * (y - 380))


def ink() -> Image.Image:
    """A cottage under an old oak, drawn with the pen."""
    size = 768
    rng = np.random.default_rng(11)
    pen = Pen(rng, size)
    # sky: broken level lines, left open for clouds
    yy, xx = np.mgrid[0:size, 0:size].astype(float)
    air = 0.30 - yy / 1100 + 0.9 * (noise(rng, size, size, 150, 70, 4) - 0.5)
    for cx, cy, cw, ch in ((190, 156, 120, 40), (330, 92, 100, 24), (90, 262, 90, 20)):
        air -= 0.5 * np.exp(-(((xx - cx) / cw) ** 2) - ((yy - cy) / ch) ** 2)
    air = np.minimum(air, 0.34)
    pen.hatch(box(30, 34, 738, 300), lambda x, y: air[y.astype(int), x.astype(int)], 0.015, 7, 0.9)
    # hills
    for text, tone, ang in (
        (
            "30,372 110,330 190,310 280,330 360,352 470,330 600,352 738,330 738,470 30,470",
            0.24,
            -0.5,
        ),
        ("30,410 120,380 230,392 350,410 480,384 620,402 738,386 738,500 30,500", 0.3, 0.35),
    ):
        hill = [*curve(at(text)[:-2]), *at(text)[-2:]]
        pen.shape(hill, 1.2, closed=False)
        fade = partial(hillside, tone)
        pen.hatch(hill, fade, ang, 7, 0.8)
    for n in range(26):
        x = 44 + n * 11 + rng.normal(0, 3)
        y = 400 + 8 * math.sin(x / 50)
        r = rng.uniform(6, 12)
        pen.hatch(
            curve([(x - r, y), (x, y - 2 * r), (x + r, y), (x, y + 3)], True), 0.6, 1.2, 3, 0.9
        )
    ground = [*curve(at("30,470 150,452 300,462 460,470 600,462 738,476")), (738, 738), (30, 738)]
    pen.shape(ground, 1.2, closed=False)
    # cottage: gable wall, front wall, thatch, chimney, windows, door
    gable, front = (
        at("150,400 196,318 244,392 244,492 150,484"),
        at("244,392 436,396 436,496 244,492"),
    )
    eaves = ("180,304 290,298 402,304", "402,304 436,350 456,402", "456,402 340,412 238,402")
    roof = [p for edge in (*eaves, "238,402 214,350 180,304") for p in curve(at(edge))]
    pen.shape(gable)
    pen.shape(front)
    pen.hatch(front, lambda x, y: 0.62 - (y - 396) / 130, 1.57, 4, 0.9)
    pen.hatch(front, lambda x, y: 0.22 + 0 * x, -0.6, 7, 0.8)
    chimney = at("346,262 380,262 380,318 346,316")
    pen.shape(chimney)
    pen.hatch(at("362,262 380,262 380,318 362,316"), 0.6, 0.2, 3.4)
    pen.shape(at("341,254 385,254 385,264 341,264"))
    pen.shape(roof, 1.9)
    for row in range(9):
        for n in range(34):
            u, v = (n + rng.uniform(-0.4, 0.4)) / 34, (row + rng.uniform(0, 0.7)) / 9
            x = 184 + 218 * u + v * (54 + 4 * u)
            y = 304 + 98 * v
            if rng.random() < 0.45 + 0.5 * u:
                pen.line([(x, y), (x + 6 + 2 * u, y + rng.uniform(9, 15))], 1.1, 0.3)
    inner = "158,410 176,362 196,322 216,360 242,404"
    pen.shape(ribbon("150,404 172,352 196,306 222,350 250,410", inner), 1.5)
    for x0, y0, x1, y1 in ((182, 416, 210, 448), (272, 424, 306, 456), (386, 426, 418, 458)):
        pen.shape(box(x0, y0, x1, y1), 1.8)
        pen.hatch(box(x0, y0, x1, y1), 0.85, 0.7, 3, 1.0)
        mx, my = (x0 + x1) / 2, (y0 + y1) / 2
        for bar in ([(mx, y0), (mx, y1)], [(x0, my), (x1, my)]):
            pen.draw.line([(u * 3, v * 3) for u, v in bar], fill=255, width=8)
        pen.shape(box(x0 - 4, y1, x1 + 4, y1 + 5))
    door = [*curve(at("328,494 328,440 346,424 364,440 364,495"))]
    pen.shape(door, 1.9)
    pen.hatch(door, 0.6, 1.57, 4.2, 1.1)
    for _ in range(16):
        x, y = rng.uniform(156, 236), rng.uniform(400, 478)
        if not (176 < x < 216 and 408 < y < 458):
            pen.shape(curve([(x - 7, y), (x, y - 4), (x + 7, y), (x, y + 4)], True), 0.9, False)
    for n in range(4):
        m = np.arange(9 - n % 2)
        drift = 363 + 5 * np.sin(0.9 * m + 0.5 * n) * m / 3 - m * (3 - n)
        pen.line(curve(list(zip(drift, 250 - 15 * m, strict=True))), 1.1, 0.2)
    # path and fence
    left = curve(at("330,496 316,530 346,574 300,640 210,738"))
    right = curve(at("366,497 372,530 420,574 420,640 400,738"))
    pen.draw.polygon([(x * 3, y * 3) for x, y in [*left, *reversed(right)]], fill=255)
    pen.line(left, 1.4, 0.9)
    pen.line(right, 1.4, 0.9)
    for _ in range(46):
        t = rng.random() ** 0.7
        a, b = left[int(t * (len(left) - 1))], right[int(t * (len(right) - 1))]
        u, s = rng.uniform(0.1, 0.9), 3 + 9 * t
        x, y = a[0] + (b[0] - a[0]) * u, a[1] + (b[1] - a[1]) * u
        pen.line(curve([(x - s, y), (x, y - s * 0.25), (x + s, y)]), 1.0, 0.3)
    for n in range(9):
        x, y = 44 + 30 * n, 560 - 4.5 * n + rng.normal(0, 1.5)
        if n < 8:
            for up in (16, 36):
                pen.shape(at("0,0 32,-4 32,1 0,5", x, y - up), 1.2)
        pen.shape(at("-5,0 -5,-46 0,-54 5,-46 5,0", x, y), 1.6)
        pen.hatch(at("0,0 0,-50 5,-46 5,0", x, y), 0.4, 1.57, 3)
    # shadows on the meadow, then the oak
    pen.hatch(curve(at("436,494 520,498 566,508 520,518 424,510"), True), 0.6, 0.1, 3.6, 1.0)
    shade = curve(at("600,640 680,618 734,622 736,672 690,690 600,672 520,650"), True)
    pen.hatch(shade, 0.55, 0.06, 4, 1.0)
    bark = (
        "530,646 556,600 562,520 554,450 534,400 506,340 468,272",
        "468,272 480,268 520,328 552,378 562,372 558,330 556,250",
        "556,250 574,250 580,320 590,368 612,320 640,262",
        "640,262 654,268 632,330 616,394 610,450 614,520 626,584 650,622 696,644",
        "696,644 650,638 620,652 590,640 560,652 530,646",
    )
    trunk = [p for part in bark for p in curve(at(part))]
    pen.shape(trunk, 1.9)

    def bole(x: Array, y: Array) -> Array:
        round_ = (x - 552) / 92 * step(330, 430, y)
        return 0.1 + 0.45 * step(430, 350, y) + round_ + 0.05 * np.sin(y / 9)

    pen.hatch(trunk, bole, 1.4, 4, 1.1)
    for _ in range(54):
        x, y = rng.uniform(562, 612), rng.uniform(400, 600)
        mid, end = (x + rng.normal(0, 2), y + 9), (x + rng.normal(0, 2), y + rng.uniform(16, 30))
        pen.line(curve([(x, y), mid, end]), 1.1)
    pen.shape(curve(at("578,470 590,462 602,472 600,494 586,500 578,486"), True), 1.4)
    hollow = curve(at("580,472 590,465 600,474 598,492 586,497 580,486"), True)
    pen.hatch(hollow, 0.95, 0.5, 2.2, 1.3)
    clumps = []
    for _ in range(95):
        t, q = rng.uniform(0, 2 * math.pi), rng.random() ** 0.55
        wide = 1 + 0.10 * math.sin(3 * t + 1) + 0.07 * math.sin(5 * t)
        x, y = 572 + 146 * wide * q * math.cos(t), 208 + 122 * wide * q * math.sin(t)
        if y > 290 and 535 < x < 625:
            continue  # a gap that shows the limbs
        clumps.append((q + 0.25 * rng.random(), x, y, rng.uniform(15, 33)))
    for _, x, y, r in sorted(clumps, reverse=True):
        foliage(pen, x, y, r, 0.24 + (x - 572) / 800 + (y - 208) / 520)

    def open_ground(x: float, y: float) -> bool:
        i = int(np.argmin([abs(q[1] - y) for q in left]))
        path = left[i][0] - 13 < x < right[i][0] + 13
        return not (path or (y < 575 and x < 310) or (y < 645 and 530 < x < 680))

    # meadow: short dashes far away, tufts and stems near by
    for _ in range(240):
        x, t = rng.uniform(34, 734), rng.random() ** 1.5
        y, s = 484 + 230 * t, 4 + 12 * rng.random()
        if open_ground(x, y):
            pen.line([(x - s, y), (x + s, y + rng.normal(0, 1))], 0.9, 0.4)
    for n in range(300):
        y = 496 + 236 * (n / 300) ** 0.9
        x = rng.uniform(34, 734)
        t = (y - 480) / 258
        if not open_ground(x, y):
            continue
        for blade in range(int(rng.integers(3, 6))):
            lean = rng.normal(0, 6) * (0.4 + t)
            u = x + (blade - 2) * (2 + 4 * t) + rng.normal(0, 2)
            tip = (u + lean, y - (7 + 15 * t) * rng.uniform(0.6, 1.3))
            mid = (u + lean * 0.3, (y + tip[1]) / 2 - 2)
            pen.line(curve([(u, y), mid, tip]), 0.9 + 0.5 * t, 0.2)
    for _ in range(34):
        x = rng.choice([rng.uniform(34, 190), rng.uniform(470, 734)])
        tall, lean = rng.uniform(40, 110) * (0.5 + 0.5 * abs(x - 384) / 350), rng.normal(0, 14)
        tip = (x + lean, 736 - tall)
        pen.line(curve([(x, 740), (x + lean * 0.25, 738 - tall * 0.55), tip]), 1.4, 0.3)
        for ray in range(-3, 4):
            th = -math.pi / 2 + ray * 0.42 + rng.normal(0, 0.1)
            q = (tip[0] + 11 * math.cos(th), tip[1] + 9 * math.sin(th))
            pen.line([tip, q], 0.9, 0.2)
            pen.shape(curve(at("-2,0 0,-2 2,0 0,2", *q), True, 4), 1.1)
    for x, y, s in ((96, 236, 13), (128, 216, 10), (74, 208, 8), (152, 246, 7)):
        wing = at("-1,-0.4 -0.4,-0.5 0,0 0.5,-0.6 1,-0.3")
        pen.line(curve([(x + s * u, y + s * v) for u, v in wing]), 1.9, 0.1)
    pen.draw.rectangle([0, 0, size * 3 - 1, size * 3 - 1], outline=255, width=32 * 3)
    pen.line(at("31,32 737,31"), 1.7)
    pen.line(at("736,30 737,738"), 1.7)
    pen.line(at("738,736 30,737"), 1.7)
    pen.line(at("32,738 31,30"), 1.7)
    lines = np.asarray(pen.img.reduce(3), float)[..., None] / 255
    paper = rgb("faf7ef") - 0.012 * (noise(rng, size, size, 5, 5, 3)[..., None] - 0.5)
    out = np.clip(rgb("1d1b20") + (paper - rgb("1d1b20")) * lines, 0, 1)
    return Image.fromarray((out * 255 + 0.5).astype(np.uint8))
