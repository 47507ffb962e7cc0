"""Style cloaks after Glaze (Shan et al., USENIX Security 2023): the library.

It knows nothing of ComfyUI; the nodes wrap it.  Images are ``torch.Tensor`` of shape (B, 3, H, W),
float32, sRGB, in [0, 1], everywhere.
"""

__version__ = "0.1.0"
