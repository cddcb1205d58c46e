"""Equivariant building blocks; features are (N, 2l+1, C) per irrep, channels innermost."""

from shoal.nn.convolution import CONVOLUTIONS as CONVOLUTIONS
from shoal.nn.convolution import Convolution as Convolution
from shoal.nn.convolution import Edges as Edges
from shoal.nn.cutoffs import EdgeCutoffs as EdgeCutoffs
from shoal.nn.gate import Gate as Gate
from shoal.nn.harmonics import spherical_harmonics as spherical_harmonics
from shoal.nn.irreps import SCALAR as SCALAR
from shoal.nn.irreps import Channels as Channels
from shoal.nn.irreps import Features as Features
from shoal.nn.irreps import Irrep as Irrep
from shoal.nn.irreps import couplings as couplings
from shoal.nn.irreps import reachable as reachable
from shoal.nn.linear import IrrepsLinear as IrrepsLinear
from shoal.nn.linear import SelfConnection as SelfConnection
from shoal.nn.norm_activation import NormActivation as NormActivation
from shoal.nn.radial import BesselBasis as BesselBasis
from shoal.nn.radial import ScalarMLP as ScalarMLP
from shoal.nn.radial import polynomial_envelope as polynomial_envelope
from shoal.nn.scale_shift import ScaleShift as ScaleShift
from shoal.nn.wigner import wigner_3j as wigner_3j
from shoal.nn.zbl import ZBL as ZBL

NONLINEARITIES: dict[str, type[Gate] | type[NormActivation]] = {"gate": Gate, "norm": NormActivation}
