"""What models make of the edges alone, made once for all that share it.

E edges, K bases.
"""

from collections.abc import Callable, Hashable

from torch import Tensor

from shoal.nn import BesselBasis, spherical_harmonics


class EdgeGeometry:
    """Lengths and directions of edges, and functions of them that have no trained numbers.

    distances (E,) float64 A; x (E,) float64, distances as shares of the cutoff; directions (E, 3) in the model's
    precision, unit vectors from centre to neighbour. All that is handed out passes `seam`, if there is one.
    """

    def __init__(
        self, distances: Tensor, x: Tensor, directions: Tensor, seam: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self._distances, self._x, self._directions = distances, x, directions
        self._seam = seam
        self._made: dict[Hashable, Tensor] = {}

    @property
    def distances(self) -> Tensor:
        return self._once("distances", lambda: self._distances)

    @property
    def x(self) -> Tensor:
        return self._once("x", lambda: self._x)

    def harmonics(self, l_max: int) -> Tensor:
        """(E, (l_max + 1)^2) in the model's precision."""
        return self._once(l_max, lambda: spherical_harmonics(self._directions, l_max))

    def basis(self, basis: BesselBasis) -> Tensor:
        """(E, K) in the model's precision."""
        dtype = self._directions.dtype
        if basis.trainable:
            return basis(self.x).to(dtype)
        return self._once(basis.key, lambda: basis(self._x).to(dtype))

    def _once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        if key not in self._made:
            made = make()
            self._made[key] = made if self._seam is None else self._seam(made)
        return self._made[key]
