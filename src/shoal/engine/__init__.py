"""The verbs that run potentials on many systems, and the calculator they share."""

from shoal.engine.calculator import BatchCalculator as BatchCalculator
from shoal.engine.calculator import load as load
from shoal.engine.evaluate import evaluate as evaluate
from shoal.engine.outcome import EvaluationResults as EvaluationResults
from shoal.engine.outcome import SystemResult as SystemResult
from shoal.engine.relax import relax as relax
from shoal.engine.results_folder import read_results as read_results
from shoal.engine.run_results import RunResults as RunResults
from shoal.engine.simulate import simulate as simulate
from shoal.engine.snapshot import DynamicsSnapshot as DynamicsSnapshot
from shoal.engine.snapshot import RelaxationSnapshot as RelaxationSnapshot
from shoal.engine.step import Limits as Limits
