"""The frequency module of TGCA-PVT (ACM MM 2024): a learned filter before every patch embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SQUEEZE = 16


class ChannelGate(nn.Module):
    """Squeeze and excitation (Hu et al., CVPR 2018) without biases.

    With fewer than 16 channels nothing is left to squeeze into: the released module multiplies matrices of
    width 0, whose sigmoid is one half. That half is all there is here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeezed = channels // SQUEEZE
        if self.squeezed:
            self.reduce = nn.Linear(channels, self.squeezed, bias=False)
            self.expand = nn.Linear(self.squeezed, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of [B, C, h, w] by what their means say."""
        if not self.squeezed:
            return x / 2
        gate = self.expand(self.reduce(x.mean(dim=(2, 3))).relu()).sigmoid()
        gated: Tensor = x * gate[:, :, None, None].to(x.dtype)
        return gated


class FrequencyModule(nn.Module):
    """Add to the half spectrum of an image what a linear map, a ReLU and a gate make of it.

    The released map is a matrix per part of which only the diagonal is read, so only that is kept; as
    [C, 1, 1], because weight decay takes the released matrices too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.zeros(channels, 1, 1))
        self.imaginary = nn.Parameter(torch.zeros(channels, 1, 1))
        self.real_bias = nn.Parameter(torch.zeros(channels))
        self.imaginary_bias = nn.Parameter(torch.zeros(channels))
        self.real_gate = ChannelGate(channels)
        self.imaginary_gate = ChannelGate(channels)

    def forward(self, image: Tensor) -> Tensor:
        """Filter an image: [B, C, h, w] -> [B, C, h, w], at least in float32 inside."""
        wide = image if image.dtype == torch.float64 else image.float()
        # Transforms of half precision want sides that are powers of two.
        with torch.autocast(image.device.type, enabled=False):
            spectrum = torch.fft.rfft2(wide, norm="ortho")
            real, imaginary = spectrum.real, spectrum.imag
            a, b = self.real, self.imaginary
            mixed_real = (a * real - b * imaginary + self.real_bias[:, None, None]).relu()
            mixed_imaginary = (a * imaginary + b * real + self.imaginary_bias[:, None, None]).relu()
            filtered = inverse(
                real + self.real_gate(mixed_real),
                imaginary + self.imaginary_gate(mixed_imaginary),
                width=image.shape[3],
            )
        return filtered.to(image.dtype)


def inverse(real: Tensor, imaginary: Tensor, *, width: int) -> Tensor:
    """Return the image of a half spectrum that need not be one of a real image.

    Libraries differ in what they make of such a spectrum. Here, as in torch on a CPU: a complex transform
    along the height, then a real one along the width, which reads no imaginary part of the frequencies 0 and
    width / 2.

    Args:
        real, imaginary: [B, C, h, w // 2 + 1].
        width: w.

    Returns:
        [B, C, h, w].
    """
    columns = torch.fft.ifft(torch.complex(real, imaginary), dim=-2, norm="ortho")
    read = torch.ones(columns.shape[-1], dtype=real.dtype, device=real.device)
    read[0] = 0
    if width % 2 == 0:
        read[-1] = 0
    image: Tensor = torch.fft.irfft(
        torch.complex(columns.real, columns.imag * read), n=width, dim=-1, norm="ortho"
    )
    return image
