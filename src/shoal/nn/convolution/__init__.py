"""Implementations of the equivariant convolution behind one interface."""

from .base import Convolution as Convolution
from .base import Edges as Edges
from .reference import ReferenceConvolution as ReferenceConvolution
