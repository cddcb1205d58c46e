"""Exporting says what it wrote, and writes nothing that is not the model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from metatomic.torch import AtomisticModel, load_atomistic_model
from tests.conftest import rattled, tiny_nequip
from tests.integrations.metatomic.cases import expected, export, potential
from tests.integrations.metatomic.engine import energy, system_of

from shoal.deploy import package_potential
from shoal.deploy.torchscript import trace_energies
from shoal.errors import CompileError, InputError, ModelFileError, UnsupportedRequestError
from shoal.integrations.metatomic import Exported, export_model
from shoal.integrations.metatomic.processes import run_python
from shoal.io import atoms_to_state
from shoal.potentials import LearnedPotential


def foreign(folder: Path, species: dict[str, str] | None) -> Path:
    """A package with types that are no elements."""
    made = tiny_nequip(("big", "small"), "float64", species)
    state = atoms_to_state([rattled(molecule("H2O"), 0, 0.05)])
    return package_potential(made, folder / "foreign.shoal", state, torch.tensor([0, 1, 1]))


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
