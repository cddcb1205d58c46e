"""Lennard-Jones with parameters per species.

T types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch

from shoal.errors import InputError
from shoal.potentials._rows import Kernel
from shoal.potentials.pair import PairPotential

Mode = Literal["none", "shift", "switch"]
MODES = get_args(Mode)


class LennardJones(PairPotential):
    """phi(r) = 4 eps ((sigma/r)^12 - (sigma/r)^6), mixed by Lorentz-Berthelot, E_i = 1/2 sum_j phi(r_ij).

    `parameters`: symbol or type name -> (epsilon eV, sigma A). `cutoff` A. `truncation`: "none" cuts phi off;
    "shift" subtracts phi(cutoff); "switch" multiplies phi by 1 - x^3 (10 - 15 x + 6 x^2), x from 0 at
    `switch_start` (default 0.8 cutoff) to 1 at the cutoff, twice continuously differentiable.

    Source: J. E. Lennard-Jones, Proc. R. Soc. A 106, 463 (1924). Raises InputError for parameters out of range.
    """

    epsilon: torch.Tensor
    sigma: torch.Tensor

    def __init__(
        self,
        parameters: Mapping[str, tuple[float, float]],
        cutoff: float,
        truncation: Mode = "switch",
        switch_start: float | None = None,
    ) -> None:
        super().__init__()
        start = 0.8 * cutoff if switch_start is None else switch_start
        if truncation not in MODES:
            raise InputError(f"truncation must be none, shift or switch, got {truncation!r}")
        if not parameters:
            raise InputError("Lennard-Jones needs parameters for at least one species")
        if not 0 < start < cutoff:
            raise InputError(f"need 0 < switch_start < cutoff, got {start} and {cutoff}")
        for name, (epsilon, sigma) in parameters.items():
            if not (epsilon >= 0 and sigma > 0):
                raise InputError(f"{name}: epsilon must not be negative and sigma be positive, got {epsilon}, {sigma}")
        self.type_names = tuple(parameters)
        self.species_map = _elements_among(self.type_names)
        self.cutoff = float(cutoff)
        self.switch_start = float(start)
        self.mode = truncation
        self.truncation = "smooth" if truncation == "switch" else truncation
        eps, sig = torch.tensor([parameters[n] for n in self.type_names], dtype=torch.float64).unbind(1)
        self.register_buffer("epsilon", (eps[:, None] * eps[None, :]).sqrt())
        self.register_buffer("sigma", (sig[:, None] + sig[None, :]) / 2)

    def pair_energies(self, squared: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        epsilon, sigma = self.epsilon[first, second], self.sigma[first, second]
        phi = _phi(squared, epsilon, sigma)
        if self.mode == "shift":
            phi = phi - _phi(torch.full_like(sigma, self.cutoff**2), epsilon, sigma)
        elif self.mode == "switch":
            phi = phi * self._switch(squared.sqrt())
        return torch.where(squared < self.cutoff**2, phi, 0.0)

    @property
    def kernel(self) -> Kernel:
        return Kernel("lennard_jones", "pplppdd", (("MODE", str(MODES.index(self.mode))),))

    def kernel_arguments(self, atom_types: torch.Tensor, energy_weights: torch.Tensor | None) -> Sequence[Any]:
        if len(atom_types) and not 0 <= int(atom_types.min()) <= int(atom_types.max()) < len(self.type_names):
            raise InputError(f"atom types must lie in 0..{len(self.type_names) - 1}")
        tables = len(self.type_names), self.epsilon.contiguous(), self.sigma.contiguous()
        return atom_types.contiguous(), energy_weights, *tables, self.cutoff, self.switch_start

    def _switch(self, r: torch.Tensor) -> torch.Tensor:
        x = ((r - self.switch_start) / (self.cutoff - self.switch_start)).clamp(0.0, 1.0)
        return 1 - x**3 * (10 - 15 * x + 6 * x * x)


def _phi(r2: torch.Tensor, epsilon: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    s6 = (sigma * sigma / r2) ** 3
    return 4 * epsilon * (s6 * s6 - s6)


def _elements_among(names: tuple[str, ...]) -> dict[str, str]:
    from ase.data import atomic_numbers

    return {name: name for name in names if name in atomic_numbers}
