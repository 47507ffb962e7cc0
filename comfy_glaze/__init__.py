"""Style cloaks after Glaze (Shan et al., USENIX Security 2023): the library.

It knows nothing of ComfyUI; the nodes wrap it.  Images are ``torch.Tensor`` of shape (B, 3, H, W),
float32, sRGB, in [0, 1], everywhere.
"""

__version__ = "0.1.0"

HOW_TO_BREAK = "docs/how-to-break-this.md"
"""What undoes cloaks; every verdict points there. A published repository gives it its address."""
