"""The verbs that run potentials on many systems, and the calculator they share."""

from shoal.engine.calculator import BatchCalculator as BatchCalculator
from shoal.engine.calculator import load as load
