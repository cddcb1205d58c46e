"""Random numbers that are a function of (seed, system id, purpose, step, atom): nothing is drawn in an order.

Counter-based Philox-4x32-10 as integer operations on tensors, and normal deviates made by additions, multiplications
and divisions only, which IEEE 754 defines to the last bit: the same numbers in any batch, eager or compiled (torch's
own logarithms, sines and square roots differ by an ulp between the two). Words of 32 bits are held in int64 tensors.

Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011); G. E. P. Box, M. E. Muller,
Ann. Math. Stat. 29, 610 (1958).
"""

from __future__ import annotations

import math
import secrets
from enum import IntEnum

import torch

from shoal.errors import InputError

Words = tuple[torch.Tensor, ...]

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


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
    if not 0 <= seed < 2**64:
        raise InputError(f"a seed is an integer from 0 to 2**64 - 1, got {seed}")
    low, high = _split(system_id)
    zero = torch.zeros_like(low)
    key = (zero + (seed & _WORD), zero + (seed >> 32))
    return torch.stack(philox((low, high, zero + int(purpose), zero), key)[:2], dim=1)


def normals(keys: torch.Tensor, step: torch.Tensor, index: torch.Tensor, block: int = 0) -> torch.Tensor:
    """(K, 4) float64: four independent standard normal deviates for each of K rows.

    keys (K, 2) of `stream_keys`; step and index (K,) int64, such as the step's number and the atom's in its system;
    `block` numbers further fours of the same row.
    """
    low, high = _split(step)
    words = philox((low, high, index & _WORD, torch.full_like(low, block)), keys.unbind(1))
    first, second = (box_muller(*pair) for pair in (words[:2], words[2:]))
    return torch.stack((*first, *second), dim=1)


def philox(counter: Words, key: Words) -> Words:
    """Four 32-bit words from a counter of four and a key of two: Philox-4x32-10."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # the product wraps modulo 2**64, so that shift and mask give its halves whatever the sign
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((b >> 32) & _WORD) ^ c1 ^ k0, b & _WORD, ((a >> 32) & _WORD) ^ c3 ^ k1, a & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def box_muller(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two independent standard normal deviates, float64, from two words."""
    radius = _sqrt(-2.0 * _log((first.to(torch.float64) + 0.5) * 2.0**-32))
    sine, cosine = _sine_and_cosine((second.to(torch.float64) + 0.5) * 2.0**-32)
    return radius * cosine, radius * sine


def _split(values: torch.Tensor) -> Words:
    return values & _WORD, (values >> 32) & _WORD


def _log(x: torch.Tensor) -> torch.Tensor:
    """The natural logarithm of numbers from 2**-33 to 1, by log x = 2 artanh((x - 1) / (x + 1)).

    First x is brought into [1/sqrt 2, sqrt 2) by powers of two, which is exact.
    """
    exponent = torch.zeros_like(x)
    for power in (32, 16, 8, 4, 2, 1):
        small = x < 2.0**-power * math.sqrt(2.0)
        x = torch.where(small, x * 2.0**power, x)
        exponent = torch.where(small, exponent - power, exponent)
    s = (x - 1.0) / (x + 1.0)
    square = s * s
    series = torch.full_like(x, 1.0 / 23.0)
    for odd in range(21, 0, -2):
        series = series * square + 1.0 / odd
    return exponent * math.log(2.0) + 2.0 * s * series


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    """The square root of numbers from 2**-34 to 64, by Heron's rule on [1/4, 1]; scaling by powers of four is exact."""
    x, scale = x * 2.0**-6, torch.full_like(x, 8.0)
    for power in (32, 16, 8, 4, 2):
        small = x < 2.0**-power
        x = torch.where(small, x * 2.0**power, x)
        scale = torch.where(small, scale * 2.0 ** (-power / 2), scale)
    root = 0.35 + 0.65 * x
    for _ in range(5):
        root = 0.5 * (root + x / root)
    return root * scale


def _sine_and_cosine(turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of an angle in turns, 0 to 1: Taylor series within an eighth of a turn of the nearest quarter."""
    quarter = (4.0 * turns + 0.5).floor()
    angle = (turns - 0.25 * quarter) * (2.0 * math.pi)
    square = angle * angle
    sine, cosine = torch.ones_like(turns), torch.ones_like(turns)
    for k in range(8, 0, -1):
        sine = 1.0 - sine * square * (1.0 / (2 * k * (2 * k + 1)))
        cosine = 1.0 - cosine * square * (1.0 / (2 * k * (2 * k - 1)))
    sine = sine * angle
    odd = (quarter == 1.0) | (quarter == 3.0)
    sine, cosine = torch.where(odd, cosine, sine), torch.where(odd, sine, cosine)
    sine = torch.where(quarter >= 2.0, -sine, sine)
    sine = torch.where(quarter == 4.0, -sine, sine)
    cosine = torch.where((quarter == 1.0) | (quarter == 2.0), -cosine, cosine)
    return sine, cosine
