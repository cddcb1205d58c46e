"""Real spherical harmonics of unit vectors as explicit polynomials.

Components m = -l..l with y as polar axis, so that l = 1 is x, y, z (e3nn's basis, arXiv:2207.09453);
"component" normalisation: the squares of the 2l+1 components sum to 2l+1.
"""

from math import sqrt

import torch
from torch import Tensor

L_MAX = 4


def spherical_harmonics(directions: Tensor, l_max: int) -> Tensor:
    """Harmonics of degrees 0..l_max, (E, (l_max + 1)^2), of unit vectors (E, 3), in their dtype."""
    if not 0 <= l_max <= L_MAX:
        raise ValueError(f"l_max is {l_max}; spherical harmonics are written out for 0 to {L_MAX}")
    x, y, z = directions.unbind(-1)
    components = [torch.ones_like(x)]
    for components_of in DEGREES[:l_max]:
        components += components_of(x, y, z)
    return torch.stack(components, dim=-1)


def degree(harmonics: Tensor, l: int) -> Tensor:
    """The (E, 2l+1) components of degree l out of stacked harmonics."""
    return harmonics[:, l * l : (l + 1) * (l + 1)]


def _l1(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    c = sqrt(3)
    return [c * x, c * y, c * z]


def _l2(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    c = sqrt(15)
    return [c * x * z, c * x * y, sqrt(5) / 2 * (3 * y * y - 1), c * y * z, c / 2 * (z * z - x * x)]


def _l3(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    xx, yy, zz = x * x, y * y, z * z
    a, b, c = sqrt(35 / 8), sqrt(105), sqrt(21 / 8)
    return [
        a * x * (3 * zz - xx),
        b * x * y * z,
        c * x * (5 * yy - 1),
        sqrt(7) / 2 * y * (5 * yy - 3),
        c * z * (5 * yy - 1),
        b / 2 * y * (zz - xx),
        a * z * (zz - 3 * xx),
    ]


def _l4(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    xx, yy, zz = x * x, y * y, z * z
    a, b, c, d = 3 / 2 * sqrt(35), 3 / 2 * sqrt(35 / 2), 3 / 2 * sqrt(5), 3 / 2 * sqrt(5 / 2)
    return [
        a * x * z * (zz - xx),
        b * x * y * (3 * zz - xx),
        c * x * z * (7 * yy - 1),
        d * x * y * (7 * yy - 3),
        3 / 8 * ((35 * yy - 30) * yy + 3),
        d * y * z * (7 * yy - 3),
        c / 2 * (zz - xx) * (7 * yy - 1),
        b * y * z * (zz - 3 * xx),
        a / 4 * ((zz - 6 * xx) * zz + xx * xx),
    ]


DEGREES = (_l1, _l2, _l3, _l4)
"""Components of the degrees 1 to 4, of anything that can be added and multiplied."""
