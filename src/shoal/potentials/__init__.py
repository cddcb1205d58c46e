"""Potentials: what they are, and those that need no training."""

from shoal.potentials._derivatives import cell_volume as cell_volume
from shoal.potentials._derivatives import stress as stress
from shoal.potentials._rows import RowFunction as RowFunction
from shoal.potentials.base import Potential as Potential
from shoal.potentials.committee import Committee as Committee
from shoal.potentials.compiled import CompiledPotential as CompiledPotential
from shoal.potentials.graph import Graph as Graph
from shoal.potentials.learned import LearnedPotential as LearnedPotential
from shoal.potentials.lennard_jones import LennardJones as LennardJones
from shoal.potentials.load import load_potential as load_potential
from shoal.potentials.native import NativePotential as NativePotential
from shoal.potentials.nequip_compiled import CompiledNequIP as CompiledNequIP
from shoal.potentials.pair import PairPotential as PairPotential
from shoal.potentials.pair import pair_terms as pair_terms
from shoal.potentials.pair_sums import PairTerms as PairTerms
from shoal.potentials.pair_sums import pair_sums as pair_sums
from shoal.potentials.short_range import ShortRangePotential as ShortRangePotential
from shoal.potentials.stillinger_weber import StillingerWeber as StillingerWeber
from shoal.potentials.sum import Sum as Sum
from shoal.potentials.uff import uff_lennard_jones as uff_lennard_jones
from shoal.potentials.variants import Variants as Variants
