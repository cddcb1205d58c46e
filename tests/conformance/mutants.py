"""Potentials with one fault each: what a check that is worth its name must catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from tests.conformance import faulty_calls as calls
from tests.conformance import faulty_labels as labels
from tests.conformance import faulty_values as values
from tests.conformance.faulty_labels import relabelling
from tests.conformance.faulty_values import spoiling, with_term

from shoal.potentials import Potential


class Mutant(NamedTuple):
    """How it is made, the checks that must fail on it, and whether all others must pass."""

    make: Callable[[], Potential]
    caught_by: frozenset[str]
    alone: bool


def _mutant(make: Callable[[], Potential], *caught_by: str, alone: bool = False) -> Mutant:
    return Mutant(make, frozenset(caught_by), alone)


MUTANTS: dict[str, Mutant] = {
    "wrong sign": _mutant(
        spoiling(lambda v, s, n: {"forces": -v["forces"]}), "positions gradient", "NVE drift", alone=True
    ),
    "rows of forces mixed up": _mutant(
        spoiling(values.mixed_up), "positions gradient", "permutation", "force Jacobian"
    ),
    "half the virial": _mutant(
        spoiling(lambda v, s, n: {"virial": v["virial"] / 2, "stress": v["stress"] / 2}), "strain gradient", alone=True
    ),
    "lopsided virial": _mutant(
        spoiling(lambda v, s, n: {"virial": v["virial"] + 1e-4 * torch.eye(3, dtype=torch.float64).roll(1, 0)}),
        "symmetric stress",
        "strain gradient",
        "rotation and inversion",
    ),
    "stress of other sign": _mutant(spoiling(lambda v, s, n: {"stress": -v["stress"]}), "strain gradient", alone=True),
    "NaN for slabs": _mutant(spoiling(values.nan_of_slabs), "finite"),
    "NaN for lone atoms": _mutant(spoiling(values.nan_of_lone_atoms), "isolated atom and dimers"),
    "atoms do not sum to the energy": _mutant(
        spoiling(lambda v, s, n: {"atomic_energy": v["atomic_energy"] * (1 + 1e-6)}), "atom sum"
    ),
    "an atom sum that reference energies hide": _mutant(spoiling(values.hidden), "atom sum"),
    "float32 totals": _mutant(spoiling(values.rounded), "atom sum", "positions gradient", "NVE drift"),
    "forces that derive from no energy": _mutant(
        spoiling(values.weakened), "positions gradient", "force Jacobian", "translation", "NVE drift", alone=True
    ),
    "batch leakage": _mutant(spoiling(values.leaking), "batch independence"),
    "volume of another system": _mutant(spoiling(values.rolled_volumes), "batch independence", alone=True),
    "unwrapped atoms cost": _mutant(spoiling(values.counted_cells), "lattice translations", "translation"),
    "the first atom is another": _mutant(values.FirstAtomIsHeavy, "permutation", "supercell"),
    "x is another axis": _mutant(with_term(values.field), "rotation and inversion", "symmetric stress", alone=True),
    "handed": _mutant(with_term(values.handed), "rotation and inversion", alone=True),
    "range too small": _mutant(with_term(values.second_layer), "interaction range"),
    "a step": _mutant(with_term(values.jump), "smoothness"),
    "a kink": _mutant(with_term(values.kink), "smoothness"),
    "cutoff jump": _mutant(calls.CutOff, "smoothness"),
    "not extensive": _mutant(values.NotExtensive, "supercell", alone=True),
    "tied to the origin": _mutant(values.Anchored, "translation", "lattice translations"),
    "shared buffer": _mutant(calls.SharedBuffer, "repeatable"),
    "noise": _mutant(calls.Noisy, "repeatable"),
    "ageing": _mutant(calls.Ageing, "repeatable"),
    "global seed": _mutant(calls.Seeding, "nothing touched", alone=True),
    "grad mode": _mutant(calls.SwitchesGradients, "nothing touched"),
    "mutated input": _mutant(calls.Wrapping, "nothing touched"),
    "takes tensors for contiguous": _mutant(calls.ReadsMemory, "layout and float32", alone=True),
    "float32 energies": _mutant(calls.SinglePrecision, "layout and float32", alone=True),
    "labelled outputs in a shared buffer": _mutant(calls.LabelledBuffer, "repeatable"),
    "labelled outputs change their input": _mutant(calls.LabelledWrapping, "nothing touched"),
    "labelled outputs take tensors for contiguous": _mutant(
        calls.LabelledReadsMemory, "layout and float32", alone=True
    ),
    "counts pairs in the skin": _mutant(calls.UsesWholeList, "neighbour list", alone=True),
    "takes every element": _mutant(calls.TakesEverything, "unsupported element", alone=True),
    "does not name the element": _mutant(calls.Mumbles, "unsupported element", alone=True),
    "no stress": _mutant(calls.LacksStress, "declared is delivered"),
    "dropped row": _mutant(calls.DropsRow, "declared is delivered"),
    "labelled rows in reverse": _mutant(relabelling(labels.reversed_rows), "labels", "selected atoms"),
    "labelled row missing": _mutant(relabelling(labels.without_last_row), "labels", "selected atoms"),
    "a row for atom 77": _mutant(relabelling(labels.atom_77), "labels"),
    "gradients swapped in batches": _mutant(relabelling(labels.swapped_in_batches), "batch independence", alone=True),
    "no gradients": _mutant(relabelling(labels.without_gradients), "labels", "positions gradient", "strain gradient"),
    "property of another name": _mutant(relabelling(labels.other_property), "labels", alone=True),
    # of an energy that is the same however a system lies, the gradient in the strain is symmetric
    "transposed strain": _mutant(relabelling(labels.transposed_strain, with_term(values.field)), "strain gradient"),
    "cell strained from the wrong side": _mutant(
        spoiling(values.columns_for_rows), "strain gradient", "lattice translations"
    ),
    "gradients of selected atoms only": _mutant(
        relabelling(labels.own_rows_only), "selected atoms", "positions gradient", alone=True
    ),
    "labelled NaN": _mutant(relabelling(labels.nan_values), "labels"),
    "detached": _mutant(relabelling(labels.detached), "positions gradient", "strain gradient", alone=True),
    "answers anything": _mutant(labels.AnswersAnything, "declared is delivered", alone=True),
    "refuses with another error": _mutant(labels.RefusesWithAnotherError, "declared is delivered", alone=True),
    "gradients of other sign, no energies of atoms": _mutant(
        relabelling(labels.opposite_gradients, values.EnergiesOfSystems),
        "positions gradient",
        "strain gradient",
        alone=True,
    ),
    "selection ignored": _mutant(labels.IgnoresSelection, "labels", "selected atoms"),
    "converts energies only": _mutant(labels.ConvertsValuesOnly, "units", alone=True),
    "converts in place": _mutant(labels.ConvertsInPlace, "units", alone=True),
    "variant with gradients of other sign": _mutant(
        labels.of_a_variant(labels.opposite_gradients), "positions gradient", "strain gradient", alone=True
    ),
    "variant that converts energies only": _mutant(
        labels.of_a_variant(labels.unconverted_gradients), "units", alone=True
    ),
    "variant whose atoms do not sum to it": _mutant(labels.of_a_variant(labels.larger_per_atom), "atom sum"),
    "variant in another order": _mutant(labels.of_a_variant(labels.reversed_rows), "labels", "selected atoms"),
    "variant with gradients swapped in batches": _mutant(
        labels.of_a_variant(labels.swapped_in_batches), "batch independence", alone=True
    ),
    "own quantity of another layout": _mutant(labels.of_its_own(labels.without_axes), "labels", alone=True),
    "own quantity whose property has another name": _mutant(
        labels.of_its_own(labels.other_property), "labels", alone=True
    ),
    "own quantity whose atoms do not sum to it": _mutant(
        labels.of_its_own(labels.larger_per_atom), "atom sum", alone=True
    ),
    "negative uncertainty": _mutant(labels.NegativeUncertainty, "uncertainty", alone=True),
    "ensemble of another mean": _mutant(labels.OtherMean, "uncertainty", alone=True),
}
