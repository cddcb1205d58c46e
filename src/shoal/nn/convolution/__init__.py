"""Implementations of the equivariant convolution behind one interface, with the same parameters."""

from .base import Convolution as Convolution
from .base import Edges as Edges
from .inductor import InductorConvolution as InductorConvolution
from .reference import ReferenceConvolution as ReferenceConvolution

CONVOLUTIONS: dict[str, type[Convolution]] = {
    "reference": ReferenceConvolution,
    "inductor": InductorConvolution,
}
