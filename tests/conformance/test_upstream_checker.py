"""What the reference checker (metatomic-torch 0.1.19) accepts and ours refuses; both judge the same outputs.

Should a later version refuse one of these, its line moves to those that both refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pytest
import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelEvaluationOptions,
    ModelMetadata,
    ModelOutput,
    System,
    unit_conversion_factor,
)

from shoal.conformance import check_labels
from shoal.contract import OutputRequest, unit_factor
from shoal.errors import InputError

SIZES = [3, 2]
SYSTEMS, ATOMS = [[0], [1]], [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
MOVED = [[system, system, atom] for system, atom in ATOMS]
SELECTED = [[0, 1], [1, 0]]
PER_SYSTEM, PER_ATOM = OutputRequest(), OutputRequest(sample_kind="atom")
BOTH = OutputRequest(explicit_gradients=("positions", "strain"))
Gradients = Mapping[str, Sequence[Sequence[int]]]
WITH_GRADIENTS = {"positions": MOVED, "strain": SYSTEMS}
LAYOUTS = {"positions": (["sample", "system", "atom"], ["xyz"]), "strain": (["sample"], ["xyz_1", "xyz_2"])}


class Case(NamedTuple):
    """An output, what was asked, and the rules it breaks; none if it is sound."""

    request: OutputRequest
    rows: list[list[int]]
    gradients: Gradients = MappingProxyType({})
    selected: list[list[int]] | None = None
    rules: tuple[str, ...] = ()
    fill: float = 0.0
    sample: str = "system"
    prop: str = "energy"


def labels(names: list[str], rows: Sequence[Sequence[int]]) -> Labels:
    return Labels(names, torch.tensor(rows, dtype=torch.int32).reshape(-1, len(names)))


def output_of(case: Case) -> TensorMap:
    values = torch.full((len(case.rows), 1), case.fill, dtype=torch.float64)
    names = [case.sample, "atom"] if case.request.sample_kind == "atom" else [case.sample]
    block = TensorBlock(values, labels(names, case.rows), [], labels([case.prop], [[0]]))
    for name, rows in case.gradients.items():
        samples, axes = LAYOUTS[name]
        block.add_gradient(
            name,
            TensorBlock(
                torch.zeros(len(rows), *[3] * len(axes), 1, dtype=torch.float64),
                labels(samples, rows),
                [labels([axis], [[0], [1], [2]]) for axis in axes],
                block.properties,
            ),
        )
    return TensorMap(labels(["_"], [[0]]), [block])


def ours(case: Case) -> list[str]:
    selected = None if case.selected is None else labels(["system", "atom"], case.selected)
    found = check_labels({"energy": output_of(case)}, {"energy": case.request}, SIZES, selected)
    return sorted(fault.rule for fault in found)


def theirs(case: Case) -> str:
    """Why the reference checker refuses it, empty if it does not."""
    systems = [
        System(
            types=torch.full((n,), 18, dtype=torch.int32),
            positions=torch.arange(3.0 * n, dtype=torch.float64).reshape(n, 3),
            cell=torch.zeros(3, 3, dtype=torch.float64),
            pbc=torch.zeros(3, dtype=torch.bool),
        )
        for n in SIZES
    ]
    selected = None if case.selected is None else labels(["system", "atom"], case.selected)
    asked = ModelOutput(sample_kind=case.request.sample_kind, explicit_gradients=list(case.request.explicit_gradients))
    try:
        torch.ops.metatomic._check_quantities(
            systems, {"energy": asked}, selected, {"energy": output_of(case)}, "float64", "outputs"
        )
    except Exception as error:
        return str(error)
    return ""


def gradients(**changed: list[list[int]]) -> Gradients:
    return {**WITH_GRADIENTS, **changed}


ACCEPTED_THERE_REFUSED_HERE = {
    "an atom is missing": Case(PER_ATOM, ATOMS[:-1], rules=("R3",)),
    "no rows at all": Case(PER_ATOM, [], rules=("R3",)),
    "a system is missing": Case(PER_SYSTEM, [[0]], rules=("R3",)),
    "a row for atom 77": Case(PER_ATOM, [*ATOMS[:-1], [1, 77]], rules=("R3",)),
    "a row for atom -1": Case(PER_ATOM, [*ATOMS[:-1], [1, -1]], rules=("R3",)),
    "a row for system 5": Case(PER_SYSTEM, [[0], [5]], rules=("R3",)),
    "rows in another order": Case(PER_ATOM, ATOMS[::-1], rules=("S1",)),
    "rows of the selection in another order": Case(PER_ATOM, SELECTED[::-1], selected=SELECTED, rules=("S1",)),
    "the selection is ignored": Case(PER_ATOM, ATOMS, selected=SELECTED, rules=("R4",)),
    "half the selection is missing": Case(PER_ATOM, SELECTED[:1], selected=SELECTED, rules=("R4",)),
    "a system without selected atoms is missing": Case(PER_SYSTEM, [[0]], selected=[[0, 1]], rules=("S1",)),
    "NaN": Case(PER_SYSTEM, SYSTEMS, fill=float("nan"), rules=("values",)),
    "requested gradients are missing": Case(BOTH, SYSTEMS, rules=("R7", "R8")),
    "one of two gradients is missing": Case(BOTH, SYSTEMS, {"positions": MOVED}, rules=("R8",)),
    "gradients nobody asked for": Case(PER_SYSTEM, SYSTEMS, WITH_GRADIENTS, rules=("S8", "S8")),
    "an atom lacks its gradient": Case(BOTH, SYSTEMS, gradients(positions=MOVED[:-1]), rules=("S4",)),
    "gradient rows descend": Case(BOTH, SYSTEMS, gradients(positions=MOVED[::-1]), rules=("S4",)),
    "a gradient joins two systems": Case(BOTH, SYSTEMS, gradients(positions=[*MOVED[:-1], [0, 1, 1]]), rules=("R7",)),
    "a gradient in atom 77": Case(BOTH, SYSTEMS, gradients(positions=[*MOVED[:-1], [1, 1, 77]]), rules=("R7",)),
    "a system lacks its strain gradient": Case(BOTH, SYSTEMS, gradients(strain=[[0]]), rules=("R8",)),
}
SOUND = {
    "per system": Case(PER_SYSTEM, SYSTEMS),
    "per atom": Case(PER_ATOM, ATOMS),
    "selected atoms": Case(PER_ATOM, SELECTED, selected=SELECTED),
    "selected atoms, per system": Case(PER_SYSTEM, SYSTEMS, selected=SELECTED),
    "no atoms": Case(PER_ATOM, [], selected=[]),
    "gradients": Case(BOTH, SYSTEMS, WITH_GRADIENTS),
}
REFUSED_BY_BOTH = {
    "samples of another name": Case(PER_SYSTEM, SYSTEMS, sample="structure", rules=("R2",)),
    "a property of another name": Case(PER_SYSTEM, SYSTEMS, prop="energies", rules=("R6",)),
}


@pytest.mark.parametrize("name", ACCEPTED_THERE_REFUSED_HERE)
def test_accepted_there_and_refused_here(name: str) -> None:
    case = ACCEPTED_THERE_REFUSED_HERE[name]
    assert theirs(case) == ""
    assert ours(case) == sorted(case.rules)


@pytest.mark.parametrize("name", SOUND)
def test_both_accept_what_is_sound(name: str) -> None:
    assert theirs(SOUND[name]) == ""
    assert ours(SOUND[name]) == []


@pytest.mark.parametrize("name", REFUSED_BY_BOTH)
def test_both_refuse(name: str) -> None:
    assert theirs(REFUSED_BY_BOTH[name])
    assert ours(REFUSED_BY_BOTH[name]) == list(REFUSED_BY_BOTH[name].rules)


class Spring(torch.nn.Module):
    """E = sum of r^2 with its positions gradient 2 r, made once and given again at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, TensorMap] = {}

    def forward(
        self,
        systems: list[System],
        outputs: dict[str, ModelOutput],
        selected_atoms: Labels | None,
    ) -> dict[str, TensorMap]:
        if not self.kept:
            r = systems[0].positions
            block = TensorBlock(
                r.square().sum().reshape(1, 1), labels(["system"], [[0]]), [], labels(["energy"], [[0]])
            )
            rows = labels(["sample", "system", "atom"], [[0, 0, a] for a in range(len(r))])
            axis = [labels(["xyz"], [[0], [1], [2]])]
            block.add_gradient("positions", TensorBlock(2 * r[:, :, None], rows, axis, block.properties))
            self.kept = {"energy": TensorMap(labels(["_"], [[0]]), [block])}
        return self.kept


@pytest.fixture
def spring() -> tuple[AtomisticModel, System, ModelEvaluationOptions]:
    """The reference implementation's own wrapper around it, one atom at x = 2 A, asked in Bohr and Ha."""
    from typing import Dict, List, Optional  # noqa: UP035 (the wrapper compares annotations)

    Spring.forward.__annotations__ = {
        "systems": List[System],  # noqa: UP006
        "outputs": Dict[str, ModelOutput],  # noqa: UP006
        "selected_atoms": Optional[Labels],  # noqa: UP045
        "return": Dict[str, TensorMap],  # noqa: UP006
    }
    energy = ModelOutput(unit="eV", sample_kind="system", explicit_gradients=["positions"])
    capabilities = ModelCapabilities(
        outputs={"energy": energy},
        atomic_types=[18],
        interaction_range=1.0,
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    system = System(
        types=torch.tensor([18], dtype=torch.int32),
        positions=torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64) / unit_factor("Bohr", "A"),
        cell=torch.zeros(3, 3, dtype=torch.float64),
        pbc=torch.zeros(3, dtype=torch.bool),
    )
    asked = ModelOutput(unit="Hartree", sample_kind="system", explicit_gradients=["positions"])
    options = ModelEvaluationOptions(length_unit="bohr", outputs={"energy": asked})
    return AtomisticModel(Spring().eval(), ModelMetadata(), capabilities), system, options


def test_there_gradients_are_converted_by_the_unit_of_the_energy_alone(spring) -> None:  # type: ignore[no-untyped-def]
    model, system, options = spring
    gradient = model([system], options, check_consistency=True)["energy"].block(0).gradient("positions").values
    x = float(gradient[0, 0, 0])
    assert x == pytest.approx(4.0 * unit_factor("eV", "Ha"), rel=1e-6)  # Ha per A, where Ha per Bohr was due
    assert x != pytest.approx(4.0 * unit_factor("eV/A", "Ha/Bohr"), rel=0.1)


def test_there_units_are_converted_in_place(spring) -> None:  # type: ignore[no-untyped-def]
    model, system, options = spring
    first = float(model([system], options, check_consistency=True)["energy"].block(0).values[0, 0])
    second = float(model([system], options, check_consistency=True)["energy"].block(0).values[0, 0])
    assert first == pytest.approx(4.0 * unit_factor("eV", "Ha"), rel=1e-6)
    assert second == pytest.approx(4.0 * unit_factor("eV", "Ha") ** 2, rel=1e-6)


def test_there_a_mega_is_a_milli() -> None:
    assert unit_conversion_factor("eV", "MeV") == unit_conversion_factor("eV", "meV")
    assert unit_factor("eV", "MeV") == pytest.approx(1e-6)
    with pytest.raises(InputError):
        unit_factor("eV", "mev")
