"""A compiled file as a potential. What reaches its native code is checked first, because the code checks nothing.

N atoms, E edges, S systems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from shoal.contract import Capabilities
from shoal.errors import InputError, ModelFileError
from shoal.files import CompiledMetadata, check_runs_here, read_metadata
from shoal.files.compiled import INPUTS, OUTPUTS
from shoal.neighbors import NeighborList
from shoal.potentials._ghost import with_ghost, without_ghost
from shoal.potentials.base import Potential
from shoal.state import SimState

Runner = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]
_DTYPES = {
    "positions": torch.float64,
    "cell": torch.float64,
    "edge_index": torch.int64,
    "edge_cell_shift": torch.int64,
    "atom_types": torch.int64,
    "system_index": torch.int64,
    "energy_weights": torch.float64,
}


class CompiledPotential(Potential):
    """A `.shoal.pt2` (or `.shoal.pth`) file; one file serves any number of systems, atoms and edges.

    Native code: open only files from a source you trust. Raises ModelFileError for a damaged file or one made for
    another device, torch or processor, before anything of it is loaded.
    """

    def __init__(self, path: str | Path, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.metadata = read_metadata(path)
        self._device = check_runs_here(path, self.metadata, device if device is not None else self.metadata.device)
        self.type_names = self.metadata.type_names
        self.species_map = self.metadata.chemical_species_to_atom_type_map
        self.cutoff = self.metadata.cutoff
        if self.metadata.inputs != INPUTS or self.metadata.outputs != OUTPUTS:
            raise ModelFileError(f"{path}: its inputs or outputs are not those of this version; compile it again")
        self._run = _load(self.path, self.metadata, self._device)

    @property
    def device(self) -> torch.device:
        return self._device

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> CompiledPotential:
        """What `to`, `cuda` and the like go through: its code stays on the device it was loaded on."""
        wanted = fn(torch.empty(0, device=self._device)).device
        if wanted != self._device:
            raise InputError(f"{self.path} was loaded on {self._device}; load it again for {wanted}")
        return self

    @property
    def capabilities(self) -> Capabilities:
        return self.metadata.capabilities.model_copy(update={"supported_devices": (self.metadata.device,)})

    def compute(
        self,
        state: SimState,
        neighbors: NeighborList,
        atom_types: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
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
        if min(n_atoms, n_systems, neighbors.n_edges) < 2:
            inputs = with_ghost(inputs, self.cutoff)
        with torch.no_grad():
            outputs = self._run([self._checked(name, inputs[name]) for name in INPUTS])
        named = dict(zip(OUTPUTS, outputs, strict=True))
        return without_ghost(named, n_atoms, n_systems)

    def _checked(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """The tensor as the native code needs it: right dtype, device and contiguous. Raises InputError."""
        if value.dtype != _DTYPES[name] or value.device != self._device:
            raise InputError(
                f"{name} must be {_DTYPES[name]} on {self._device}, got {value.dtype} on {value.device}; "
                "call the model through a BatchCalculator, which converts"
            )
        if name == "atom_types" and not 0 <= int(value.min()) <= int(value.max()) < len(self.type_names):
            raise InputError(f"atom types must lie in 0..{len(self.type_names) - 1}")
        return value.detach().contiguous()


def _load(path: Path, metadata: CompiledMetadata, device: torch.device) -> Runner:
    if metadata.mode == "torchscript":
        return _load_torchscript(path, device)
    try:
        index = -1 if device.index is None else device.index
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index)
    except RuntimeError as error:
        raise ModelFileError(f"{path}: torch cannot load it: {error}") from error
    return lambda inputs: loader.boxed_run(list(inputs))


def _load_torchscript(path: Path, device: torch.device) -> Runner:
    try:
        module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise ModelFileError(f"{path}: torch cannot load it: {error}") from error
    return lambda inputs: module(*inputs)
