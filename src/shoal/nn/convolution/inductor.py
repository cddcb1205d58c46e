"""The reference written for Inductor: elementwise operations that it fuses into the sums over neighbours."""

from torch import Tensor

from shoal.nn.convolution.reference import ReferenceConvolution


class InductorConvolution(ReferenceConvolution):
    """Contracts by sums of products; a batched matrix product would cut the fusion. Eager, the reference is faster."""

    def _contract(self, matrices: Tensor, x: Tensor) -> Tensor:
        total = matrices[:, :, 0, None] * x[:, None, 0]
        for m in range(1, x.shape[1]):
            total = total + matrices[:, :, m, None] * x[:, None, m]
        return total
