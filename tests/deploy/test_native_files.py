"""Native kernels in files: they travel, they say what they are, and nothing foreign or changed is run."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from tests.conftest import rattled

import shoal
from shoal.architectures.native import plan_of, source_of
from shoal.deploy import compile_model, package_potential
from shoal.deploy.native import choose_table, native_kernel
from shoal.dynamics import NVE
from shoal.errors import CompileError, InputError, ModelFileError, UnsupportedRequestError
from shoal.files import ArchitectureSpec, read_metadata, read_package
from shoal.files.kernels import KernelFiles
from shoal.files.reference import structures_to_tensors
from shoal.io import atoms_to_state
from shoal.native import TARGETS, Target, build, runnable_targets
from shoal.neighbors import NeighborList, neighbor_list
from shoal.potentials import CompiledPotential, LearnedPotential
from shoal.potentials.native import NativePotential, checked_architecture
from shoal.state import SimState


@pytest.fixture(scope="module")
def state() -> SimState:
    return atoms_to_state([rattled(bulk("Si", "diamond", a=5.43, cubic=True), seed) for seed in range(3)])


@pytest.fixture(scope="module")
def scripted_with_kernel(silicon_package: Path) -> Path:
    out = silicon_package.with_name("silicon-native.shoal.pth")
    compile_model(silicon_package, out, mode="torchscript", kernel="native")
    return out


def forces(path: Path, state: SimState) -> torch.Tensor:
    return shoal.load(path, chemical_species_to_atom_type_map=True)(state)["forces"]


def only(monkeypatch: pytest.MonkeyPatch, targets: list[Target]) -> None:
    monkeypatch.setattr("shoal.files.kernels.runnable_targets", lambda: targets)


def test_metadata_say_what_is_in_it(fused_silicon: Path) -> None:
    metadata = read_metadata(fused_silicon)
    assert (metadata.mode, metadata.kernel) == ("native", "native")
    assert {entry["target"] for entry in metadata.custom_ops} >= {"plain"}
    assert all(len(entry["sha256"]) == len(entry["source_sha256"]) == 64 for entry in metadata.custom_ops)
    assert 0 < metadata.radial_table["force_error"] <= 1e-5


def test_it_runs_in_a_fresh_process_without_a_compiler(fused_silicon: Path, state: SimState, tmp_path: Path) -> None:
    script = (
        "import sys, torch, shoal\n"
        "state = torch.load(sys.argv[2], weights_only=False)\n"
        "calculator = shoal.load(sys.argv[1], chemical_species_to_atom_type_map=True)\n"
        "torch.save(calculator(state)['forces'], sys.argv[3])\n"
    )
    torch.save(state, tmp_path / "state.pt")
    (tmp_path / "bin").mkdir()
    environment = {**os.environ, "PATH": str(tmp_path / "bin"), "CXX": "none", "SHOAL_CACHE_DIR": str(tmp_path / "c")}
    command = [sys.executable, "-c", script, fused_silicon, tmp_path / "state.pt", tmp_path / "forces.pt"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    torch.testing.assert_close(torch.load(tmp_path / "forces.pt"), forces(fused_silicon, state), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_call_without_a_list_is_one_with_it(fused_silicon: Path, state: SimState, dtype: torch.dtype) -> None:
    calculator = shoal.load(fused_silicon, chemical_species_to_atom_type_map=True)
    potential, state = calculator.potential, state.to(dtype=dtype)
    names = ("stress", "atomic_energy", "forces", "energy", "virial")
    without = calculator(state, names)
    listed = potential(state, neighbor_list(state, potential.cutoff), names, atom_types=calculator.type_map(state))
    assert tuple(without) == names
    for name in names:
        assert without[name].dtype == listed[name].dtype
        torch.testing.assert_close(without[name], listed[name], rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-5)


def test_what_is_wrong_with_a_state_is_told(fused_silicon: Path, state: SimState) -> None:
    calculator = shoal.load(fused_silicon, chemical_species_to_atom_type_map=True)
    broken = state.replace(positions=state.positions.clone())
    broken.positions[9, 1] = float("nan")
    with pytest.raises(InputError, match="system 1: the position of atom 1 is not finite"):
        calculator(broken)
    flat = state.replace(cell=state.cell.clone())
    flat.cell[2, 0] = 0.0
    with pytest.raises(InputError, match="system 2: the lattice vectors of its periodic axes are zero"):
        calculator(flat)
    with pytest.raises(InputError, match=r"atom types must lie in 0\.\.0"):
        calculator.potential.of_state(state, atom_types=torch.full((state.n_atoms,), 1))


@pytest.mark.parametrize("name", [target.name for target in runnable_targets()])
def test_every_instruction_set_gives_the_same(
    name: str, fused_silicon: Path, silicon: LearnedPotential, state: SimState, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, [TARGETS[name]])
    types = torch.zeros(state.n_atoms, dtype=torch.int64)
    want = silicon(state, neighbor_list(state, silicon.cutoff), ("forces",), atom_types=types)["forces"]
    torch.testing.assert_close(forces(fused_silicon, state), want, rtol=0, atol=2e-5)


def test_no_file_is_written_if_any_library_is_wrong(
    silicon_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the best of them, which is what runs here."""
    last = runnable_targets()[-1]

    def spoilt(potential: LearnedPotential, pieces: int | None) -> KernelFiles:
        scaled = LearnedPotential.from_package(silicon_package)
        scaled.model.scale_shift.scales.mul_(1.01)
        library = build(source_of(plan_of(checked_architecture(scaled), pieces)), last)
        files = native_kernel(potential, pieces)
        return replace(files, libraries={**files.libraries, last.name: library})

    monkeypatch.setattr("shoal.deploy.compile.native_kernel", spoilt)
    with pytest.raises(CompileError, match=rf"\({last.name}\) of .* differs by .* from the eager model"):
        compile_model(silicon_package, tmp_path / "x.shoal.pt2", kernel="native")
    assert list(tmp_path.iterdir()) == []


def test_a_library_is_opened_by_name(fused_silicon: Path) -> None:
    for target in runnable_targets():
        assert CompiledPotential(fused_silicon, use_kernel=target.name).instruction_set == target.name
    assert CompiledPotential(fused_silicon).instruction_set == runnable_targets()[0].name
    with pytest.raises(ModelFileError, match="holds no kernel for neon128 that runs here"):
        CompiledPotential(fused_silicon, use_kernel="neon128")


def test_a_foreign_processor_is_told_what_to_do(
    fused_silicon: Path, scripted_with_kernel: Path, state: SimState, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_kernel = forces(scripted_with_kernel, state)
    assert CompiledPotential(scripted_with_kernel)._kernel is not None
    only(monkeypatch, [])
    with pytest.raises(ModelFileError, match=r"none for this processor .* shoal compile MODEL .* --kernel native"):
        CompiledPotential(fused_silicon)
    assert CompiledPotential(scripted_with_kernel)._kernel is None
    torch.testing.assert_close(forces(scripted_with_kernel, state), with_kernel, rtol=0, atol=2e-5)


def test_a_library_of_another_machine_is_not_tried(
    fused_silicon: Path, scripted_with_kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ModelFileError, match="none for this processor"):
        CompiledPotential(fused_silicon)
    assert CompiledPotential(scripted_with_kernel)._kernel is None


@pytest.mark.parametrize("part", [".so", "native/weights.safetensors"])
def test_what_was_changed_is_not_loaded(part: str, fused_silicon: Path, tmp_path: Path) -> None:
    changed = tmp_path / "x.shoal.pt2"
    with zipfile.ZipFile(fused_silicon) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data[:-1] + bytes([data[-1] ^ 1]) if name.endswith(part) else data)
    with pytest.raises(ModelFileError, match="was changed; compile the model again"):
        CompiledPotential(changed)


def test_a_one_sided_list_is_refused_when_debugging(
    silicon: LearnedPotential, state: SimState, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = NativePotential(silicon)
    whole = neighbor_list(state, silicon.cutoff)
    half = NeighborList(
        edge_index=whole.edge_index[:, 1:],
        shifts=whole.shifts[1:],
        system_index=whole.system_index,
        positions=whole.positions,
        cell=whole.cell,
        pbc=whole.pbc,
        cutoff=whole.cutoff,
    )
    types = torch.zeros(state.n_atoms, dtype=torch.int64)
    monkeypatch.setenv("SHOAL_DEBUG", "1")
    potential(state, whole, atom_types=types)
    with pytest.raises(InputError, match="one-sided"):
        potential(state, half, atom_types=types)


def test_finer_tables_for_smaller_errors(silicon_package: Path) -> None:
    content = read_package(silicon_package)
    potential = LearnedPotential.from_package(content)
    coarse, fine = (choose_table(potential, content.reference, allowed) for allowed in (1e-3, 1e-7))
    assert coarse.pieces < fine.pieces
    assert coarse.force_error <= 1e-3
    assert fine.force_error <= 1e-7
    with pytest.raises(CompileError, match="compile with --exact"):
        choose_table(potential, content.reference, 1e-15)


def test_nuclear_repulsion_hides_no_error_of_tables(silicon: LearnedPotential) -> None:
    """At 0.6 A it is hundreds of eV/A, of which any error of the networks would be a small share."""
    config = {**silicon.spec.config, "zbl": True}
    repelling = LearnedPotential(ArchitectureSpec(name="nequip", config=config), silicon.model.state_dict())
    close = atoms_to_state([Atoms("Si2", [[0, 0, 0], [0.6, 0, 0]])])
    types = torch.zeros(2, dtype=torch.int64)
    parts = [
        potential(close, neighbor_list(close, potential.cutoff), ("forces",), atom_types=types)["forces"]
        for potential in (silicon, repelling)
    ]
    assert parts[1].norm() > 100 * parts[0].norm()
    reference = structures_to_tensors(close, types)
    assert choose_table(repelling, reference, 1e-7) == choose_table(silicon, reference, 1e-7)


def test_what_has_no_kernel_is_refused_by_name(silicon_package: Path, tmp_path: Path) -> None:
    config = {"cutoff": 3.0, "type_names": ["Si"], "mean_neighbors": 4.0, "num_layers": 1, "num_scalar_features": 4}
    allegro = LearnedPotential(ArchitectureSpec(name="allegro", config={**config, "num_tensor_features": 2}))
    with pytest.raises(UnsupportedRequestError, match="no native kernel for the architecture allegro"):
        NativePotential(allegro)
    structure = atoms_to_state([bulk("Si")])
    package = package_potential(allegro, tmp_path / "a.shoal", structure, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(UnsupportedRequestError, match="no native kernel"):
        compile_model(package, tmp_path / "a.shoal.pt2", kernel="native")
    with pytest.raises(InputError, match="kernel 'fast' is unknown"):
        compile_model(silicon_package, tmp_path / "x.shoal.pt2", kernel="fast")


@pytest.mark.slow
def test_a_long_nve_run_does_not_drift(silicon: LearnedPotential) -> None:
    """20,000 steps of 64 silicon atoms: the slope of the energy is within 3 standard errors of none."""
    config = {**silicon.spec.config, "zbl": True, "mean_neighbors": 100.0}
    repelling = LearnedPotential(ArchitectureSpec(name="nequip", config=config))
    calculator = shoal.BatchCalculator(NativePotential(repelling), chemical_species_to_atom_type_map=True)
    energies: list[float] = []
    shoal.simulate(
        [bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)],
        calculator,
        NVE(),
        1.0,
        20_000,
        temperature=300,
        seed=3,
        on_step=lambda snapshot: energies.append(float(snapshot.conserved[0])),
        every=20,
        compile=False,
        progress=False,
    )
    blocks = np.array(energies[1:]).reshape(40, -1).mean(1)
    time = np.arange(len(blocks)) - (len(blocks) - 1) / 2
    slope = (time @ blocks) / (time @ time)
    residual = blocks - blocks.mean() - slope * time
    error = np.sqrt(residual @ residual / (len(blocks) - 2) / (time @ time))
    assert abs(slope) < 3 * error
    assert blocks.std() < 1e-4 * 64
