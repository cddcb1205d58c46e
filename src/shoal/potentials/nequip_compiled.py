"""A file that `nequip-compile` wrote as a potential, with nothing of nequip installed.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from math import inf
from pathlib import Path

import torch

from shoal.contract import QUANTITIES, Capabilities, Support
from shoal.errors import ModelFileError, UnsupportedRequestError
from shoal.files import NequIPMetadata, check_nequip_runs_here, read_nequip_metadata
from shoal.files.nequip import INPUTS, OUTPUTS, compile_command
from shoal.neighbors import NeighborList
from shoal.potentials._derivatives import cell_volume
from shoal.potentials._ghost import with_ghost, without_ghost
from shoal.potentials._native import FilePotential, Forms, Runner, load_aotinductor, load_torchscript
from shoal.state import SimState

_FORMS: Forms = {
    "positions": (torch.float64, 2),
    "edge_index": (torch.int64, 2),
    "atom_types": (torch.int64, 1),
    "cell": (torch.float64, 3),
    "edge_cell_shift": (torch.float64, 2),
    "system_index": (torch.int64, 1),
    "n_atoms": (torch.int64, 1),
}


class CompiledNequIP(FilePotential):
    """A `.nequip.pt2` or `.nequip.pth` of the target batch: a NequIP or Allegro model of the NequIP framework.

    Native code: open only files from a source you trust. Raises ModelFileError for a file that is damaged or made
    for another target, device or processor, before anything of it is loaded. Energy weights are not supported.
    """

    def __init__(self, path: str | Path, device: torch.device | str | None = None) -> None:
        self.metadata = read_nequip_metadata(path)
        super().__init__(path, check_nequip_runs_here(path, self.metadata, device))
        self.type_names = self.metadata.type_names
        self.cutoff = self.metadata.cutoff
        self._cutoffs = None
        if self.metadata.cutoffs is not None:
            self._cutoffs = torch.tensor(self.metadata.cutoffs, dtype=torch.float64, device=self.device)
        self._run = _load(self.path, self.metadata, self.device)

    @cached_property
    def capabilities(self) -> Capabilities:
        """The file does not tell how many layers it has, so its interaction range is not bounded."""
        return Capabilities(
            outputs=tuple(QUANTITIES),
            quantities={
                "energy": Support(explicit_gradients={"system": ("positions", "strain")}, selected_atoms=False)
            },
            atomic_types=self.type_names,
            interaction_range=inf,
            dtype="float32" if self.metadata.model_dtype == "float32" else "float64",
            supported_devices=(self.metadata.device,) if self.metadata.native else ("cpu", "cuda"),
        )

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        if energy_weights is not None:
            raise UnsupportedRequestError(
                f"{self.path} cannot differentiate weighted energies; a .shoal package can, and a file that shoal "
                "compile made of it (shoal import-nequip makes a package of a NequIP model)"
            )
        if self._cutoffs is not None:
            neighbors = _within(neighbors, self._cutoffs, atom_types, state)
        cell, flat = _cell_with_volume(state)
        inputs = {
            "positions": state.positions,
            "edge_index": neighbors.edge_index,
            "atom_types": atom_types,
            "cell": cell,
            "edge_cell_shift": neighbors.shifts.to(torch.float64),
            "system_index": state.system_index,
            "n_atoms": state.n_atoms_per_system.to(state.device),
        }
        if neighbors.n_edges == 0:
            inputs = with_ghost(inputs, self.cutoff)
        atomic_energy, energy, forces, stress = self._run(self._checked(inputs, _FORMS))
        outputs = {"atomic_energy": atomic_energy[:, 0], "energy": energy[:, 0], "forces": forces, "stress": stress}
        if neighbors.n_edges == 0:
            outputs = without_ghost(outputs, state.n_atoms, state.n_systems)
        volume = torch.linalg.det(cell).abs()  # as the file has it, and in eager mode the cheapest way
        outputs["virial"] = -volume[:, None, None] * outputs["stress"]
        if not bool(torch.isfinite(outputs["forces"].sum())):
            _mark_failed(outputs, state)
        if flat is not None:
            outputs["stress"] = torch.where(flat[:, None, None], torch.nan, outputs["stress"])
        return outputs


def _mark_failed(outputs: dict[str, torch.Tensor], state: SimState) -> None:
    """Where forces are not finite the energy is none either: atoms in one place give the file's code a finite one."""
    failed = torch.zeros(state.n_systems, dtype=torch.bool, device=state.device)
    failed[state.system_index[~torch.isfinite(outputs["forces"]).all(1)]] = True
    outputs["energy"] = torch.where(failed, torch.nan, outputs["energy"])
    outputs["atomic_energy"] = torch.where(failed[state.system_index], torch.nan, outputs["atomic_energy"])


def _within(neighbors: NeighborList, cutoffs: torch.Tensor, atom_types: torch.Tensor, state: SimState) -> NeighborList:
    """The pairs within the cutoff of their types, (T, T) A by centre and neighbour."""
    centre, neighbor = neighbors.edge_index
    lengths = neighbors.edge_vectors(state.positions, state.cell).norm(dim=1)
    near = lengths <= cutoffs[atom_types[centre], atom_types[neighbor]]
    return replace(neighbors, edge_index=neighbors.edge_index[:, near], shifts=neighbors.shifts[near])


def _cell_with_volume(state: SimState) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cells (S, 3, 3) with a volume, and which (S,) had none; None if all had.

    The file gives stress only, dE/d(strain) / volume. Vectors of open axes are of no edge, so in a cell without
    volume unit vectors normal to the periodic ones take their place: that changes nothing but the volume.
    """
    if bool(state.pbc.all()):
        return state.cell, None
    flat = cell_volume(state.cell) == 0
    u, _, vh = torch.linalg.svd(torch.where(state.pbc[:, :, None], state.cell, 0.0))
    replaced = flat[:, None, None] & ~state.pbc[:, :, None]
    return torch.where(replaced, u @ vh, state.cell), flat


def _load(path: Path, metadata: NequIPMetadata, device: torch.device) -> Runner:
    again = f"compile it again: {compile_command(path, device.type)}"
    for library in metadata.operator_libraries:
        try:
            import_module(library)
        except ImportError as error:
            raise ModelFileError(f"{path} needs the operators of {library}, whose import fails: {error}") from error
    if metadata.native:
        native = load_aotinductor(path, device, len(INPUTS), len(OUTPUTS), again)

        def run(inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            with torch.no_grad():
                return native(inputs)

        return run
    module = load_torchscript(path, device, again).eval()

    def run_scripted(inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        # unoptimised: the optimiser takes seconds at each new shape
        with torch.enable_grad(), torch.jit.optimized_execution(False):
            named = module(dict(zip(INPUTS, inputs, strict=True)))
        missing = [name for name in OUTPUTS if name not in named]
        if missing:
            raise ModelFileError(f"{path} gives no {', '.join(missing)}; compile a model with forces and stress")
        return [named[name].detach() for name in OUTPUTS]

    return run_scripted
