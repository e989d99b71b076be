"""Mimi's convolutions with state, so that the output of pieces equals that of the whole.

A causal convolution needs the end of its last input; a transposed one overlaps with the start of its next output. This
is its carry, a tensor of the call's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention


class Convolutions:
    """Builds layers from transformers' codec layers, and assigns a carry to each that needs one."""

    def __init__(self) -> None:
        self.carry_shapes: list[tuple[int, int, int]] = []
        """Shapes of the carries of all layers so far, in their order."""
        self.weights: list[Tensor] = []

    def add_layer(self, module: Any) -> ConvolutionLayer:
        """Return the layer of transformers' `module`; raise ValueError for one that Mimi's decoder does not have."""
        kind = type(module).__name__
        if kind == "MimiConv1d":
            return self._make_conv(module.conv)
        if kind == "MimiConvTranspose1d":
            return self._make_conv_transposed(module.conv)
        if kind == "ELU":
            return Elu()
        if kind == "MimiResnetBlock" and type(module.shortcut).__name__ == "Identity":
            return Residual(tuple(self.add_layer(inner) for inner in module.block))
        raise ValueError(f"a Mimi decoder without {kind} layers was expected")

    def _make_conv(self, conv: Any) -> Conv:
        stride, dilation = conv.stride[0], conv.dilation[0]
        reach = (conv.kernel_size[0] - 1) * dilation + 1 - stride
        carry = self._add_carry(conv.in_channels, reach) if reach else None
        return Conv(self._add_weight(conv), _bias(conv), stride, dilation, conv.groups, carry)

    def _make_conv_transposed(self, conv: Any) -> ConvTransposed:
        stride = conv.stride[0]
        carry = self._add_carry(conv.out_channels, conv.kernel_size[0] - stride)
        return ConvTransposed(self._add_weight(conv), _bias(conv), stride, conv.groups, carry)

    def _add_carry(self, channels: int, reach: int) -> int:
        self.carry_shapes.append((1, channels, reach))
        return len(self.carry_shapes) - 1

    def _add_weight(self, conv: Any) -> Tensor:
        weight: Tensor = conv.weight.data
        self.weights.append(weight)
        return weight


@dataclass(frozen=True, slots=True)
class Conv:
    """A causal convolution."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    dilation: int
    groups: int
    carry: int | None
    """Index of its carry; None for a kernel that needs no earlier input."""

    def run(self, x: Tensor, carries: tuple[Tensor, ...]) -> Tensor:
        """Return `x` (1, channels, n) after this layer; its carry is updated in place."""
        if self.carry is not None:
            past = carries[self.carry]
            x = torch.cat((past, x), dim=2)
            past.copy_(x[..., -past.shape[-1] :])
        return F.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


@dataclass(frozen=True, slots=True)
class ConvTransposed:
    """A causal transposed convolution: all of its padding is cut off on the right."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    groups: int
    carry: int

    def run(self, x: Tensor, carries: tuple[Tensor, ...]) -> Tensor:
        """Return `x` (1, channels, n) after this layer; its carry is updated in place."""
        overlap = carries[self.carry]
        reach = overlap.shape[-1]
        y = F.conv_transpose1d(x, self.weight, None, self.stride, groups=self.groups)
        y = torch.cat((y[..., :reach] + overlap, y[..., reach:]), dim=2)
        overlap.copy_(y[..., -reach:])
        y = y[..., :-reach]
        return y if self.bias is None else y + self.bias.view(1, -1, 1)


@dataclass(frozen=True, slots=True)
class Elu:
    """The activation between convolutions."""

    def run(self, x: Tensor, carries: tuple[Tensor, ...]) -> Tensor:
        """Return `x` (1, channels, n) after this layer; its carry is updated in place."""
        return F.elu(x)


@dataclass(frozen=True, slots=True)
class Residual:
    """Layers whose output is added to their input."""

    layers: tuple[ConvolutionLayer, ...]

    def run(self, x: Tensor, carries: tuple[Tensor, ...]) -> Tensor:
        """Return `x` (1, channels, n) after this layer; its carry is updated in place."""
        y = x
        for layer in self.layers:
            y = layer.run(y, carries)
        return x + y


ConvolutionLayer = Conv | ConvTransposed | Elu | Residual


def _bias(conv: Any) -> Tensor | None:
    return None if conv.bias is None else conv.bias.data
