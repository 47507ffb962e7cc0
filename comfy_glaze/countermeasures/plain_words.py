"""Countermeasures in an artist's words, and sets of them to choose from."""

from __future__ import annotations

LABELS: dict[str, str] = {
    "jpeg-420": "save as JPEG",
    "jpeg-444": "save as JPEG with full colour",
    "webp": "save as WebP",
    "avif": "save as AVIF",
    "platform-facebook": "upload to Facebook",
    "platform-instagram": "upload to Instagram",
    "platform-x": "upload to X",
    "repost": "post, screenshot, post again",
    "resize-bicubic": "resize and back (bicubic)",
    "resize-bilinear": "resize and back (bilinear)",
    "resize-lanczos": "resize and back (Lanczos)",
    "crop": "crop and enlarge",
    "noise": "add noise",
    "blur": "blur",
    "median": "median filter",
    "adverse-cleaner": "smooth (AdverseCleaner)",
    "denoise": "add noise, then denoise",
    "super-resolution": "halve, then enlarge by a network",
    "vae": "through an image model's VAE",
    "impress": "IMPRESS",
    "purify": "redraw a little by Stable Diffusion",
    "noisy-upscale": "add noise, then upscale by Stable Diffusion",
}
"""What each countermeasure does, for menus and tables."""

AMOUNTS: dict[str, str] = {
    "quality": "quality {:g}",
    "scale": "to {:.0%}",
    "standard deviation": "{:g}",
    "pixels": "{:g} px",
    "part of each side": "by {:.0%}",
    "passes": "{:g} passes",
    "round trips": "{:g}×",
    "steps": "{:g} steps",
    "strength": "strength {:g}",
}
"""How an amount is written, for each unit."""

SETS: dict[str, str] = {
    "web": "platform-facebook,platform-instagram,platform-x,repost,jpeg-420:85,jpeg-420:75,"
    "jpeg-420:50,webp",
    "everyday": "platform-instagram,repost,jpeg-420:85,jpeg-420:75,jpeg-420:50,webp,"
    "resize-bicubic:0.75,resize-bicubic:0.5,resize-bilinear:0.25,crop,noise:0.02,noise:0.05,"
    "blur:1,median",
}
"""``web``: what websites do.  ``everyday``: what websites and picture editors do."""
