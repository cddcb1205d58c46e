"""Forces, virial and stress from one backward pass to the edge vectors; all but that pass TorchScript compiles too.

N atoms, E edges, S systems. With g = dE/d(edge vector): F_i = sum over edges centred on i of g, less the sum over
edges that end in i; dE/d(strain)_ab = sum over the edges of a system of r_a g_b, for r' = r (1 + strain).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from shoal.errors import InputError
from shoal.nn.segments import segment_sum


def energy_and_derivatives(
    atomic_energies: Callable[[torch.Tensor], torch.Tensor],
    edge_vectors: torch.Tensor,
    edge_index: torch.Tensor,
    system_index: torch.Tensor,
    cell: torch.Tensor,
    *,
    energy_weights: torch.Tensor | None = None,
    create_graph: bool = False,
    strain: bool = True,
) -> dict[str, torch.Tensor]:
    """Every native quantity (see `quantities`) of a potential that is a function of edge vectors, by one backward pass.

    `atomic_energies` maps edge vectors (E, 3) A, neighbour minus centre, to atomic energies (N,) eV. edge_index (2, E)
    int64, centre then neighbour; system_index (N,) int64; cell (S, 3, 3) A, rows the lattice vectors. `energy_weights`
    (N,) differentiates sum_i w_i E_i instead of the energy (energies themselves are not weighted). Gradients are
    taken in any grad mode; `create_graph` keeps the results differentiable in the parameters, for training. `strain`:
    with stress and virial.
    """
    atomic, vectors, (gradient,) = edge_gradients(
        lambda r: atomic_energies(r)[:, None], edge_vectors, energy_weights, create_graph=create_graph
    )
    return quantities(atomic[:, 0], vectors, gradient, edge_index, system_index, cell, strain)


def edge_gradients(
    atomic_energies: Callable[[torch.Tensor], torch.Tensor],
    edge_vectors: torch.Tensor,
    energy_weights: torch.Tensor | None = None,
    *,
    create_graph: bool = False,
    each: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Atomic energies (N, P), edge vectors (E, 3) without a graph, and gradients in them, (E, 3) each.

    `atomic_energies` gives P properties, the members of a committee or one. `each`: one gradient for each of them,
    else the one of their mean. Other arguments as those of `energy_and_derivatives`.
    """
    check_gradients_are_taken()
    vectors = edge_vectors.detach().requires_grad_(True)
    with torch.enable_grad():
        atomic = atomic_energies(vectors)
        totals = (atomic if energy_weights is None else atomic * energy_weights[:, None]).sum(0)
        targets = list(totals.unbind(0)) if each else [totals.mean()]
        gradients = [
            torch.autograd.grad(target, vectors, create_graph=create_graph, retain_graph=create_graph or k > 0)[0]
            for k, target in reversed(list(enumerate(targets)))
        ][::-1]
    return atomic if create_graph else atomic.detach(), vectors.detach(), gradients


def check_gradients_are_taken() -> None:
    """Raises InputError in inference mode."""
    if torch.is_inference_mode_enabled():
        raise InputError("torch.inference_mode() takes no gradients, so there are no forces: use torch.no_grad()")


def quantities(
    atomic: torch.Tensor,
    vectors: torch.Tensor,
    gradient: torch.Tensor,
    edge_index: torch.Tensor,
    system_index: torch.Tensor,
    cell: torch.Tensor,
    strain: bool = True,
) -> dict[str, torch.Tensor]:
    """Every native quantity from atomic energies (N,) eV, edge vectors (E, 3) A and the gradient in them (E, 3) eV/A.

    atomic_energy (N,) and energy (S,) eV, forces (N, 3) eV/A, stress (S, 3, 3) eV/A^3 (NaN where the cell has no
    volume) and virial (S, 3, 3) eV, in the dtype of what they are made from; stress and virial only with `strain`.
    """
    found = {
        "atomic_energy": atomic,
        "energy": system_energies(atomic, system_index, cell.shape[0]),
        "forces": edge_forces(gradient, edge_index, system_index.shape[0]),
    }
    if strain:
        strain_gradient = edge_strain_gradient(vectors, gradient, edge_index, system_index, cell.shape[0])
        found["stress"] = stress(strain_gradient, cell)
        found["virial"] = -strain_gradient
    return found


def stress(strain_gradient: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """dE/d(strain) / volume, (S, 3, 3) eV/A^3; NaN where the cell has no volume."""
    volume = cell_volume(cell)
    safe = torch.where(volume > 0, volume, 1.0)
    return torch.where((volume > 0)[:, None, None], strain_gradient / safe[:, None, None], float("nan"))


def cell_volume(cell: torch.Tensor, flatness: float = 1e-6) -> torch.Tensor:
    """abs(det cell), (S,) A^3, 0 where it is below `flatness` of the product of the lengths: there it is rounding.

    As a triple product: the determinant has no fast path in compiled graphs.
    """
    a, b, c = cell.unbind(1)
    cross = torch.stack(
        (
            b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1],
            b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2],
            b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0],
        ),
        dim=1,
    )
    volume = (a * cross).sum(1).abs()
    lengths = cell.square().sum(2).sqrt()
    return torch.where(volume > flatness * lengths[:, 0] * lengths[:, 1] * lengths[:, 2], volume, 0.0)


def system_energies(atomic: torch.Tensor, system_index: torch.Tensor, n_systems: int) -> torch.Tensor:
    """(S, ...) from (N, ...), so that reference energies of 1e7 eV cost no digits.

    Whole eV, whose sums are exact, and what is left are summed apart.
    """
    whole = atomic.detach().round()
    return segment_sum(torch.stack((whole, atomic - whole), dim=1), system_index, n_systems).sum(1)


def edge_forces(gradient: torch.Tensor, edge_index: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """Forces (N, 3) from the gradient in the edge vectors (E, 3)."""
    return segment_sum(gradient, edge_index[0], n_atoms) - segment_sum(gradient, edge_index[1], n_atoms)


def edge_strain_gradient(
    vectors: torch.Tensor,
    gradient: torch.Tensor,
    edge_index: torch.Tensor,
    system_index: torch.Tensor,
    n_systems: int,
) -> torch.Tensor:
    """dE/d(strain) (S, 3, 3): summed per atom first, so that the long sum over a system has short terms."""
    outer = (vectors[:, :, None] * gradient[:, None, :]).reshape(-1, 9)
    per_atom = segment_sum(outer, edge_index[0], system_index.shape[0])
    return segment_sum(per_atom, system_index, n_systems).reshape(-1, 3, 3)
