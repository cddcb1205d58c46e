"""An exported model is the eager one to any engine of metatomic."""

from __future__ import annotations

import subprocess
import sys
from math import fsum
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from ase.neighborlist import neighbor_list as ase_neighbor_list
from metatensor.torch import Labels, TensorMap, allclose_raise
from metatomic.torch import AtomisticModel, load_atomistic_model
from tests.integrations.metatomic.cases import expected, frames, oxide, slab
from tests.integrations.metatomic.engine import energy, system_of

from shoal.contract import OutputRequest
from shoal.integrations.metatomic import Exported
from shoal.io import atoms_to_state
from shoal.potentials import LearnedPotential

EXACT = {"rtol": 0.0, "atol": 1e-10}


def test_energies_forces_and_strain_gradients_are_the_eager_models(
    eager: LearnedPotential, model: AtomisticModel
) -> None:
    """Forwards, many systems of any periodicity at once; the executor of TorchScript has seen other sizes before."""
    for batch in ([oxide()], frames(), frames()[::-1], frames()):
        strains = [torch.eye(3, dtype=torch.float64, requires_grad=True) for _ in batch]
        systems = [system_of(atoms, model, strain) for atoms, strain in zip(batch, strains, strict=True)]
        want = expected(eager, batch)
        total = energy(model, systems).block().values
        atomic = energy(model, systems, "atom").block().values
        torch.testing.assert_close(total[:, 0], want["energy"], **EXACT)
        torch.testing.assert_close(atomic[:, 0], want["atomic_energy"], **EXACT)
        gradients = torch.autograd.grad(total.sum(), strains)
        torch.testing.assert_close(-torch.stack(gradients), want["virial"], **EXACT)
        leaves = [system_of(atoms, model) for atoms in batch]
        forces = torch.autograd.grad(energy(model, leaves).block().values.sum(), [each.positions for each in leaves])
        torch.testing.assert_close(-torch.cat(forces), want["forces"], **EXACT)


def test_gradients_in_the_cell_alone_are_those_of_central_differences(model: AtomisticModel) -> None:
    """At fixed positions, of the axes that are periodic."""
    step = 2e-5
    for atoms in (oxide(), slab()):
        system = system_of(atoms, model)
        (gradient,) = torch.autograd.grad(energy(model, [system]).block().values.sum(), [system.cell])

        def moved(atoms: Atoms, row: int, column: int, by: float) -> float:
            copied = atoms.copy()
            copied.cell[row, column] += by
            return energy(model, [system_of(copied, model)]).block().values.item()

        for row, column in ((0, 0), (0, 2), (1, 2)):
            difference = (moved(atoms, row, column, step) - moved(atoms, row, column, -step)) / (2 * step)
            assert float(gradient[row, column]) == pytest.approx(difference, abs=1e-6)


def test_gradients_are_those_of_central_differences(model: AtomisticModel) -> None:
    """Of one selected atom's energy in the positions, of the whole in a strain."""
    atoms, step, chosen = oxide(2), 2e-5, [(0, 1)]
    system = system_of(atoms, model)
    (gradient,) = torch.autograd.grad(energy(model, [system], selected=chosen).block().values.sum(), [system.positions])

    def moved(atom: int, axis: int, by: float) -> float:
        copied = atoms.copy()
        copied.positions[atom, axis] += by
        return energy(model, [system_of(copied, model)], selected=chosen).block().values.item()

    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        difference = (moved(atom, axis, step) - moved(atom, axis, -step)) / (2 * step)
        assert float(gradient[atom, axis]) == pytest.approx(difference, abs=1e-6)

    def strained(row: int, column: int, by: float) -> float:
        copied = atoms.copy()
        deformation = np.eye(3)
        deformation[row, column] += by
        copied.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        return energy(model, [system_of(copied, model)]).block().values.item()

    strain = torch.eye(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(model, [system_of(atoms, model, strain)]).block().values.sum(), [strain])
    for row, column in ((0, 0), (0, 2), (2, 1)):
        difference = (strained(row, column, step) - strained(row, column, -step)) / (2 * step)
        assert float(slope[row, column]) == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("sample_kind", ["system", "atom"])
@pytest.mark.parametrize("selected", [None, [(5, 2), (0, 1), (1, 0)], [(3, 0)], []], ids=["all", "some", "one", "none"])
def test_it_gives_the_maps_of_the_labelled_face(
    eager: LearnedPotential, model: AtomisticModel, sample_kind: str, selected: list[tuple[int, int]] | None
) -> None:
    state = atoms_to_state(frames())
    labels = None
    if selected is not None:
        labels = Labels(["system", "atom"], torch.tensor(selected, dtype=torch.int32).reshape(-1, 2))
    want = eager.outputs(
        state, {"energy": OutputRequest(sample_kind=sample_kind)}, labels, atom_types=eager.type_map(True)(state)
    )["energy"]
    got = energy(model, [system_of(atoms, model) for atoms in frames()], sample_kind, selected)
    same(got, want)


def same(got: TensorMap, want: TensorMap) -> None:
    """Names, entries and order of all labels, dtypes, and values."""
    allclose_raise(got, want, rtol=0.0, atol=1e-10)
    assert torch.equal(got.block().samples.values, want.block().samples.values)
    assert got.block().values.dtype == want.block().values.dtype == torch.float64


def test_a_domain_needs_ghosts_within_the_interaction_range_only(model: AtomisticModel) -> None:
    """As LAMMPS cuts space: some atoms, and the others and their images as free atoms around them."""
    atoms, chosen = oxide(3), [0, 1]
    centre, source, shift = ase_neighbor_list("ijS", atoms, model.capabilities().interaction_range)
    ghosts = {(j, *s) for i, j, s in zip(centre, source, shift.tolist(), strict=True) if i in chosen}
    members = [(i, 0, 0, 0) for i in chosen]
    members += sorted(ghosts - set(members))
    index, images = [member[0] for member in members], np.array([member[1:] for member in members])
    domain = Atoms(atoms.numbers[index], atoms.positions[index] + images @ atoms.cell.array)
    selected = [(0, i) for i in chosen]
    whole, cut = (system_of(each, model) for each in (atoms, domain))
    want, got = (energy(model, [system], "atom", selected).block().values for system in (whole, cut))
    torch.testing.assert_close(got, want, **EXACT)
    (slope,) = torch.autograd.grad(want.sum(), [whole.positions])
    (of_images,) = torch.autograd.grad(got.sum(), [cut.positions])
    torch.testing.assert_close(torch.zeros_like(slope).index_add(0, torch.tensor(index), of_images), slope, **EXACT)


@pytest.mark.parametrize("sample_kind", ["system", "atom"])
def test_no_systems_and_no_atoms(model: AtomisticModel, sample_kind: str) -> None:
    nothing = energy(model, [], sample_kind).block()
    assert nothing.values.shape == (0, 1)
    assert nothing.samples.names == ["system", "atom"][: 1 if sample_kind == "system" else 2]
    empty = energy(model, [system_of(Atoms(), model)], sample_kind).block()
    assert empty.values.shape == (1 if sample_kind == "system" else 0, 1)
    assert not empty.values.any()
    among = energy(model, [system_of(each, model) for each in (Atoms(), Atoms("Mg"), Atoms())], sample_kind).block()
    assert among.values.sum().item() == pytest.approx(-1.5, abs=1e-12)


def test_other_units_and_a_backward_pass_through_them(model: AtomisticModel) -> None:
    """The engine converts in place, what the backward pass needs must not be in it."""
    system = system_of(oxide(), model)
    plain = energy(model, [system]).block().values
    (slope,) = torch.autograd.grad(plain.sum(), [system.positions])
    other = system_of(oxide(), model)
    converted = energy(model, [other], unit="meV").block().values
    (steeper,) = torch.autograd.grad(converted.sum(), [other.positions])
    torch.testing.assert_close(converted, 1e3 * plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(steeper, 1e3 * slope, rtol=1e-12, atol=1e-12)


def test_second_derivatives_in_positions(eager: LearnedPotential, model: AtomisticModel, native: bool) -> None:
    """What heat fluxes and phonons take; along one direction, against differences of the forces."""
    atoms, step = oxide(), 2e-5
    along = torch.from_numpy(np.random.default_rng(1).normal(size=(len(atoms), 3)))
    system = system_of(atoms, model)
    (slope,) = torch.autograd.grad(energy(model, [system]).block().values.sum(), [system.positions], create_graph=True)
    if native:
        with pytest.raises(NotImplementedError, match="first derivatives only; .* shoal export --portable"):
            torch.autograd.grad((slope * along).sum(), [system.positions])
        return
    (bent,) = torch.autograd.grad((slope * along).sum(), [system.positions])

    def forces(by: float) -> torch.Tensor:
        copied = atoms.copy()
        copied.positions += by * along.numpy()
        return expected(eager, [copied])["forces"]

    torch.testing.assert_close(bent, (forces(-step) - forces(step)) / (2 * step), rtol=0, atol=1e-5)


def test_large_energies_lose_no_digits(eager: LearnedPotential, model: AtomisticModel) -> None:
    atoms = oxide(40)
    systems = [system_of(atoms, model)]
    atomic = energy(model, systems, "atom").block().values
    assert energy(model, systems).block().values.item() == pytest.approx(fsum(atomic[:, 0].tolist()), abs=1e-9)


def test_an_element_it_does_not_know_is_refused(model: AtomisticModel) -> None:
    with pytest.raises(ValueError, match="does not support the atomic type '14'"):
        energy(model, [system_of(Atoms("Si"), model)])


@pytest.mark.gpu
def test_it_runs_on_a_gpu(eager: LearnedPotential, model: AtomisticModel, exported: Exported) -> None:
    if exported.extensions is not None:
        pytest.skip("native kernels run on a CPU")
    on_gpu = load_atomistic_model(exported.path).to("cuda")
    leaves = [system_of(atoms, model) for atoms in frames()]
    total = energy(on_gpu, [each.to(device="cuda") for each in leaves]).block().values
    forces = torch.autograd.grad(total.sum(), [each.positions for each in leaves])
    want = expected(eager, frames())
    torch.testing.assert_close(total[:, 0].cpu(), want["energy"], **EXACT)
    torch.testing.assert_close(-torch.cat(forces), want["forces"], **EXACT)


def test_a_process_without_shoal_loads_several(exported: Exported, tabulated: Exported, tmp_path: Path) -> None:
    """Of other weights and other kernels, each with its own copy of the operator."""
    atoms = Atoms("OMg", positions=[[0, 0, 0], [1.2, 0.7, 0.9]])
    write(tmp_path / "atoms.xyz", atoms)
    script = (
        "import sys, ase.io\n"
        "from metatomic.torch import load_atomistic_model\n"
        "from tests.integrations.metatomic.engine import energy, system_of\n"
        "atoms = ase.io.read(sys.argv[1])\n"
        "models = [load_atomistic_model(*each.split(',')) for each in sys.argv[2:]]\n"
        "for model in models:\n"
        "    print(energy(model, [system_of(atoms, model)]).block().values.item())\n"
        "assert not any(name.split('.')[0] == 'shoal' for name in sys.modules)\n"
    )
    several = [exported, tabulated]
    files = [str(each.path) + ("" if each.extensions is None else f",{each.extensions}") for each in several]
    command = [sys.executable, "-c", script, tmp_path / "atoms.xyz", *files]
    run = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    packages = [LearnedPotential.from_package(each.path.with_suffix(".shoal")) for each in several]
    want = [expected(each, [read(tmp_path / "atoms.xyz")])["energy"].item() for each in packages]
    exact, close = (float(line) for line in run.stdout.split())
    assert exact == pytest.approx(want[0], abs=1e-10)
    assert close == pytest.approx(want[1], abs=1e-5)


def test_a_calculator_of_the_field_gets_the_same(eager: LearnedPotential, exported: Exported) -> None:
    """metatomic's own for ASE, with its own neighbour list and strain."""
    calculator = pytest.importorskip("metatomic_ase").MetatomicCalculator(
        exported.path, check_consistency=True, extensions_directory=exported.extensions
    )
    atoms = oxide(2)
    atoms.calc = calculator
    want = expected(eager, [atoms])
    assert atoms.get_potential_energy() == pytest.approx(want["energy"].item(), abs=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), want["forces"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), want["stress"][0], rtol=0, atol=1e-10)
