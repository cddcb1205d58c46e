"""Equivariant building blocks; features are (N, 2l+1, C) per irrep, channels innermost."""

from .convolution import Convolution as Convolution
from .convolution import Edges as Edges
from .convolution import ReferenceConvolution as ReferenceConvolution
from .gate import Gate as Gate
from .harmonics import spherical_harmonics as spherical_harmonics
from .irreps import SCALAR as SCALAR
from .irreps import Channels as Channels
from .irreps import Features as Features
from .irreps import Irrep as Irrep
from .irreps import reachable as reachable
from .linear import IrrepsLinear as IrrepsLinear
from .linear import SelfConnection as SelfConnection
from .radial import BesselBasis as BesselBasis
from .radial import ScalarMLP as ScalarMLP
from .radial import polynomial_envelope as polynomial_envelope
from .types import ScaleShift as ScaleShift
from .types import TypeEmbedding as TypeEmbedding
from .wigner import wigner_3j as wigner_3j
