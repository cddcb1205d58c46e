"""Calling a kernel: tensors in, tensors out.

N atoms, S systems, E edges.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct

import torch

from shoal.architectures.native.source import INTERFACE
from shoal.errors import InputError, ModelFileError
from shoal.native import threads_for
from shoal.neighbors.native import ATOMS_OF_A_THREAD, evaluation

Outputs = dict[str, torch.Tensor]

_FORMS = {
    "atomic_energy": (0, True, False),
    "energy": (1, False, False),
    "forces": (2, True, True),
    "virial": (3, False, True),
    "stress": (4, False, True),
}
"""Place in call.h, whether rows are atoms, and whether it is a gradient: of positions or cells, and of their shape."""
QUANTITIES = tuple(_FORMS)
"""In the order of call.h."""
_CALL = Struct("=21q")
"""call.h as bytes, which are made in a fraction of the time of a ctypes.Structure."""
_BAD_TYPES, _BAD_LIST, _UNLISTED = 1, 2, 3


class Kernel:
    """A library made from `source_of` with its weights; safe to call from several threads.

    Raises ModelFileError for a library of another version.
    """

    def __init__(self, library: ctypes.CDLL, weights: torch.Tensor) -> None:
        self.weights = weights = weights if weights.data_ptr() % 64 == 0 else weights.clone()  # vectors are aligned
        if not hasattr(library, "interface") or library.interface() != INTERFACE:
            raise ModelFileError("its kernel was made by another version of Shoal; compile the model again")
        library.bytes_of_weights.restype = ctypes.c_int64
        if weights.numel() * weights.element_size() != library.bytes_of_weights():
            raise ModelFileError("its kernel and its weights do not belong together; compile the model again")
        self.n_types: int = library.types()
        self._weights_at = weights.data_ptr()
        self._evaluate = library.evaluate
        self._evaluate.argtypes, self._evaluate.restype = [ctypes.c_char_p], ctypes.c_int64
        self._address = ctypes.cast(library.evaluate, ctypes.c_void_p).value
        self._idle: list[torch.Tensor] = []

    def __call__(
        self,
        positions: torch.Tensor,
        cell: torch.Tensor,
        offsets: torch.Tensor,
        neighbor: torch.Tensor,
        shifts: torch.Tensor,
        types: torch.Tensor,
        system_index: torch.Tensor,
        energy_weights: torch.Tensor | None = None,
        *,
        names: Sequence[str] = QUANTITIES,
    ) -> Outputs:
        """Those named of atomic_energy (N,), energy (S,) eV; forces (N, 3) eV/A, virial (S, 3, 3) eV and stress
        (S, 3, 3) eV/A^3.

        positions (N, 3), cell (S, 3, 3) A, energy_weights (N,) float64; offsets (N + 1,), neighbor (E,), shifts (E, 3),
        types (N,), system_index (N,) int64; all contiguous on the CPU, the list full and by centre. Pairs beyond the
        cutoff are skipped. Energies alone take less time. Raises InputError.
        """
        n_atoms, n_systems = _sizes(positions, cell)
        n_edges = neighbor.shape[0]
        same = types.shape == system_index.shape == (n_atoms,) and offsets.shape[0] == n_atoms + 1
        same = same and shifts.shape == (n_edges, 3)
        if not same or (energy_weights is not None and energy_weights.shape[0] != n_atoms):
            raise InputError(
                f"types, systems, offsets, weights or shifts are not those of {n_atoms} atoms and their list"
            )
        rows = offsets.data_ptr(), neighbor.data_ptr(), shifts.data_ptr()
        return self._of_rows(
            (n_atoms, n_systems, n_edges), rows, positions, cell, types, system_index, energy_weights, names
        )

    def of_list(
        self,
        positions: torch.Tensor,
        cell: torch.Tensor,
        types: torch.Tensor,
        system_index: torch.Tensor,
        n_edges: int,
        addresses: tuple[int, int, int],
        names: Sequence[str] = QUANTITIES,
    ) -> Outputs:
        """The same with a list of that many edges whose offsets, neighbours and shifts begin at those addresses."""
        n_atoms, n_systems = _sizes(positions, cell)
        if not types.shape == system_index.shape == (n_atoms,):
            raise InputError(f"types or systems are not those of {n_atoms} atoms")
        counts = n_atoms, n_systems, n_edges
        return self._of_rows(counts, addresses, positions, cell, types, system_index, None, names)

    def _of_rows(
        self,
        counts: tuple[int, int, int],
        rows: tuple[int, int, int],
        positions: torch.Tensor,
        cell: torch.Tensor,
        types: torch.Tensor,
        system_index: torch.Tensor,
        energy_weights: torch.Tensor | None,
        names: Sequence[str],
    ) -> Outputs:
        weights = 0 if energy_weights is None else energy_weights.data_ptr()
        where = *rows, types.data_ptr(), system_index.data_ptr(), weights
        found = self._call(self._evaluate, counts, positions, cell, where, names)
        assert found is not None
        return found

    def of_geometry(
        self,
        positions: torch.Tensor,
        cell: torch.Tensor,
        pbc: torch.Tensor,
        atoms: torch.Tensor,
        types: torch.Tensor,
        system_index: torch.Tensor,
        cutoff: float,
        names: Sequence[str] = QUANTITIES,
    ) -> Outputs | None:
        """The same without a list: pairs within `cutoff` (A) are found on the way, in one call.

        pbc (S, 3) bool, atoms (S + 1,) int64: where each system begins. None where some system cannot be listed,
        which `neighbor_list` explains.
        """
        counts = n_atoms, n_systems, _ = *_sizes(positions, cell), 0
        if not types.shape == system_index.shape == (n_atoms,):
            raise InputError(f"types or systems are not those of {n_atoms} atoms")
        if pbc.shape != (n_systems, 3) or atoms.shape[0] != n_systems + 1:
            raise InputError(f"periodicity or numbers of atoms are not those of {n_systems} systems")
        where = 0, 0, 0, types.data_ptr(), system_index.data_ptr(), 0
        search, address = evaluation(), self._address
        more = atoms.data_ptr(), pbc.data_ptr(), cutoff, threads_for(n_atoms, ATOMS_OF_A_THREAD)
        return self._call(lambda call: search(address, call, *more), counts, positions, cell, where, names)

    def _call(
        self,
        evaluate: Callable[[bytes], int],
        counts: tuple[int, int, int],
        positions: torch.Tensor,
        cell: torch.Tensor,
        where: tuple[int, ...],
        names: Sequence[str],
    ) -> Outputs | None:
        """`where`: addresses of the other inputs, in the order of call.h."""
        found, results, gradients = _room_for(names, positions, cell)
        where = positions.data_ptr(), cell.data_ptr(), *where, self._weights_at
        head = *counts, torch.get_num_threads(), gradients, *where, *results
        try:
            workspace = self._idle.pop()
        except IndexError:
            workspace = torch.empty(0, dtype=torch.uint8)
        while (refused := evaluate(_CALL.pack(*head, workspace.data_ptr(), workspace.numel()))) < 0:
            workspace = torch.empty(-refused - refused // 8, dtype=torch.uint8)
        self._idle.append(workspace)
        if refused == _BAD_TYPES:
            raise InputError(f"atom types must lie in 0..{self.n_types - 1}")
        if refused == _BAD_LIST:
            raise InputError("neighbours or systems are out of range: they are not those of the state")
        return None if refused == _UNLISTED else found


def _sizes(positions: torch.Tensor, cell: torch.Tensor) -> tuple[int, int]:
    n_atoms, n_systems = positions.shape[0], cell.shape[0]
    if positions.shape != (n_atoms, 3) or cell.shape != (n_systems, 3, 3):
        raise InputError(f"positions are (N, 3) and cells (S, 3, 3), not {[*positions.shape]} and {[*cell.shape]}")
    return n_atoms, n_systems


def _room_for(names: Sequence[str], positions: torch.Tensor, cell: torch.Tensor) -> tuple[Outputs, list[int], bool]:
    """Tensors for what is named, where each of `QUANTITIES` goes (0: nowhere), and whether one is a gradient."""
    found: Outputs = {}
    results = [0] * len(QUANTITIES)
    gradients = False
    for name in names:
        place, of_atoms, gradient = _FORMS[name]
        rows = positions if of_atoms else cell
        # `torch.empty` takes half as long again
        found[name] = room = torch.empty_like(rows) if gradient else rows.new_empty(rows.shape[0])
        results[place] = room.data_ptr()
        gradients |= gradient
    return found, results, gradients
