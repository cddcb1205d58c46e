"""The convolution by C++ kernels on a CPU, differentiable twice: what training with forces needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from shoal.native import compiler
from shoal.nn.convolution.base import Convolution, Edges
from shoal.nn.convolution.native import operators
from shoal.nn.convolution.native.layout import lanes
from shoal.nn.convolution.native.plan import ConvolutionPlan
from shoal.nn.irreps import Channels, Features


class NativeConvolution(Convolution):
    """Sums and gradients without messages in memory.

    The kernel is built by `build_kernels`, or at the first call, which then may raise CompileError.
    """

    def _prepare(self, inputs: Channels, dtype: torch.dtype) -> None:
        self.plan = ConvolutionPlan("Layer", inputs, self.outputs, tuple(self.paths), self.l_max, lanes(dtype))
        self.kernel = operators.register(self.plan, dtype)

    def forward(self, features: Features, edges: Edges) -> Features:
        x = torch.cat([self._filled(x).flatten(1) for x in features.values()], dim=1)
        sums = torch.ops.shoal.convolve(
            self.kernel, x, self._weights(edges.radial), edges.harmonics, edges.centre, edges.source, edges.n_centres
        )
        return self._slots(sums)

    def _filled(self, x: Tensor) -> Tensor:
        """Channels with zeros behind them up to whole vectors."""
        missing = -x.shape[-1] % self.plan.lanes
        return pad(x, (0, missing)) if missing else x

    def _weights(self, radial: Tensor) -> Tensor:
        weights = self.radial(radial)
        if all(path.channels % self.plan.lanes == 0 for path in self.paths):
            return weights
        parts = weights.split([path.channels for path in self.paths], dim=1)
        return torch.cat([self._filled(part) for part in parts], dim=1)

    def _slots(self, sums: Tensor) -> Features:
        """By irrep, without what fills its parts up."""
        layout, found = self.plan.sums, {}
        for irrep, block in layout.blocks.items():
            rows = sums[:, block.start : block.start + irrep.dim * block.stride].unflatten(1, (irrep.dim, block.stride))
            starts = [layout.part(irrep, n) for n in range(len(layout.parts[irrep]))]
            parts = [rows[:, :, start : start + c] for start, c in zip(starts, layout.parts[irrep], strict=True)]
            found[irrep] = rows if block.stride == self.outputs[irrep] else torch.cat(parts, dim=2)
        return found


def build_kernels(model: nn.Module) -> None:
    """Build the kernels of all native convolutions in a model side by side. Raises CompileError."""
    words = {module.kernel for module in model.modules() if isinstance(module, NativeConvolution)}
    if words:
        compiler()
        with ThreadPoolExecutor() as pool:
            list(pool.map(operators.library, sorted(words)))
