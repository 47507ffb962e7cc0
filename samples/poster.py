"""The poster: a screen-print-like illustration in a few even inks."""

from __future__ import annotations

import math

import numpy as np
from brush import Points, at, box, curve, ribbon
from PIL import Image, ImageDraw


def poster() -> Image.Image:
    """A cat on a window sill before evening roofs; flat inks only."""
    k, size = 4, 768
    img = Image.new("RGB", (size * k, size * k), "#1f4a55")
    draw = ImageDraw.Draw(img)
    rng = np.random.default_rng(6)

    def fill(pts: Points, ink: str) -> None:
        draw.polygon([(x * k, y * k) for x, y in pts], fill="#" + ink)

    def rect(x0: float, y0: float, x1: float, y1: float, ink: str) -> None:
        fill(box(x0, y0, x1, y1), ink)

    def disc(x: float, y: float, r: float, ink: str) -> None:
        draw.ellipse([(x - r) * k, (y - r) * k, (x + r) * k, (y + r) * k], fill="#" + ink)

    rect(112, 64, 656, 580, "f4e6c8")
    rect(132, 84, 636, 580, "f0b354")
    for row in range(13):  # screen dots thinning out upwards
        for col in range(36):
            x, y = 139 + 14 * col + 7 * (row % 2), 348 - 17 * row
            disc(x, y, max(0.0, 5.2 - 0.4 * row), "f6c878")
    rect(636, 64, 660, 580, "f4e6c8")
    disc(300, 288, 118, "e2502f")
    for x, y, s in ((470, 150, 1.0), (520, 178, 0.7), (430, 190, 0.6)):
        fill(at(f"{-22 * s},{-9 * s} 0,0 {22 * s},{-11 * s} 0,{6 * s}", x, y), "5a2a41")
    for base, ink, lit, step_w, drop in (
        (372, "d9743f", "f0b354", 58, 26),
        (430, "a53f3a", "f0b354", 76, 34),
        (496, "5a2a41", "f4c86a", 96, 44),
    ):
        left = 96.0
        while left < 640:
            wide, top = step_w * rng.uniform(0.8, 1.25), base + rng.uniform(-22, 18)
            lo, hi = max(left, 132.0), min(left + wide, 636.0)
            if hi - lo > 12:
                rect(lo, top, hi, 580, ink)
                peak = top - drop * rng.uniform(0.6, 1)
                fill([(lo, top + 1), ((lo + hi) / 2, peak), (hi, top + 1)], ink)
                flue = lo + (hi - lo) * 0.72
                rect(flue, top - drop, flue + 9, top, ink)
                for n in range(2):
                    if rng.random() < 0.55:
                        wx = lo + (hi - lo) * (0.25 + 0.35 * n)
                        rect(wx, top + 16, wx + 9, top + 30, lit)
            left += wide
    rect(378, 84, 390, 580, "f4e6c8")
    rect(132, 212, 636, 222, "f4e6c8")
    fill([*curve(at("560,52 590,200 566,380 640,600")), (768, 600), (768, 52)], "2f6f73")
    for n in range(4):
        a, b, foot = 42 * n, 40 * n, 668 + 30 * n
        near = f"{600 + a},52 {622 + b},220 {610 + b},400 {foot},600"
        away = f"{612 + a},52 {630 + b},220 {618 + b},400 {foot},600"
        fill(ribbon(near, away), "1f4a55")
    rect(540, 40, 768, 56, "f0b354")
    disc(540, 48, 13, "f0b354")
    rect(72, 580, 768, 616, "f4e6c8")
    rect(72, 616, 768, 628, "c9a87c")
    # the pot
    for n, (ang, ln) in enumerate(at("-150,92 -128,128 -104,150 -80,140 -56,120 -30,88")):
        c, s = ln * math.cos(math.radians(ang)), ln * math.sin(math.radians(ang))
        leaf = at("0,0 0.3,-0.13 0.65,-0.14 1,0.04 0.62,0.1 0.3,0.09")
        rib = at("0,-0.01 0.9,0.015 0,0.02")
        leaf, rib = (
            [(196 + c * u - s * v, 510 + s * u + c * v) for u, v in p] for p in (leaf, rib)
        )
        fill(curve(leaf, True), ("2c7a5f", "3f9a6d")[n % 2])
        fill(rib, "1f4a55")
    fill(at("150,506 242,506 230,580 162,580"), "e2502f")
    fill(at("144,496 248,496 246,516 146,516"), "e2502f")
    fill(at("147,516 245,516 244,523 148,523"), "a53f3a")
    # the cat: one closed outline with sharp ears, then the tail
    x, y = 452, 590
    parts = (
        "-62,-1 -78,0 -80,-10 -64,-18 -56,-60 -58,-104 -60,-140",
        "-60,-140 -80,-150 -96,-166 -98,-182 -90,-198 -86,-210",
        "-86,-210 -88,-236 -84,-262",
        "-84,-262 -66,-248 -54,-230",
        "-54,-230 -44,-230 -34,-228",
        "-34,-228 -22,-246 -10,-254",
        "-10,-254 -4,-228 -6,-206",
        "-6,-206 2,-180 0,-160 16,-140 52,-104 76,-52 76,-16 64,0",
    )
    fill([p for part in parts for p in curve(at(part, x, y))], "191a2b")
    tail = np.array(curve(at("40,-12 84,-14 116,4 126,44 120,88 124,120 144,132 160,122", x, y)))
    for n, (u, v) in enumerate(tail):
        disc(u, v, 12.5 - 4 * n / len(tail), "191a2b")
    fill(curve(at("-84,-196 -74,-204 -64,-196 -74,-191", x, y), True), "f0b354")
    fill(curve(at("-75,-203 -72,-197 -75,-191 -78,-197", x, y), True), "191a2b")
    for pts in ("-26,0 -30,-40 -14,-76 14,-88", "-34,-2 -36,-60 -38,-100"):
        line = curve(at(pts, x, y))
        draw.line([(u * k, v * k) for u, v in line], fill="#3b3d5c", width=3 * k, joint="curve")
    for dy in (-10, 0, 9):
        ends = [((x - 90) * k, (y - 172) * k), ((x - 140) * k, (y - 174 + dy) * k)]
        draw.line(ends, fill="#f4e6c8", width=2 * k)
    return img.reduce(k)
