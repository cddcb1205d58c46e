"""`TorchSimCalculator`: any Shoal model, and NequIP's compiled files, as a model of torch-sim.

torch-sim is imported when the class is first asked for. N atoms, S systems.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shoal.engine import BatchCalculator
from shoal.errors import InputError, MissingDependencyError
from shoal.neighbors import neighbor_list
from shoal.potentials import Potential
from shoal.state import SimState

if TYPE_CHECKING:
    import torch_sim


class _Calculator:
    """Energy (S,) eV, forces (N, 3) eV/A and stress (S, 3, 3) eV/A^3 of a torch-sim state, all systems in one batch.

    `model`: a model file, a Potential or a BatchCalculator. `chemical_species_to_atom_type_map`: as for
    BatchCalculator. The state may be float32 or float64 and on any device; results come back in its dtype and on its
    device, energies always float64. `compute_forces` and `compute_stress` may be switched at any time; the stress of
    a system without volume is NaN. Raises InputError for positions or cells that are not finite,
    UnsupportedSpeciesError and ModelFileError.
    """

    def __init__(
        self,
        model: BatchCalculator | Potential | str | Path,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> None:
        super().__init__()
        self.batch_calculator = BatchCalculator.of(
            model, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
        )
        self._device = self.batch_calculator.device
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self._memory_scales_with = "n_atoms_x_density"
        self._layout: _Layout | None = None

    @classmethod
    def from_compiled_model(
        cls,
        compile_path: str | Path,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> Any:
        """Of a compiled file: `.shoal.pt2`, `.shoal.pth`, `.nequip.pt2` or `.nequip.pth`. Raises ModelFileError."""
        return cls(
            BatchCalculator.from_compiled_model(
                compile_path, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
            )
        )

    @property
    def compute_forces(self) -> bool:
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, wanted: bool) -> None:
        self._compute_forces = wanted

    @property
    def compute_stress(self) -> bool:
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, wanted: bool) -> None:
        self._compute_stress = wanted

    def forward(self, state: torch_sim.SimState, **_: Any) -> dict[str, torch.Tensor]:
        """Evaluate a torch-sim state; it is not changed, and no result shares memory with it."""
        if not all(hasattr(state, name) for name in ("positions", "cell", "system_idx", "atomic_numbers")):
            raise InputError(
                f"the calculator takes a state of torch-sim, got {type(state).__module__}.{type(state).__name__}; "
                "torch_sim.initialize_state makes one of ASE structures"
            )
        calculator = self.batch_calculator
        if self._layout is None or not self._layout.fits(state):
            self._layout = _Layout(state, calculator)
        packed = self._layout.packed(state)
        outputs = ["energy", *["forces"] * self._compute_forces, *["stress"] * self._compute_stress]
        neighbors = neighbor_list(packed, calculator.cutoff)
        results = calculator.potential(packed, neighbors, outputs, atom_types=self._layout.atom_types)
        return {name: value.to(state.positions.device) for name, value in results.items()}


class _Layout:
    """What stays the same from step to step: which atoms are in which system, and of which type.

    It holds for a state whose tensors are the very same ones, unchanged since, so that looking costs nothing.
    """

    def __init__(self, state: torch_sim.SimState, calculator: BatchCalculator) -> None:
        n_systems = state.cell.shape[0]
        self._key = _key(state)
        pbc = torch.as_tensor(state.pbc, device=state.positions.device)
        self._state = SimState.build(
            state.positions.detach(),
            state.atomic_numbers.to(torch.int64),
            torch.bincount(state.system_idx, minlength=n_systems).tolist(),
            cell=state.cell.detach().mT,
            pbc=pbc.expand(n_systems, 3).contiguous(),
            masses=state.masses.detach().to(state.positions.dtype),
        ).to(calculator.device)
        if not torch.equal(self._state.system_index, state.system_idx.to(calculator.device)):
            raise InputError("the atoms of a system must stand together: system_idx must not decrease")
        self.atom_types = calculator.type_map(self._state)

    def fits(self, state: torch_sim.SimState) -> bool:
        return all(a is b and v == w for (a, v), (b, w) in zip(self._key, _key(state), strict=True))

    def packed(self, state: torch_sim.SimState) -> SimState:
        """The state with torch-sim's column cells as rows, where the calculator is."""
        device = self._state.device
        return self._state.replace(
            positions=state.positions.detach().to(device), cell=state.cell.detach().mT.to(device)
        )


def _key(state: torch_sim.SimState) -> list[tuple[Any, Any]]:
    """The tensors a layout is made of, with the count of their changes in place."""
    tensors = (state.system_idx, state.atomic_numbers, state.masses, state.pbc)
    return [(tensor, _version(tensor)) for tensor in tensors]


def _version(value: Any) -> Any:
    """How often a tensor was changed in place; made in inference mode it does not tell, and counts as changed."""
    if not isinstance(value, torch.Tensor):
        return 0
    return object() if value.is_inference() else value._version


@cache
def _calculator_class() -> type:
    try:
        from torch_sim.models.interface import ModelInterface
    except ImportError as error:
        raise MissingDependencyError(
            "TorchSimCalculator is a model of torch-sim, which is not installed: pip install torch-sim-atomistic"
        ) from error
    content = {"__doc__": _Calculator.__doc__, "__module__": __name__}
    return type("TorchSimCalculator", (_Calculator, ModelInterface), content)


def __getattr__(name: str) -> Any:
    if name == "TorchSimCalculator":
        return _calculator_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
