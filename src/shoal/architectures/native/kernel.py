"""Calling a kernel: tensors in, tensors out."""

from __future__ import annotations

import ctypes

import torch

from shoal.architectures.native.source import INTERFACE
from shoal.errors import InputError, ModelFileError

WEIGHTS_OF_A_THREAD = 60_000
"""Radial weights, some tens of microseconds of work: what waking a thread takes."""

Outputs = dict[str, torch.Tensor]

_COUNTS = ("n_atoms", "n_systems", "n_edges", "threads", "gradients")
_TENSORS = (
    *("positions", "cell", "offsets", "neighbor", "shifts", "types", "system", "energy_weights", "weights"),
    *("atomic_energy", "energy", "forces", "virial", "stress", "workspace"),
)


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in _COUNTS),
        *((name, ctypes.c_void_p) for name in _TENSORS),
        ("workspace_bytes", ctypes.c_int64),
    ]


class Kernel:
    """A library made from `source_of` with its weights; safe to call from several threads.

    Raises ModelFileError for a library of another version.
    """

    def __init__(self, library: ctypes.CDLL, weights: torch.Tensor) -> None:
        self.weights = weights
        if not hasattr(library, "interface") or library.interface() != INTERFACE:
            raise ModelFileError("its kernel was made by another version of Shoal; compile the model again")
        library.bytes_of_weights.restype = ctypes.c_int64
        if weights.numel() * weights.element_size() != library.bytes_of_weights():
            raise ModelFileError("its kernel and its weights do not belong together; compile the model again")
        self.n_types: int = library.types()
        self._weights_of_an_edge: int = library.weights_of_an_edge()
        self._evaluate = library.evaluate
        self._evaluate.restype = ctypes.c_int64
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
        gradients: bool = True,
    ) -> Outputs:
        """atomic_energy (N,), energy (S,) eV; forces (N, 3) eV/A, virial (S, 3, 3) eV and stress (S, 3, 3) eV/A^3.

        positions (N, 3), cell (S, 3, 3) A, energy_weights (N,) float64; offsets (N + 1,), neighbor (E,), shifts (E, 3),
        types (N,), system_index (N,) int64; all contiguous on the CPU, the list full and by centre. Pairs beyond the
        cutoff are skipped. Without `gradients` energies only.
        """
        n_atoms, n_systems = positions.shape[0], cell.shape[0]
        lengths = {
            len(types),
            len(system_index),
            len(offsets) - 1,
            n_atoms if energy_weights is None else len(energy_weights),
        }
        if lengths != {n_atoms} or shifts.shape != (neighbor.shape[0], 3):
            raise InputError(
                f"types, systems, offsets, weights or shifts are not those of {n_atoms} atoms and their list"
            )
        worth_waking = neighbor.shape[0] * self._weights_of_an_edge // WEIGHTS_OF_A_THREAD
        threads = max(1, min(torch.get_num_threads(), worth_waking))
        out = torch.empty(4 * n_atoms + 19 * n_systems, dtype=torch.float64)
        atomic, forces, energy, virial, stress = out.split([n_atoms, 3 * n_atoms, n_systems, *[9 * n_systems] * 2])
        tensors = (positions, cell, offsets, neighbor, shifts, types, system_index, energy_weights, self.weights)
        addresses = [
            None if tensor is None else tensor.data_ptr()
            for tensor in (*tensors, atomic, energy, forces, virial, stress)
        ]
        try:
            workspace = self._idle.pop()
        except IndexError:
            workspace = torch.empty(0, dtype=torch.uint8)
        while True:
            memory = workspace.data_ptr(), workspace.numel()
            call = _Call(n_atoms, n_systems, neighbor.shape[0], threads, gradients, *addresses, *memory)
            refused = self._evaluate(ctypes.byref(call))
            if refused >= 0:
                break
            workspace = torch.empty(-refused - refused // 8, dtype=torch.uint8)
        self._idle.append(workspace)
        if refused == 1:
            raise InputError(f"atom types must lie in 0..{self.n_types - 1}")
        if refused:
            raise InputError("neighbours or systems are out of range: the neighbour list is not that of the state")
        found = {"atomic_energy": atomic, "energy": energy}
        if gradients:
            found |= {
                "forces": forces.view(n_atoms, 3),
                "virial": virial.view(n_systems, 3, 3),
                "stress": stress.view(n_systems, 3, 3),
            }
        return found
