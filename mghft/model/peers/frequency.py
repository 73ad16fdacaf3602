"""The frequency module of TGCA-PVT: a learned filter of an image's spectrum, before a patch embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Channels are squeezed by this; fewer than so many leave nothing, and the gate at a half.
SQUEEZE = 16


class SqueezeExcitation(nn.Module):
    """A gate for every channel from its mean: Y · sigmoid(W₂ ReLU(W₁ mean(Y))), without biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // SQUEEZE
        self.squeeze = nn.Linear(channels, hidden, bias=False) if hidden else None
        self.excite = nn.Linear(hidden, channels, bias=False) if hidden else None

    def forward(self, x: Tensor) -> Tensor:
        """Gate x [B, C, h, w]; the released layers of width 0 give a gate of exactly one half."""
        if self.squeeze is None or self.excite is None:
            return 0.5 * x
        gate: Tensor = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return x * gate[:, :, None, None]


class FrequencyModule(nn.Module):
    """Filter the spectrum of an image, channel by channel (TGCA-PVT, ACM MM 2024; FLA).

    The released code keeps two matrices C x C and reads their diagonals alone, which are what is kept here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.empty(channels))
        self.imaginary = nn.Parameter(torch.empty(channels))
        self.real_bias = nn.Parameter(torch.empty(channels))
        self.imaginary_bias = nn.Parameter(torch.empty(channels))
        self.real_gate = SqueezeExcitation(channels)
        self.imaginary_gate = SqueezeExcitation(channels)
        for parameter in (self.real, self.imaginary, self.real_bias, self.imaginary_bias):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Filter x [B, C, h, w], real; in float32 or better, since half precision has no such transform."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            spectrum = torch.fft.rfft2(wide, norm="ortho")
            r, m = spectrum.real, spectrum.imag
            a, b = self.real[:, None, None], self.imaginary[:, None, None]
            real = (a * r - b * m + self.real_bias[:, None, None]).relu()
            imaginary = (a * m + b * r + self.imaginary_bias[:, None, None]).relu()
            filtered = torch.complex(r + self.real_gate(real), m + self.imaginary_gate(imaginary))
            # In two steps: ReLU leaves no Hermitian symmetry, without which libraries differ over irfft2.
            columns = torch.fft.ifft(filtered, dim=-2, norm="ortho")
            return torch.fft.irfft(columns, n=x.shape[-1], dim=-1, norm="ortho").to(x.dtype)
