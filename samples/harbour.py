"""The oil painting: the evening harbour, composed as a scene and then painted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from brush import (
    Array,
    Painter,
    Points,
    Scene,
    Strokes,
    at,
    blur,
    box,
    curve,
    mix,
    noise,
    ramp,
    rgb,
    ribbon,
    step,
)
from PIL import Image

Stops = Sequence[tuple[float, str]]


def quilt(sc: Scene, left: Points, right: Points, n: int, stops: Stops, angle: float) -> None:
    """Fill the area between two edges with ``n`` panels of changing colour (a sail, a slope)."""
    a, b = np.array(curve(left)), np.array(curve(right))
    a = a[np.linspace(0, len(a) - 1, 13).astype(int)]
    d = b[np.linspace(0, len(b) - 1, 13).astype(int)] - a
    for k in range(n):
        s, t = k / n, (k + 1) / n
        for i in range(12):
            j = i + 1
            q = [a[i] + d[i] * s, a[i] + d[i] * t, a[j] + d[j] * t, a[j] + d[j] * s]
            c = ramp(np.array((k + 0.5) / n + 0.34 * (0.5 - i / 12) + 0.06 * (-1) ** k), stops)
            sc.shape([(float(x), float(y)) for x, y in q], c, angle, 0.75)


def town(sc: Scene, rng: np.random.Generator, hor: float) -> None:
    """Houses on the headland, back rows first, lit from the left."""
    walls = ["d9a684", "e3bb95", "c98f7b", "d8b9a2", "b98a86", "e7c9a0"]
    roofs = ["9a4a3a", "a8583f", "7d4444", "8a5048"]
    for row, (lift, n, lo) in enumerate([(88, 6, 800), (62, 8, 760), (34, 9, 725), (4, 10, 690)]):
        for k in range(n):
            x = lo + (1030 - lo) * (k + rng.uniform(-0.35, 0.35)) / n
            w, h = rng.uniform(19, 36) + 2 * row, rng.uniform(16, 34) + 3 * row
            y, side = hor - max(0.0, lift + rng.uniform(-9, 9)), rng.uniform(7, 13)
            haze = 0.34 - 0.08 * row
            wall = mix(rgb(walls[int(rng.integers(6))]) * 0.62, rgb("84708c"), haze + 0.2)
            roof = mix(rgb(roofs[int(rng.integers(4))]), rgb("a07a86"), haze)
            glow = mix(wall, rgb("ffcf8a"), 0.8)
            sc.shape(box(x, y - h, x + w, y + 3), wall, 1.57, 0.8)
            lit = [(x, y - h), (x, y + 3), (x - side, y + 2), (x - side, y - h - 2)]
            sc.shape(lit, glow, 1.57, 0.8)
            top, a, b = y - h - rng.uniform(8, 14), x - side, x + w
            tiles = [(a - 2, y - h), (a + 5, top), (b - 4, top), (b + 2, y - h + 1)]
            sc.shape(tiles, roof, 0.0, 0.8)
            for wy in np.arange(y - h + 6, y - 8, 12):
                for wx in np.arange(x + 4, x + w - 5, 10):
                    pane = "ffd27a" if rng.random() < 0.2 else "5a4658"
                    sc.shape(box(wx, wy, wx + 3, wy + 5), pane, None, 1.0)
        for _ in range(9):
            trees(sc, rng, rng.uniform(lo - 30, 1024), hor - lift + 2, rng.uniform(5, 9), 0.3)
    x, y = 806, hor - 84
    sc.shape(box(x, y - 82, x + 24, y + 34), "8d6d7c", 1.57, 1.0)
    sc.shape(at("0,-82 0,34 -10,34 -10,-83", x, y), "f8cd92", 1.57, 1.0)
    sc.shape(at("-13,-81 5,-126 9,-126 27,-81", x, y), "6d4a58", 1.57, 1.0)
    sc.shape(box(x + 8, y - 70, x + 15, y - 52), "54405a", None, 1.0)


def trees(sc: Scene, rng: np.random.Generator, x: float, y: float, r: float, warm: float) -> None:
    """One bush: a dark clump with a lit left flank."""
    c = mix(rgb("3f4c4c"), rgb("7a6650"), rng.random() * warm * 2)
    clump = [(x - r, y), (x, y - r * rng.uniform(1.1, 2.4)), (x + r, y), (x, y + r)]
    sc.shape(curve(clump, True, 4), c, -1.2, 0.7)
    flank = [(x - r, y), (x - r / 2, y - r), (x, y - r / 2), (x - r / 2, y)]
    sc.shape(curve(flank, True, 4), mix(c, rgb("d9a066"), 0.45), -1.2, 0.7)


def boat(sc: Scene) -> None:
    """The lugger in the middle, sails glowing against the light."""
    sheer, keel = "318,510 370,527 440,533 505,527 542,512", "334,540 356,559 430,567 512,560"
    sc.shape(ribbon(sheer, f"318,510 {keel} 542,512"), "2c3a50", 0.05, 1)
    sc.shape(ribbon(sheer, "322,517 370,535 440,541 505,535 540,520"), "d8683f", 0.05, 1)
    sc.shape(ribbon("342,549 420,557 526,549", "352,558 430,567 514,560"), "7d2f30", 0.03, 1)
    tan = [(0, "f7b85c"), (0.3, "dd7f3c"), (0.6, "b04c2e"), (1, "6d3038")]
    pale = [(0, "ffd68c"), (0.5, "eda355"), (1, "bf6a3c")]
    quilt(sc, at("426,262 425,380 424,486"), at("514,226 548,360 560,470"), 9, tan, 1.45)
    quilt(sc, at("413,250 380,390 324,504"), at("414,250 413,390 410,494"), 4, pale, 1.85)
    for t in (0.2, 0.4, 0.6, 0.8):
        a, b = (426 - t, 262 + t * 224), (514 + 58 * t - 12 * t * t, 226 + t * 246)
        sc.shape([a, b, (b[0], b[1] + 2), (a[0], a[1] + 2)], "8a3f30", -0.2, 1)
    sc.shape(at("418,206 421,206 423,530 417,530"), "4a3032", 1.57, 1)
    sc.shape(at("418,486 562,470 562,474 418,491"), "5b3a34", -0.1, 1)
    sc.shape(at("420,266 518,220 519,225 421,271"), "5b3a34", -0.4, 1)
    sc.shape(at("421,207 452,213 421,220"), "c23b2e", 0.1, 1)


def jetty(sc: Scene, rng: np.random.Generator) -> None:
    """A plank jetty in perspective, leading from the lower right towards the boat."""
    vx, vy = 500.0, 392.0

    def spot(side: float, z: float, up: float = 0.0) -> tuple[float, float]:
        s = 398 / z
        return vx + s * (0.86 + 0.62 * side), vy + s * (1 - up)

    def face(text: str, colour: Array | str, angle: float, fine: float) -> None:
        pts = (p.split(",") for p in text.split())
        sc.shape([spot(*(float(v) for v in p)) for p in pts], colour, angle, fine)

    far = 3.0
    face("0,0.9,-0.16 0,3,-0.16 0,3 0,0.9", "2e2a3a", 0.8, 0.8)
    face("0,3,-0.14 1,3,-0.14 1,3 0,3", "2e2a3a", 0.0, 0.8)
    zs = np.linspace(0.95, far, 34)
    for z0, z1 in pairwise(zs):
        t = (z0 - 0.95) / (far - 0.95)
        c = mix(rgb("6b5358"), rgb("b08474"), t) * rng.uniform(0.86, 1.12) + rng.normal(0, 0.012, 3)
        over = 1 + rng.uniform(0, 0.04)
        face(f"-0.03,{z0} {over},{z0} 1.02,{z1} -0.03,{z1}", c, 0.02, 0.8)
        if z0 < 2.3:
            gap = z0 + 0.011
            face(f"-0.02,{z0} 1,{z0} 1,{gap} 0,{gap}", "3c3240", 0.02, 0.9)
    face("0,0.9,-0.055 0,3,-0.055 0,3 0,0.9", "e0a878", 0.85, 0.9)
    for z in (2.9, 2.2, 1.68, 1.3):
        for side in (1, 0):
            x, y = spot(side, z)
            r, foot, head = 11 / z, (398 / z) * 0.17 * (1 - side), (398 / z) * 0.20
            sc.shape(box(x - r, y - head, x + r, y + foot), "40323c", 1.57, 0.9)
            sc.shape(box(x - r, y - head, x - r * 0.2, y + foot), "f0b27a", 1.57, 1)
    x, y = spot(0.58, 2.5)
    sc.shape(at("-5,2 6,2 66,14 54,20", x, y), "54424e", 0.2, 1)


def harbour() -> Image.Image:
    """An evening harbour: low sun, a boat under russet sail, a town, a jetty in front."""
    rng = np.random.default_rng(20)
    w, h, hor, sx, sy = 1024, 768, 392.0, 236.0, 330.0
    yy, xx = np.mgrid[0:h, 0:w].astype(float)
    # sky: vertical gradient, glow around the sun, clouds that shrink towards the horizon
    far = np.hypot((xx - sx) / 1.6, yy - sy)
    air = [(0, "3d6296"), (0.3, "7ba3bd"), (0.55, "c6c8b2"), (0.78, "f0c48d"), (1, "f3b070")]
    sky = ramp(yy / hor, air)
    sky = mix(sky, rgb("ffe09a"), 0.8 * np.exp(-far / 110))
    deep = np.clip(1.08 - yy / hor, 0.08, 2)
    big = noise(rng, 2048, 1024, 260, 110, 5)
    u = (1024 + (xx - sx) / (0.35 + deep) * 0.75).astype(int) % 2048
    v = np.clip(60 + 330 * np.log(1 / deep + 0.2), 0, 1023).astype(int)
    cloud, lower = big[v, u], big[np.clip(v + 26, 0, 1023), u]
    band = np.exp(-(((yy - 165 + 0.20 * (xx - 500)) / 75) ** 2))
    cloud = cloud + 0.15 * band - 0.13 - 0.05 * step(140, 0, yy)
    d = step(0.50, 0.66, cloud)
    near = np.exp(-far / 280)
    dark = mix(rgb("857fa3"), rgb("d08a7a"), near)
    lite = mix(rgb("f2bda4"), rgb("ffdc96"), near)
    body = mix(dark, lite, step(-0.05, 0.12, cloud - lower))
    sky = mix(sky, body, (0.55 + 0.35 * step(0, 190, yy)) * d)
    sky = mix(sky, rgb("fff6cf"), step(22, 17, np.hypot(xx - sx, yy - sy)))
    ang = -0.20 + 0.12 * np.sin(xx / 170 + yy / 90) + 0.8 * (noise(rng, w, h, 200, 110, 2) - 0.5)
    fine = 0.05 + 0.2 * d * step(100, 350, yy) + 0.8 * step(60, 20, np.hypot(xx - sx, yy - sy))
    # far hills, paler and warmer towards the sun
    for top, amp, grain, near_c, far_c, fall in (
        (350, 46, 190, "efb07a", "9a93ad", 200),
        (370, 36, 120, "d08a6c", "75789a", 170),
        (384, 20, 70, "a4625f", "565f80", 150),
    ):
        ridge = top - amp * (noise(rng, w, 1, grain, 1, 5)[0] - 0.35)
        ridge = ridge - 34 * np.exp(-(((xx[0] - 20) / 120) ** 2))
        m = step(-0.8, 0.8, yy - ridge) * (yy < hor + 1)
        tint = mix(rgb(far_c), rgb(near_c), np.exp(-np.abs(xx - sx) / fall))
        tint = mix(tint, rgb("e7b896"), 0.25 * step(0, 60, yy - ridge))
        sky = mix(sky, tint, m)
        slope = np.arctan(np.gradient(blur(np.tile(ridge, (3, 1)), 8)[1]))
        ang, fine = ang + (slope[None] - ang) * m, fine + (0.55 - fine) * m
    sc = Scene(sky, ang, fine)
    # headland with woods, then the town
    head = curve(at("610,396 640,384 690,350 760,300 850,270 940,248 1030,240"))
    sc.shape([*head, (1030, 396), (600, 396)], "5a5860", -0.4, 0.6)
    for t in np.sort(rng.uniform(0.05, 1, 260)):
        x, y = head[int(t * (len(head) - 1))]
        trees(sc, rng, x, min(y + abs(rng.normal(0, 26)), hor - 4), rng.uniform(4, 11), 0.4)
    town(sc, rng, hor)
    sc.shape(at("590,388 1030,384 1030,402 590,396"), "6b5560", 0.0, 0.8)
    sc.shape(at("590,388 1030,384 1030,388 590,391"), "e0ac86", 0.0, 0.9)
    sc.shape(at("601,390 603,362 611,362 613,390"), "e9d0b4", 1.57, 1)
    sc.shape(at("601,362 607,352 613,362"), "b0483a", 0, 1)
    img, ang, fine = sc.fields()
    # water: the upper half mirrored and rippled, deepening towards us
    depth = np.clip((yy - hor) / (h - hor), 0, 1)
    rip = noise(rng, w, h, 90, 7, 3) - 0.5
    my = np.clip(hor - (yy - hor) * 0.95 + rip * (10 + 90 * depth), 0, hor - 2).astype(int)
    mx = np.clip(xx + rip * 30 * depth, 0, w - 1).astype(int)
    wat = blur(img, 1.2)[my, mx]
    wat = mix(wat * 0.93, rgb("27465a"), 0.14 + 0.50 * depth**1.3)
    wat = mix(wat, rgb("3c5f74"), 0.6 * step(0.52, 0.75, noise(rng, w, h, 150, 11, 3)) * depth**0.5)
    lane = np.exp(-(((xx - sx) / (20 + 130 * depth)) ** 2)) * (1 - 0.4 * depth)
    wat = mix(wat, rgb("ffd58c"), lane * step(0.40, 0.62, noise(rng, w, h, 46, 5, 3)) * 0.9)
    wet = yy >= hor
    img = np.where(wet[..., None], wat, img)
    ang = np.where(wet, 0.25 * (noise(rng, w, h, 120, 14, 2) - 0.5), ang)
    fine = np.where(wet, 0.35 + 0.35 * lane, fine)
    # everything afloat, first as a rippled reflection, then itself
    for x, y, s in ((118, 416, 1.1), (316, 403, 0.5), (938, 452, 1.5), (868, 428, 1.0)):
        sc = Scene(img, ang, fine)
        hull = [(x + a * s, y + b * s) for a, b in at("-16,-4 17,-5 11,2 -12,2")]
        sc.shape(hull, "463f54" if x < 500 else "d9c8b8", 0, 1)
        if x < 500:
            sc.shape(at(f"-1,-6 -1,{-46 * s} {15 * s},-7", x, y), "f0d2ae", 1.2, 1)
            sc.shape(at(f"-3,-7 -3,{-40 * s} {-12 * s},-6", x, y), "b98f8c", 1.9, 1)
        else:
            sc.shape(at("-1,-4 -1,-34 2,-34 2,-4", x, y), "51404c", 1.57, 1)
            sc.shape(at("-16,-5 17,-6 16,-3 -15,-2", x, y), "d8a27c", 0, 1)
        img, ang, fine = float_on(sc, img, ang, fine, y + 2, rip * 10, 0.5)
    sc = Scene(img, ang, fine)
    boat(sc)
    img, ang, fine = float_on(sc, img, ang, fine, 562, rip * 46, 0.92)
    sc = Scene(img, ang, fine)
    jetty(sc, rng)
    img, ang, fine = sc.fields()
    sc = Scene(img, ang, fine)
    bank(sc, rng)
    img, ang, fine = sc.fields()
    # paint it: broad to fine
    p = Painter(rng, w, h, "a8644a")
    p.cover(img, ang, Strokes(60, 190, tol=0.4))
    p.cover(img, ang, Strokes(38, 130, density=0.8, tol=0.14, miss=0.06, jitter=0.018))
    p.cover(
        img, ang, Strokes(20, 76, tol=0.12, miss=0.13, jitter=0.022), np.clip(fine * 2 + 0.3, 0, 1)
    )
    p.cover(
        img, ang, Strokes(9.5, 36, tol=0.10, miss=0.11, jitter=0.025), np.clip(fine * 1.6, 0, 1)
    )
    p.cover(
        img,
        ang,
        Strokes(5.5, 20, tol=0.09, miss=0.14, jitter=0.025),
        np.clip(fine * 1.7 - 0.4, 0, 1),
    )
    p.cover(
        img, ang, Strokes(3, 10, tol=0.09, miss=0.17, jitter=0.02), np.clip(fine * 2.5 - 1.2, 0, 1)
    )
    touches(p, rng, sx, sy)
    return p.finish()


def float_on(
    sc: Scene, img: Array, ang: Array, fine: Array, line: float, rip: Array, strength: float
) -> tuple[Array, Array, Array]:
    """Put what was drawn on ``sc`` onto the water, with its reflection about ``line``."""
    h, w = ang.shape
    yy, xx = np.mgrid[0:h, 0:w].astype(float)
    new, new_ang, new_fine = sc.fields()
    mask = np.asarray(sc.msk, float) / 255
    fade = np.clip((yy - line) / 60, 0, 1)
    my = np.clip(2 * line - yy + rip * (0.2 + 0.8 * fade), 0, h - 1).astype(int)
    mx = np.clip(xx + rip * 0.6 * (0.2 + 0.8 * fade), 0, w - 1).astype(int)
    k = blur(mask[my, mx] * (yy > line), 0.8) * strength
    k = k * (1 - 0.35 * np.clip((yy - line) / 200, 0, 1))
    shade = mix(new[my, mx] * 0.8, rgb("27364a"), 0.25)
    out = mix(img, shade, k)
    on = (mask > 0)[..., None]
    return np.where(on, new, out), np.where(on[..., 0], new_ang, ang), np.maximum(new_fine, 0.6 * k)


def bank(sc: Scene, rng: np.random.Generator) -> None:
    """The near shore at the lower left: a dark grassy slope with boulders at the water."""
    slope = curve(at("-20,640 40,628 90,648 140,682 200,706 250,738 300,790 -20,790"), True)
    sc.shape(slope, "33333a", -1.1, 0.45)
    radii = (24, 30, 22, 27, 22, 26)
    spots = at("148,684 214,716 178,728 262,748 300,772 226,764")
    for (x, y), r in zip(spots, radii, strict=True):
        a = np.sort(rng.uniform(0, 2 * math.pi, 3))[0] + np.arange(7) * 2 * math.pi / 7
        p = np.stack([x + 1.25 * r * np.cos(a), y + 0.8 * r * np.sin(a)], -1)
        p += rng.normal(0, r * 0.09, (7, 2))
        rim: list[tuple[float, float]] = [(float(u), float(v)) for u, v in p]
        sc.shape(rim, "37323f", 0.9, 0.7)
        top = [(x + (u - x) * 0.85 - r * 0.12, y - r * 0.3 + (v - y) * 0.5) for u, v in rim]
        sc.shape(top, "6f6470", 0.1, 0.8)
        warm = [(u - r * 0.15, v - r * 0.1) for u, v in top if u < x + r * 0.2]
        sc.shape(warm, "d79a72", 0.5, 0.9)


def touches(p: Painter, rng: np.random.Generator, sx: float, sy: float) -> None:
    """Last strokes set by hand: sun, glitter, rigging, gulls, wavelets, grass."""
    for _ in range(46):
        r, th = 15 * math.sqrt(rng.random()), rng.uniform(0, 6.3)
        x, y = sx + r * math.cos(th), sy + r * math.sin(th)
        p.stroke((x - 5, y), (x + 5, y - 1), 5, mix(rgb("fff8d8"), rgb("ffe08a"), r / 16), 0, 1.2)
    patch = noise(rng, 64, p.h, 30, 9, 3)
    for _ in range(900):
        z = rng.random() ** 1.3
        y = 398 + 330 * z
        x = sx + 14 * math.sin(y / 31) * z + rng.normal(0, 9 + 50 * z)
        n = 3 + 22 * z * rng.random() ** 2
        if patch[int(y), int(x - sx) % 64] < 0.50 + 0.12 * z:
            continue
        off = min(1.0, abs(x - sx) / (20 + 70 * z) + rng.random() * 0.4)
        c = mix(rgb("fff2c0"), rgb("f0a560"), off)
        tip, wide = (x + n, y + rng.normal(0, 0.8)), 1.8 + 4 * z * rng.random()
        p.stroke((x - n, y), tip, wide, c, rng.normal(0, 1), 1.2, 0.9)
    for _ in range(150):
        y = 566 + 150 * rng.random() ** 1.6
        x, n = 430 + rng.normal(0, 78), rng.uniform(8, 34)
        c = mix(rgb("1f3148"), rgb("b9a68e"), rng.random() ** 2.2)
        tip, wide = (x + n, y + rng.normal(0, 1)), rng.uniform(2.5, 5)
        p.stroke((x - n, y), tip, wide, c, rng.normal(0, 1.5), 0.7, 0.8)
    for a, b in (at("420,210 321,508"), at("420,262 392,528"), at("556,474 510,505")):
        p.stroke(a, b, 2, rgb("3a2a32"), 1.0, 0.6, 0.7)
    table = """-3 2 -3 -28 6 28283a|4 1 3 -28 6 2c2c3e|0 -22 0 -54 14 2f3144|-7 -26 -6 -50 4 e89a60
        |6 -28 6 -50 5 252536|0 -54 0 -65 9 8f5a48|-3 -55 -3 -64 3 f0b080|-9 -64 9 -64 4 c99a62
        |-4 -67 5 -67 6 a87a50"""
    for x, y, s in ((691, 550, 1.0), (508, 545, 0.8)):
        for row in table.split("|")[0 if s == 1 else 2 :]:  # the sailor's legs are in the boat
            *nums, tint = row.split()
            x0, y0, x1, y1, wide = (float(v) * s for v in nums)
            p.stroke((x + x0, y + y0), (x + x1, y + y1), wide, rgb(tint))
    p.stroke((800, 232), (800, 318), 5, rgb("ffd99a"))
    p.stroke((818, 186), (818, 222), 6, rgb("54364a"))
    p.stroke((813, 190), (813, 224), 9, rgb("7a4a54"))
    rail = [(444 + n * 7.5, 531 - 0.0018 * (4 + n * 7.5) ** 2) for n in range(15)]
    for a, b in pairwise(rail):
        p.stroke(a, b, 4, rgb("d8683f"))
    for x, y, n in ((598, 176, 13), (640, 158, 10), (566, 146, 8), (672, 190, 7), (300, 250, 8)):
        c = rgb("f4ead8") if n > 9 else rgb("5a5670")
        p.stroke((x - n, y - n * 0.25), (x, y), 3, c, -n * 0.22, 0.8)
        p.stroke((x, y), (x + n, y - n * 0.4), 3, c, -n * 0.22, 0.8)
    for n in range(620):
        t = n / 620
        x = rng.uniform(-10, 60 + 210 * t)
        y = 640 + 0.36 * max(0.0, x - 40) + rng.uniform(-4, 20) + 130 * t * rng.random()
        tall, lean = rng.uniform(16, 46) * (0.6 + 0.6 * t), rng.normal(7, 9)
        c = mix(rgb("23282c"), rgb(("6f6a3e", "8f7a45", "4d5a48")[n % 3]), rng.random())
        c = mix(c, rgb("f0b560"), 0.8 * (rng.random() < 0.10))
        p.stroke((x, y + 6), (x + lean, y - tall), rng.uniform(2.2, 4.2), c, lean * 0.25, 0.7)
    for _ in range(22):
        x = 30 + 60 * rng.integers(3) + rng.normal(0, 16)
        y = 640 + 0.4 * max(0.0, x - 40) + rng.uniform(-30, 70)
        c = mix(rgb("d8553e"), rgb("f3c9a0"), float(rng.integers(2)))
        p.stroke((x - 2.5, y), (x + 2.5, y - 1), rng.uniform(4, 7), c, 0.6, 1.3)
