"""Implementations of the equivariant convolution behind one interface, with the same parameters."""

from shoal.nn.convolution.base import Convolution as Convolution
from shoal.nn.convolution.base import Edges as Edges
from shoal.nn.convolution.inductor import InductorConvolution as InductorConvolution
from shoal.nn.convolution.native.convolution import NativeConvolution as NativeConvolution
from shoal.nn.convolution.native.convolution import build_kernels as build_kernels
from shoal.nn.convolution.reference import ReferenceConvolution as ReferenceConvolution

CONVOLUTIONS: dict[str, type[Convolution]] = {
    "reference": ReferenceConvolution,
    "inductor": InductorConvolution,
    "native": NativeConvolution,
}
