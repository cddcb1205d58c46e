"""A compiled file as a potential. What reaches its native code is checked first, because the code checks nothing.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from shoal.architectures.native import Kernel
from shoal.contract import Capabilities
from shoal.errors import ModelFileError
from shoal.files import CompiledMetadata, check_runs_here, read_metadata
from shoal.files.compiled import INPUTS, OUTPUTS
from shoal.files.kernels import read_kernel, runnable_kernels
from shoal.neighbors import NeighborList
from shoal.potentials._ghost import with_ghost, without_ghost
from shoal.potentials._native import (
    FILE_SUPPORT,
    FilePotential,
    Forms,
    Runner,
    load_aotinductor,
    load_torchscript,
)
from shoal.potentials.native import FORMS, KernelPotential
from shoal.state import SimState

_FORMS: Forms = {name: {**FORMS, "edge_index": (torch.int64, 2)}[name] for name in INPUTS}


class CompiledPotential(KernelPotential, FilePotential):
    """A `.shoal.pt2` (or `.shoal.pth`) file; one file serves any number of systems, atoms and edges.

    A native kernel in it is what runs, if this processor has an instruction set it was built for: the best of them, or
    the one that `use_kernel` names. With `use_kernel` false it is the operators that a `.pth` holds beside it.

    Native code: open only files from a source you trust. Raises ModelFileError for a damaged file or one made for
    another device, torch or processor, before anything of it is loaded.
    """

    def __init__(
        self, path: str | Path, device: torch.device | str | None = None, *, use_kernel: bool | str = True
    ) -> None:
        self.metadata = read_metadata(path)
        wanted = device if device is not None else self.metadata.device
        super().__init__(path, check_runs_here(path, self.metadata, wanted))
        self.type_names = self.metadata.type_names
        self.species_map = self.metadata.chemical_species_to_atom_type_map
        self.cutoff = self.metadata.cutoff
        if self.metadata.inputs != INPUTS or self.metadata.outputs != OUTPUTS:
            raise ModelFileError(f"{path}: its inputs or outputs are not those of this version; compile it again")
        found = next((k for k in runnable_kernels(self.metadata.custom_ops) if use_kernel in (True, k["target"])), None)
        if found is None and isinstance(use_kernel, str):
            raise ModelFileError(f"{path} holds no kernel for {use_kernel} that runs here")
        self.instruction_set = "" if found is None else found["target"]
        self._kernel = None if found is None else Kernel(*read_kernel(self.path, found))
        self.skips_far_pairs = self._kernel is not None
        if self._kernel is None:
            self._run = _load(self.path, self.metadata, self._device)

    @cached_property
    def capabilities(self) -> Capabilities:
        return self.metadata.capabilities.model_copy(
            update={"supported_devices": (self.metadata.device,), "quantities": FILE_SUPPORT}
        )

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        if self._kernel is not None:
            return super().compute(state, neighbors, atom_types, energy_weights)
        n_atoms, n_systems = state.n_atoms, state.n_systems
        weights = torch.ones_like(state.positions[:, 0]) if energy_weights is None else energy_weights
        inputs = {
            "positions": state.positions,
            "cell": state.cell,
            "edge_index": neighbors.edge_index,
            "edge_cell_shift": neighbors.shifts,
            "atom_types": atom_types,
            "system_index": state.system_index,
            "energy_weights": weights,
        }
        ghost = min(n_atoms, neighbors.n_edges) < 2  # one system is computed as many are, which compiling checks
        if ghost:
            inputs = with_ghost(inputs, self.cutoff)
        with torch.no_grad():
            outputs = self._run(self._checked(inputs, _FORMS))
        named = dict(zip(OUTPUTS, outputs, strict=True))
        return without_ghost(named, n_atoms, n_systems) if ghost else named


def _load(path: Path, metadata: CompiledMetadata, device: torch.device) -> Runner:
    again = "compile it again"
    if metadata.mode == "aotinductor":
        return load_aotinductor(path, device, len(INPUTS), len(OUTPUTS), again)
    module = load_torchscript(path, device, again)

    def run(inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        # unoptimised: the optimiser takes seconds at each new shape, and is slower afterwards too
        with torch.enable_grad(), torch.jit.optimized_execution(False):
            return module(*inputs)

    return run
