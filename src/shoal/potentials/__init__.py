"""Potentials: what they are, and those that need no training."""

from shoal.potentials.base import Potential as Potential
from shoal.potentials.base import ShortRangePotential as ShortRangePotential
from shoal.potentials.graph import Graph as Graph
from shoal.potentials.lennard_jones import LennardJones as LennardJones
from shoal.potentials.sum import Sum as Sum
