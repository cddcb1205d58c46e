"""Models for the engines of metatomic (ASE, i-PI, LAMMPS, GROMACS, torch-sim ...)."""

from shoal.integrations.metatomic.export import Exported as Exported
from shoal.integrations.metatomic.export import export_model as export_model
