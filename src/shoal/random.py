"""Random numbers that are a function of (seed, system id, purpose, step, atom): nothing is drawn in an order.

Counter-based Philox-4x32-10 as integer operations on tensors, and normal deviates made by additions, multiplications
and divisions only, which IEEE 754 defines to the last bit: the same numbers in any batch, eager or compiled (torch's
own logarithms, sines and square roots differ by an ulp between the two). Words of 32 bits are held in int64 tensors.
A compiler expands every value anew wherever it is used, so no value may pass through many choices of itself.

Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011); G. E. P. Box, M. E. Muller,
Ann. Math. Stat. 29, 610 (1958).
"""

from __future__ import annotations

import math
import secrets
import struct
from collections.abc import Sequence
from enum import IntEnum
from operator import index

import torch

from shoal.errors import InputError

Words = tuple[torch.Tensor, ...]

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF
_SQRT_GUESS = 0x1FF7A3BEA91D9B1B
"""Half the bits of the exponent's offset, less what balances the errors of a square root taken linear in between."""


class Purpose(IntEnum):
    """What a stream of numbers is for; streams of different purposes are independent."""

    VELOCITIES = 0
    THERMOSTAT = 1
    BAROSTAT = 2


def new_seed() -> int:
    """A seed from the operating system."""
    return secrets.randbits(63)


def stream_keys(seed: int, system_id: torch.Tensor, purpose: Purpose) -> torch.Tensor:
    """(S, 2) int64: the key of each system's stream for a purpose.

    `seed`: 0 to 2**64 - 1; `system_id` (S,) int64. Raises InputError for a seed out of range.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**64:
        raise InputError(f"a seed is an integer from 0 to 2**64 - 1, got {seed!r}")
    seed = index(seed)
    low, high = _split(system_id)
    zero = torch.zeros_like(low)
    key = (zero + (seed & _WORD), zero + (seed >> 32))
    return torch.stack(philox((low, high, zero + int(purpose), zero), key)[:2], dim=1)


def normals(keys: torch.Tensor, step: torch.Tensor, number: torch.Tensor, block: int = 0) -> torch.Tensor:
    """(K, 4) float64: four independent standard normal deviates for each of K rows.

    keys (K, 2) of `stream_keys`; step and number (K,) int64, such as the step's and the atom's in its system;
    `block` numbers further fours of the same row.
    """
    low, high = _split(step)
    words = philox((low, high, number & _WORD, torch.full_like(low, block)), keys.unbind(1))
    one, other = box_muller(torch.stack(words[::2]), torch.stack(words[1::2]))
    return torch.stack((one[0], other[0], one[1], other[1]), dim=1)


def philox(counter: Words, key: Words) -> Words:
    """Four 32-bit words from a counter of four and a key of two: Philox-4x32-10."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # products wrap modulo 2**64, which leaves both halves right; what is only xored may keep bits above the word
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((b >> 32) ^ c1 ^ k0) & _WORD, b, ((a >> 32) ^ c3 ^ k1) & _WORD, a
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return c0, c1 & _WORD, c2, c3 & _WORD


def box_muller(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two independent standard normal deviates, float64, from two words.

    The first word gives the radius. The second gives the direction: 30 bits an angle within an eighth of a turn of
    the axis, one whether it is mirrored on the diagonal, and one whether on the origin.
    """
    radius = _sqrt(-2.0 * _log((first.to(torch.float64) + 0.5) * 2.0**-32))
    angle = ((second & 0x3FFFFFFF).to(torch.float64) + (0.5 - 2.0**29)) * (math.pi * 2.0**-31)
    radius = torch.where((second & 0x40000000) == 0, radius, -radius)
    sine, cosine = _sine_and_cosine(angle)
    on_axis, off_axis = radius * cosine, radius * sine
    plain = (second & 0x80000000) == 0
    return torch.where(plain, on_axis, off_axis), torch.where(plain, off_axis, on_axis)


def _split(values: torch.Tensor) -> Words:
    return values & _WORD, (values >> 32) & _WORD


def _bits(x: float) -> int:
    """The bits of a float64 as an integer."""
    return int.from_bytes(struct.pack(">d", x))


def _log(x: torch.Tensor) -> torch.Tensor:
    """The natural logarithm of positive numbers, by log x = 2 artanh((x - 1) / (x + 1)) on [1/sqrt 2, sqrt 2]."""
    bits = x.view(torch.int64)
    exponent = (bits - _bits(math.sqrt(0.5))) >> 52
    mantissa = (bits - (exponent << 52)).view(torch.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    artanh = s * _series(s * s, [1.0 / odd for odd in range(1, 20, 2)])
    return exponent.to(torch.float64) * math.log(2.0) + 2.0 * artanh


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    """The square root of positive numbers by Heron's rule, from half the exponent, which is right to 4 percent."""
    root = ((x.view(torch.int64) >> 1) + _SQRT_GUESS).view(torch.float64)
    for _ in range(4):
        root = 0.5 * (root + x / root)
    return root


def _sine_and_cosine(angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of angles within an eighth of a turn of 0, by Taylor series."""
    square = angle * angle
    sine = _series(square, [(-1) ** k / math.factorial(2 * k + 1) for k in range(8)])
    cosine = _series(square, [(-1) ** k / math.factorial(2 * k) for k in range(9)])
    return angle * sine, cosine


def _series(x: torch.Tensor, coefficients: Sequence[float]) -> torch.Tensor:
    """The polynomial with these coefficients, from the constant one on, by Horner's rule."""
    value = x * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        value = value * x + coefficient
    return value
