"""Equivariant building blocks; features are (N, 2l+1, C) per irrep, channels innermost."""

from .convolution import CONVOLUTIONS as CONVOLUTIONS
from .convolution import Convolution as Convolution
from .convolution import Edges as Edges
from .gate import Gate as Gate
from .harmonics import spherical_harmonics as spherical_harmonics
from .irreps import SCALAR as SCALAR
from .irreps import Channels as Channels
from .irreps import Features as Features
from .irreps import Irrep as Irrep
from .irreps import couplings as couplings
from .irreps import reachable as reachable
from .linear import IrrepsLinear as IrrepsLinear
from .linear import SelfConnection as SelfConnection
from .radial import BesselBasis as BesselBasis
from .radial import ScalarMLP as ScalarMLP
from .radial import polynomial_envelope as polynomial_envelope
from .scale_shift import ScaleShift as ScaleShift
from .wigner import wigner_3j as wigner_3j
