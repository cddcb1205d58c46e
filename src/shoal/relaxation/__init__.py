"""Relaxation: optimizers and the cell filters that say which degrees of freedom move."""

from shoal.relaxation.base import Optimizer as Optimizer
from shoal.relaxation.filters import FILTERS as FILTERS
from shoal.relaxation.filters import CellFilter as CellFilter
from shoal.relaxation.filters import FixedCell as FixedCell
from shoal.relaxation.filters import Frechet as Frechet
from shoal.relaxation.filters import UnitCell as UnitCell
from shoal.relaxation.filters import cell_filter as cell_filter
from shoal.relaxation.fire import FIRE as FIRE
from shoal.relaxation.lbfgs import LBFGS as LBFGS
from shoal.relaxation.state import RelaxState as RelaxState

OPTIMIZERS: tuple[type[Optimizer], ...] = (FIRE, LBFGS)
"""Every optimizer there is."""
