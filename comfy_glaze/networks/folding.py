"""Two convolutions with nothing between them are one: the costly first layers of small networks.

A network that starts with a convolution at full resolution, followed by another linear layer of
stride 2, computes four times the positions that it keeps, and sends a gradient back through all of
them.  Folded into one convolution of stride 2 it gives the same values (to float rounding) in a
fraction of the time; only where padding enters between the two do the kernels differ.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def folded(first: Tensor, second: Tensor) -> Tensor:
    """The kernel (O, I, h + p − 1, w + q − 1) of (M, I, h, w) followed by (O, M, p, q)."""
    p, q = second.shape[-2:]
    swapped = first.transpose(0, 1)
    return F.conv2d(swapped, second.flip(2, 3), padding=(p - 1, q - 1)).transpose(0, 1)


class HalvingConv(nn.Module):
    """A convolution of stride 2 without padding, computed on 2 × 2 blocks as channels.

    Three channels at stride 2 are what CPU kernels are worst at; twelve at stride 1 suit them.
    """

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.size = kernel.shape[-1]
        odd = self.size % 2
        blocks = F.pixel_unshuffle(F.pad(kernel, (0, odd, 0, odd)), 2)
        self.register_buffer("kernel", blocks.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, ⌊(H − size) / 2⌋ + 1, ⌊(W − size) / 2⌋ + 1)."""
        kernel: Tensor = self.kernel  # type: ignore[assignment]
        bias: Tensor = self.bias  # type: ignore[assignment]
        down, right = (self._extra(side) for side in x.shape[-2:])
        if down or right:
            x = F.pad(x, (0, right, 0, down))
        return F.conv2d(F.pixel_unshuffle(x, 2), kernel, bias)

    def _extra(self, side: int) -> int:
        """Rows to add (or leave out) so that whole 2 × 2 blocks hold all outputs and no more."""
        return (side - self.size) // 2 * 2 + self.size + self.size % 2 - side


class BlurredConv(nn.Module):
    """A convolution, then a binomial 3 × 3 blur of stride 2 that reflects 2 px at its edges.

    The first blurred row lies wholly in the reflection and equals the second one; so does the last
    one where the convolution gives an odd number of rows.  Where it gives an even number, the last
    blurred row is the mean of the last two.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        weight, bias = convolution.weight.detach(), convolution.bias
        assert bias is not None
        self.padding = int(convolution.padding[0])
        inner, last = torch.tensor([1.0, 2.0, 1.0]) / 4, torch.tensor([1.0, 1.0]) / 2
        channels = torch.eye(len(weight))[:, :, None, None]
        self.inner = HalvingConv(folded(weight, channels * inner.outer(inner)), bias.detach())
        self.register_buffer("bottom", folded(weight, channels * last.outer(inner)))
        self.register_buffer("right", folded(weight, channels * inner.outer(last)))
        self.register_buffer("corner", folded(weight, channels * last.outer(last)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, O, ⌊(H − 5) / 2⌋ + 1, ⌊(W − 5) / 2⌋ + 1) for an 11 × 11 kernel."""
        x = F.pad(x, 4 * (self.padding,))
        size = self.inner.size - 1
        even_rows, even_columns = ((side - size) % 2 == 0 for side in x.shape[-2:])
        y: Tensor = self.inner(x)
        if even_rows:
            y = torch.cat([y, self._edge(x[..., -size:, :], self.bottom)], dim=2)
        if even_columns:
            edge = self._edge(x[..., -size:], self.right)
            if even_rows:
                corner = self._edge(x[..., -size:, -size:], self.corner)
                edge = torch.cat([edge, corner], dim=2)
            y = torch.cat([y, edge], dim=3)
        return F.pad(y, (1, int(not even_columns), 1, int(not even_rows)), "replicate")

    def _edge(self, x: Tensor, kernel: object) -> Tensor:
        assert isinstance(kernel, Tensor)
        bias: Tensor = self.inner.bias  # type: ignore[assignment]
        return F.conv2d(x, kernel, bias, stride=2)


class DownsamplingPair(nn.Module):
    """A 3 × 3 convolution, then another of stride 2 without bias; both pad by 1.

    The second one's padding lies between the two, so the first row and column have kernels of their
    own, without the taps that fall on it.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        weight, bias, then = first.weight.detach(), first.bias, second.weight.detach()
        assert bias is not None
        self.layers = nn.Sequential(first, second)

        def part(top: int, left: int) -> tuple[Tensor, Tensor]:
            taps = then[:, :, top:, left:]
            return folded(weight, taps), taps.sum(dim=(2, 3)) @ bias.detach()

        self.inner = HalvingConv(*part(0, 0))
        for name, (kernel, offset) in {
            "top": part(1, 0),
            "left": part(0, 1),
            "corner": part(1, 1),
        }.items():
            self.register_buffer(name, kernel)
            self.register_buffer(f"{name}_bias", offset)

    @classmethod
    def fits(cls, first: nn.Module, second: nn.Module) -> bool:
        """Whether these are two such layers."""

        def plain(layer: nn.Module, stride: int) -> bool:
            return (
                isinstance(layer, nn.Conv2d)
                and (layer.kernel_size, layer.padding) == ((3, 3), (1, 1))
                and (layer.stride, layer.dilation) == ((stride, stride), (1, 1))
                and (layer.groups, layer.padding_mode) == (1, "zeros")
                and (layer.bias is None) == (stride == 2)
            )

        return plain(first, 1) and plain(second, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, O, ⌈H / 2⌉, ⌈W / 2⌉)."""
        if x.shape[-2] % 2 or x.shape[-1] % 2:  # then the last row and column differ too
            both: Tensor = self.layers(x)
            return both
        x = F.pad(x, (1, 1, 1, 1))
        row = [self._edge(x[..., :4, :4], "corner"), self._edge(x[..., :4, 1:], "top")]
        column = self._edge(x[..., 1:, :4], "left")
        below = torch.cat([column, self.inner(x[..., 1:, 1:])], dim=3)
        return torch.cat([torch.cat(row, dim=3), below], dim=2)

    def _edge(self, x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, getattr(self, name), getattr(self, f"{name}_bias"), stride=2)
