"""Which atoms, and whether the centre of mass, stay where they are."""

from shoal.constraints.degrees_of_freedom import degrees_of_freedom as degrees_of_freedom
from shoal.constraints.kinds import Constraint as Constraint
from shoal.constraints.kinds import FixAtoms as FixAtoms
from shoal.constraints.kinds import FixCenterOfMass as FixCenterOfMass
from shoal.constraints.project import hold_forces as hold_forces
from shoal.constraints.project import hold_velocities as hold_velocities
from shoal.constraints.take_over import constrained as constrained
