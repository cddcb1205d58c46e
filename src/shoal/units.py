"""Shoal's units and the few factors that follow from them (CODATA 2018).

Length A, energy eV, mass u, time fs, temperature K, pressure GPa at public interfaces.
"""

_ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact
_ATOMIC_MASS = 1.66053906660e-27  # kg

ACCELERATION = _ELEMENTARY_CHARGE / _ATOMIC_MASS * 1e-10
"""A/fs^2 per (eV/A)/u: acceleration = force / mass * ACCELERATION."""

KINETIC = 1.0 / ACCELERATION
"""eV per u A^2/fs^2: kinetic energy = 0.5 * mass * velocity^2 * KINETIC."""

GPA = 1e-21 / _ELEMENTARY_CHARGE
"""eV/A^3 in one GPa."""

BOLTZMANN = 1.380649e-23 / _ELEMENTARY_CHARGE
"""eV/K."""

KCAL_PER_MOL = 4184 / (6.02214076e23 * _ELEMENTARY_CHARGE)
"""eV in one kcal/mol, the thermochemical calorie."""
