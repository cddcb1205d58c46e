"""An exported model is the eager one to any engine of metatomic."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from math import fsum
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import read, write
from ase.neighborlist import neighbor_list as ase_neighbor_list
from metatensor.torch import Labels, TensorMap, allclose_raise
from metatomic.torch import AtomisticModel, load_atomistic_model
from tests.conftest import rattled, tiny_nequip
from tests.integrations.metatomic.engine import energy, system_of

from shoal.contract import QUANTITIES, OutputRequest
from shoal.deploy import package_potential
from shoal.deploy.torchscript import trace_energies
from shoal.errors import CompileError, InputError, ModelFileError, UnsupportedRequestError
from shoal.files import ArchitectureSpec
from shoal.integrations.metatomic import Exported, export_model
from shoal.integrations.metatomic.processes import run_python
from shoal.io import atoms_to_state
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential

EXACT = {"rtol": 0.0, "atol": 1e-10}


def oxide(copies: int = 1, seed: int = 0) -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2).repeat((copies, 1, 1))
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.08, 0.0], [0.0, 0.96, 0.03], [-0.05, 0.0, 1.02]], scale_atoms=True)
    return rattled(atoms, seed)


def slab() -> Atoms:
    atoms = rattled(fcc111("Mg", (1, 2, 2), a=4.2, vacuum=None, periodic=False), 3)
    atoms.symbols[1] = "O"
    return atoms


def frames() -> list[Atoms]:
    """A sheared crystal, a slab, a wire, a molecule and an atom; many images of small cells."""
    wire = Atoms("MgO", positions=[[0, 0, 0], [0.3, 0.4, 1.8]], cell=[0, 0, 3.4], pbc=[False, False, True])
    return [oxide(), slab(), wire, Atoms("OMg", positions=[[0, 0, 0], [1.2, 0.7, 0.9]]), Atoms("Mg"), oxide(3, seed=1)]


def potential(architecture: str, **settings: object) -> LearnedPotential:
    config = {
        "nequip": {"l_max": 2, "num_layers": 2, "num_features": 4, "radial_mlp_width": 8},
        "allegro": {"l_max": 1, "num_layers": 2, "num_scalar_features": 8, "num_tensor_features": 4},
    }[architecture]
    shared = {"cutoff": 3.3, "type_names": ["O", "Mg"], "mean_neighbors": 0.8, "model_dtype": "float64", "seed": 5}
    made = LearnedPotential(ArchitectureSpec(name=architecture, config={**shared, **config, **settings}))
    made.model.set_scales_shifts([3.0, 2.0], [-432.1, -1.5])  # type: ignore[operator]
    return made


def export(made: LearnedPotential, folder: Path, kernel: str) -> Exported:
    state = atoms_to_state([oxide(), slab()])
    package = package_potential(made, folder / "oxide.shoal", state, made.type_map(True)(state))
    return export_model(package, folder / "oxide.pt", kernel=kernel, name="oxide", authors=["A. U. Thor"])


ALL = [
    pytest.param(("nequip", "portable"), id="nequip, portable"),
    pytest.param(("allegro", "portable"), id="allegro, portable", marks=pytest.mark.slow),
    pytest.param(("nequip", "native"), id="nequip, native"),
]


@pytest.fixture(scope="module", params=ALL)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    architecture, kernel = request.param
    written = export(potential(architecture), tmp_path_factory.mktemp(architecture), kernel)
    assert max(written.differences.values()) < 1e-10
    return written


@pytest.fixture(scope="module")
def eager(exported: Exported) -> LearnedPotential:
    return LearnedPotential.from_package(exported.path.with_suffix(".shoal"))


@pytest.fixture(scope="module")
def native(exported: Exported) -> bool:
    return exported.extensions is not None


@pytest.fixture(scope="module")
def model(exported: Exported) -> AtomisticModel:
    return load_atomistic_model(exported.path, extensions_directory=exported.extensions)


def expected(eager: LearnedPotential, atoms: list[Atoms]) -> dict[str, torch.Tensor]:
    state = atoms_to_state(atoms)
    types = eager.type_map(True if eager.species_map is None else None)(state)
    return eager(state, neighbor_list(state, eager.cutoff), QUANTITIES, atom_types=types)


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


def test_it_says_what_it_is(eager: LearnedPotential, exported: Exported, model: AtomisticModel, native: bool) -> None:
    capabilities, metadata = model.capabilities(), model.metadata()
    assert capabilities.atomic_types == [8, 12]
    assert capabilities.interaction_range == pytest.approx(eager.interaction_range)
    assert (capabilities.length_unit, capabilities.dtype) == ("angstrom", "float64")
    assert capabilities.outputs["energy"].unit == "eV"
    assert capabilities.outputs["energy"].sample_kind == "atom"
    assert capabilities.supported_devices == (["cpu"] if native else ["cuda", "cpu"])
    (wanted,) = model.requested_neighbor_lists()
    assert (wanted.cutoff, wanted.full_list, wanted.strict) == (3.3, True, True)
    assert (metadata.name, metadata.authors) == ("oxide", ["A. U. Thor"])
    assert len(metadata.extra["package_sha256"]) == 64
    with zipfile.ZipFile(exported.path) as archive:
        extensions = next(each for each in archive.namelist() if each.endswith("extra/extensions"))
        needed = [each["path"] for each in json.loads(archive.read(extensions))]
    there = [] if exported.extensions is None else [file.name for file in exported.extensions.iterdir()]
    assert needed == there
    assert len(there) == native


def test_its_code_names_no_device_and_holds_no_tensor(model: AtomisticModel) -> None:
    """So that a portable one runs where it is moved to."""
    graph = model.module.atomic_energies.inlined_graph
    constants = graph.findAllNodes("prim::Constant")
    assert [node for node in constants if str(node.output().type()) == "Device"] == []
    held = [node.t("value") for node in constants if node.hasAttribute("value") and node.kindOf("value") == "t"]
    assert [value for value in held if value.dim() > 0] == []


@pytest.mark.parametrize("architecture", ["nequip", "allegro"])
def test_it_runs_where_it_is_moved_to(architecture: str) -> None:
    """torch's device without memory stands for another: a tensor left behind would be refused."""
    energies = trace_energies(potential(architecture), torch.device("cpu")).to("meta")
    vectors = torch.rand(2, 3, dtype=torch.float64, device="meta")
    edges, types = torch.tensor([[0, 1], [1, 0]], device="meta"), torch.tensor([0, 1], device="meta")
    assert energies(vectors, edges, types).device.type == "meta"


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


@pytest.fixture(scope="module")
def tabulated(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Native, of another model, in float32 and with tables."""
    written = export(potential("nequip", l_max=1, model_dtype="float32"), tmp_path_factory.mktemp("tables"), "native")
    assert written.table is not None
    assert written.table.force_error <= 1e-5
    return written


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


def foreign(folder: Path, species: dict[str, str] | None) -> Path:
    """A package with types that are no elements."""
    made = tiny_nequip(("big", "small"), "float64", species)
    state = atoms_to_state([rattled(molecule("H2O"), 0, 0.05)])
    return package_potential(made, folder / "foreign.shoal", state, torch.tensor([0, 1, 1]))


def test_types_that_are_no_elements_need_a_map(tmp_path: Path) -> None:
    package = foreign(tmp_path, None)
    with pytest.raises(InputError, match="big, small are not"):
        export_model(package, tmp_path / "foreign.pt")
    with pytest.raises(InputError, match="'B' to 'tall', which is no type of this model"):
        export_model(package, tmp_path / "foreign.pt", chemical_species_to_atom_type_map={"B": "tall"})


def test_types_that_are_no_elements_come_with_their_map(tmp_path: Path) -> None:
    """One of them none has, and the package's structures hold it."""
    package = foreign(tmp_path, {"C": "small", "N": "small"})
    export_model(package, tmp_path / "foreign.pt")
    model = load_atomistic_model(tmp_path / "foreign.pt")
    assert model.capabilities().atomic_types == [6, 7]
    assert model.metadata().name == "foreign"
    atoms = Atoms("CN", positions=[[0, 0, 0], [0, 0, 1.2]])
    got = energy(model, [system_of(atoms, model)]).block().values.item()
    want = expected(LearnedPotential.from_package(package), [atoms])["energy"].item()
    assert got == pytest.approx(want, abs=1e-10)


def test_a_file_that_differs_is_not_written(
    water_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def skewed(made: LearnedPotential, device: torch.device) -> torch.jit.ScriptModule:
        other = LearnedPotential(made.spec, made.model.state_dict(), made.species_map)
        other.model.set_scales_shifts([1.3, 1.3 + 1e-7], [-4.0, -5.5])  # type: ignore[operator]
        return trace_energies(other, device)

    monkeypatch.setattr("shoal.integrations.metatomic.export.trace_energies", skewed)
    with pytest.raises(CompileError, match="the exported .* of reference structure 0 alone differs by .*e-"):
        export_model(water_package, tmp_path / "water.pt")
    assert list(tmp_path.iterdir()) == []


def test_what_a_program_fails_of_is_said() -> None:
    with pytest.raises(CompileError, match="it does not run: ValueError: no such thing; no file was written"):
        run_python("it does not run", "-c", "raise ValueError('no such thing')")


def test_what_cannot_be_is_refused_first(water_package: Path, tmp_path: Path) -> None:
    for out, error in ((tmp_path / "x.pth", "ends in .pt"), (tmp_path / "none" / "x.pt", "no such folder")):
        with pytest.raises(InputError, match=error):
            export_model(water_package, out)
    with pytest.raises(InputError, match="kernel 'fast' is unknown; there is portable, native"):
        export_model(water_package, tmp_path / "x.pt", kernel="fast")
    compiled = tmp_path / "x.shoal.pt2"
    compiled.touch()
    with pytest.raises(ModelFileError, match="compiled already"):
        export_model(compiled, tmp_path / "x.pt")


def test_an_architecture_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedRequestError, match="no native kernel for the architecture allegro"):
        export(potential("allegro"), tmp_path, "native")
    assert not (tmp_path / "oxide.pt").exists()
    assert not (tmp_path / "extensions").exists()
