"""What models make of the edges alone, made once for all that share it.

E edges, K bases.
"""

from collections.abc import Callable, Hashable

from torch import Tensor

from shoal.nn import BesselBasis, spherical_harmonics


class EdgeGeometry:
    """Lengths and directions of edges, and functions of them that have no trained numbers.

    distances (E,) float64 A; x (E,) float64, distances as shares of the cutoff; directions (E, 3) in the model's
    precision, unit vectors from centre to neighbour.
    """

    def __init__(self, distances: Tensor, x: Tensor, directions: Tensor) -> None:
        self.distances, self.x, self.directions = distances, x, directions
        self._made: dict[Hashable, Tensor] = {}

    def harmonics(self, l_max: int) -> Tensor:
        """(E, (l_max + 1)^2) in the model's precision."""
        return self._once(l_max, lambda: spherical_harmonics(self.directions, l_max))

    def basis(self, basis: BesselBasis) -> Tensor:
        """(E, K) in the model's precision."""
        if basis.trainable:
            return basis(self.x).to(self.directions.dtype)
        key = (basis.cutoff, len(basis.orders), basis.envelope_p)
        return self._once(key, lambda: basis(self.x).to(self.directions.dtype))

    def _once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
