"""Molecular dynamics: each integrator is `init`, `step` and `conserved` over a frozen state."""

from shoal.dynamics.base import Integrator as Integrator
from shoal.dynamics.base import MDState as MDState
from shoal.dynamics.base import Ramp as Ramp
from shoal.dynamics.cell_rescaling import CellRescaling as CellRescaling
from shoal.dynamics.langevin import Langevin as Langevin
from shoal.dynamics.nose_hoover import NoseHoover as NoseHoover
from shoal.dynamics.nve import NVE as NVE
from shoal.dynamics.thermal import kinetic_energy as kinetic_energy
from shoal.dynamics.thermal import maxwell_boltzmann as maxwell_boltzmann
from shoal.dynamics.thermal import temperature as temperature

INTEGRATORS: tuple[type[Integrator], ...] = (NVE, Langevin, NoseHoover, CellRescaling)
"""Every integrator there is."""
