"""`BatchCalculator`: a potential bound to its type map, neighbour builder and device."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from shoal.contract import DEFAULT_OUTPUTS, Capabilities
from shoal.devices import as_device
from shoal.errors import InputError, ModelFileError
from shoal.files import model_kind
from shoal.potentials import LearnedPotential, Potential, load_potential
from shoal.state import SimState, TypeMap


class BatchCalculator:
    """`calculator(state)` gives energy (S,) eV, forces (N, 3) eV/A and stress (S, 3, 3) eV/A^3 of all its systems.

    `chemical_species_to_atom_type_map`: omitted, the map stored in the model, else identity with one warning; True,
    identity; a dict symbol -> type name. Raises ValueError for anything else.
    """

    def __init__(
        self,
        potential: Potential,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> None:
        self.potential = potential if device is None else potential.to(as_device(device))
        self.type_map: TypeMap = potential.type_map(chemical_species_to_atom_type_map)
        self._last_types: tuple[torch.Tensor, int, torch.Tensor] | None = None

    @classmethod
    def from_potential(
        cls,
        potential: Potential,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> BatchCalculator:
        """Of a potential in memory."""
        return cls(potential, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map)

    @classmethod
    def from_package(
        cls,
        path: str | Path,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> BatchCalculator:
        """Of a `.shoal` package, evaluated eagerly. Raises ModelFileError."""
        potential = LearnedPotential.from_package(path).to(as_device(device or "cpu"))
        return cls(potential, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map)

    @classmethod
    def from_compiled_model(
        cls,
        compile_path: str | Path,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> BatchCalculator:
        """Of a compiled file: `.shoal.pt2`, `.shoal.pth`, `.nequip.pt2` or `.nequip.pth`. Raises ModelFileError."""
        if model_kind(compile_path) in ("package", "checkpoint"):
            raise ModelFileError(f"{compile_path} is no compiled model; shoal.load opens any model file")
        potential = load_potential(compile_path, device)
        return cls(potential, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map)

    @classmethod
    def of(
        cls,
        model: BatchCalculator | Potential | str | Path,
        *,
        device: torch.device | str | None = None,
        chemical_species_to_atom_type_map: object = None,
    ) -> BatchCalculator:
        """Of anything that is one: a calculator as it is, a potential, or the path of a model file."""
        if isinstance(model, BatchCalculator):
            if device is not None or chemical_species_to_atom_type_map is not None:
                raise InputError("a BatchCalculator already has its device and type map; give them where it is made")
            return model
        potential = load_potential(model, device) if isinstance(model, str | Path) else model
        device = None if isinstance(model, str | Path) else device
        return cls(potential, device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map)

    @property
    def device(self) -> torch.device:
        return self.potential.device

    @property
    def cutoff(self) -> float:
        return self.potential.cutoff

    @property
    def capabilities(self) -> Capabilities:
        return self.potential.capabilities

    def __repr__(self) -> str:
        return f"BatchCalculator({type(self.potential).__name__}, types {self.type_map.type_names}, {self.device})"

    def __call__(self, state: SimState, outputs: Iterable[str] = DEFAULT_OUTPUTS) -> dict[str, torch.Tensor]:
        """Evaluate every system of a state in one batch.

        The state may be on any device, float32 or float64; results come back on its device and in its dtype,
        energies always float64. `outputs`: names of `shoal.contract.QUANTITIES`, such as "atomic_energy".
        Raises InputError for positions or cells that are not finite, UnsupportedSpeciesError and
        UnsupportedRequestError.
        """
        if not isinstance(state, SimState):
            raise InputError(
                f"a calculator takes a shoal.SimState, got {type(state).__module__}.{type(state).__name__}; "
                "shoal.io.atoms_to_state makes one of ASE structures"
            )
        local = state.to(self.device)
        types = self._types(local)
        results = self.potential.of_state(local, outputs, atom_types=types)
        return results if local is state else {name: value.to(state.device) for name, value in results.items()}

    def _types(self, state: SimState) -> torch.Tensor:
        """Atom types (N,); those of the last call while the atoms are the very same tensor, unchanged."""
        numbers = state.atomic_numbers
        if state.type_label is not None or numbers.is_inference():
            return self.type_map(state)
        last = self._last_types
        if last is None or last[0] is not numbers or last[1] != numbers._version:
            self._last_types = last = (numbers, numbers._version, self.type_map(state))
        return last[2]


def load(
    path: str | Path,
    *,
    device: torch.device | str | None = None,
    chemical_species_to_atom_type_map: object = None,
) -> BatchCalculator:
    """Open any model file as a BatchCalculator: a package (eager) or a compiled file.

    Raises ModelFileError naming what is wrong with the file and how to mend it, ValueError for a wrong map.
    """
    return BatchCalculator.of(
        Path(path), device=device, chemical_species_to_atom_type_map=chemical_species_to_atom_type_map
    )
