"""The pastel: a still life of soft, blended chalk; no outline and no even area anywhere."""

from __future__ import annotations

import numpy as np
from brush import Array, blur, mix, noise, ramp, rgb, step
from PIL import Image

SIZE = 768
LIGHT = np.array([-0.55, -0.62, 0.56])


class _Table:
    """A wall, a table, and the round things that stand on it, each with a soft shadow."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.x, self.y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
        glow = np.exp(-(((self.x - 180) / 420) ** 2) - ((self.y - 190) / 330) ** 2)
        wall = ramp(
            glow + 0.1 * (self.cloud(220) - 0.5), ((0, "3d4a5c"), (0.5, "6d7f8a"), (1, "c3bfa6"))
        )
        far = ramp((self.y - 500) / 268, ((0, "8a5f46"), (0.35, "a8764f"), (1, "6b4535")))
        cloth = far * (0.9 + 0.2 * self.cloud(150)[..., None])
        self.colour = mix(wall, cloth, step(494, 510, self.y + 10 * (self.cloud(300) - 0.5)))

    def cloud(self, grain: float) -> Array:
        """Soft noise in about 0 to 1."""
        return noise(self.rng, SIZE, SIZE, grain, grain, 3)

    def shadow(self, x: float, y: float, wide: float, high: float, depth: float) -> None:
        """Darken the table right of and below a thing."""
        spot = ((self.x - x) / wide) ** 2 + ((self.y - y) / high) ** 2 < 1
        soft = blur(np.where(self.y > 488, spot, 0).astype(float), high / 2.2)
        self.colour = mix(self.colour, self.colour * rgb("4a3a4c"), depth * soft)

    def lit(self, inside: Array, normal: Array, stops: tuple[tuple[float, str], ...]) -> None:
        """Lay a shaded body: light from the upper left, a glow of the table from below."""
        facing = np.tensordot(normal, LIGHT, axes=(0, 0))
        shade = 0.5 + 0.5 * facing + 0.07 * (self.cloud(40) - 0.5)
        body = ramp(np.clip(shade, 0, 1), stops)
        bounce = np.clip(normal[1], 0, 1) ** 2 * np.clip(0.4 - facing, 0, 1)
        body = body + 0.35 * bounce[..., None] * rgb("c98f5d")
        glint = np.clip(facing, 0, 1) ** 26
        body = mix(body, rgb("fff6e2"), 0.55 * blur(glint, 2.5))
        self.colour = mix(self.colour, np.clip(body, 0, 1), blur(inside.astype(float), 1.6))

    def ball(
        self, x: float, y: float, wide: float, high: float, stops: tuple[tuple[float, str], ...]
    ) -> None:
        """An ellipsoid."""
        u, v = (self.x - x) / wide, (self.y - y) / high
        away = np.clip(1 - u * u - v * v, 0, 1)
        self.lit(u * u + v * v < 1, np.stack([u, v, np.sqrt(away)]), stops)

    def turned(self, x: float, profile: Array, stops: tuple[tuple[float, str], ...]) -> None:
        """A body turned on a wheel: ``profile`` holds (height, radius) pairs in px."""
        outline = np.interp(self.y[:, 0], profile[:, 0], profile[:, 1], left=0.01, right=0.01)
        radius = blur(np.asarray(outline)[:, None], 13.0).clip(0.01)
        slope = np.asarray(np.gradient(radius[:, 0]))[:, None]
        u = np.clip((self.x - x) / radius, -1, 1)
        normal = np.stack([u, -slope * np.ones_like(u), np.sqrt(1 - u * u)])
        normal /= np.sqrt((normal**2).sum(axis=0)) + 1e-6
        inside = (
            (np.abs(self.x - x) < radius) & (self.y > profile[0, 0]) & (self.y < profile[-1, 0])
        )
        self.lit(inside, normal, stops)


def pastel() -> Image.Image:
    """A jug, two pears, a plum and an apple before a dim wall."""
    rng = np.random.default_rng(11)
    table = _Table(rng)
    glaze = ((0, "1f2c3d"), (0.35, "2f5566"), (0.7, "6fa3a0"), (1, "d5e3cf"))
    pear = ((0, "5a4a1e"), (0.4, "a08a35"), (0.75, "d9c45e"), (1, "f5ecae"))
    plum = ((0, "1e1430"), (0.45, "4a2a58"), (0.8, "8a6296"), (1, "cdb6d6"))
    apple = ((0, "4a1218"), (0.4, "9c2a26"), (0.75, "d9623c"), (1, "f7c88c"))
    jug = np.array(
        [(196, 50), (214, 46), (250, 38), (290, 52), (350, 100), (420, 128), (490, 118),
         (550, 84), (574, 78)], float,
    )  # fmt: skip
    table.shadow(352, 572, 190, 34, 0.8)
    table.turned(250, jug, glaze)
    for x, y, wide, tall in ((452, 560, 74, 70), (590, 600, 82, 76)):
        table.shadow(x + 60, y + wide * 0.82, wide * 1.5, 24, 0.8)
        neck = np.array(
            [(y - tall * 2.1, 12), (y - tall * 1.9, 26), (y - tall * 1.3, 36), (y - tall * 0.5, 62),
             (y, wide), (y + tall * 0.5, wide * 0.86), (y + tall * 0.92, wide * 0.3)], float,
        )  # fmt: skip
        table.turned(x, neck, pear)
    table.shadow(420, 690, 110, 24, 0.8)
    table.ball(360, 650, 66, 60, plum)
    table.shadow(240, 706, 130, 26, 0.8)
    table.ball(164, 652, 82, 74, apple)
    tooth = noise(rng, SIZE, SIZE, 3, 3, 2) - 0.5
    strokes = noise(rng, SIZE, SIZE, 5, 46, 2) - 0.5
    chalk = table.colour * (1 + 0.07 * tooth + 0.06 * strokes)[..., None]
    return Image.fromarray((np.clip(chalk, 0, 1) * 255 + 0.5).astype(np.uint8))
