"""Random numbers: the published cipher, exact functions, the normal distribution, and streams that share nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from shoal import random
from shoal.errors import InputError
from shoal.random import Purpose, box_muller, new_seed, normals, philox, stream_keys

WORD = 2**32 - 1

# Random123 1.14, tests/kat_vectors, lines "philox4x32 10": counter, key, words
PUBLISHED = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words_of(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def tensors(words: list[int]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([word]) for word in words)


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_words(counter: str, key: str, words: str) -> None:
    made = philox(tensors(words_of(counter)), tensors(words_of(key)))
    assert [int(word) for word in made] == words_of(words)


def philox_of_integers(counter: list[int], key: list[int]) -> list[int]:
    """The cipher on Python's integers, which have no end."""
    for r in range(10):
        k0, k1 = ((k + r * weyl) & WORD for k, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ k0, b & WORD, (a >> 32) ^ counter[3] ^ k1, a & WORD]
    return counter


def normals_of_integers(seed: int, system_id: int, purpose: int, step: int, number: int, block: int) -> list[float]:
    """The definition of a row of normals, by the mathematics library."""
    key = philox_of_integers([system_id & WORD, system_id >> 32 & WORD, purpose, 0], [seed & WORD, seed >> 32])[:2]
    words = philox_of_integers([step & WORD, step >> 32, number, block], key)
    made = []
    for first, second in (words[:2], words[2:]):
        radius = math.sqrt(-2 * math.log((first + 0.5) / 2**32))
        angle = ((second % 2**30 + 0.5) / 2**30 - 0.5) * math.pi / 2
        if second >> 30 & 1:
            radius = -radius
        pair = [radius * math.cos(angle), radius * math.sin(angle)]
        made += pair[::-1] if second >> 31 else pair
    return made


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("system_id", [0, 7, 2**40 + 3, -1])
def test_a_row_is_what_its_five_numbers_define(seed: int, system_id: int) -> None:
    for purpose, step, number, block in product(Purpose, (0, 2**33 + 5), (0, 12345), (0, 1)):
        keys = stream_keys(seed, torch.tensor([system_id]), purpose)
        made = normals(keys, torch.tensor([step]), torch.tensor([number]), block)
        expected = normals_of_integers(seed, system_id, purpose, step, number, block)
        np.testing.assert_allclose(made[0], expected, rtol=0, atol=2e-15)


def some_words() -> torch.Tensor:
    drawn = np.random.default_rng(0).integers(0, 2**32, 100_000)
    ends = [0, 1, 2, WORD, WORD - 1, *(2**k + d for k in range(1, 32) for d in (-1, 0, 1))]
    return torch.as_tensor(np.concatenate([drawn, ends]))


def test_logarithm_root_sine_and_cosine_are_right_to_the_last_bit_but_one() -> None:
    uniform = (some_words().to(torch.float64) + 0.5) / 2**32
    exact = np.log(uniform.numpy().astype(np.longdouble))
    assert abs(random._log(uniform).numpy() / exact - 1).max() < 4e-16
    for x in (uniform, -2 * random._log(uniform), uniform * 64):
        assert abs(random._sqrt(x).numpy() / np.sqrt(x.numpy().astype(np.longdouble)) - 1).max() < 3e-16
    angle = (uniform - 0.5) * (math.pi / 2)
    sine, cosine = random._sine_and_cosine(angle)
    assert abs(sine.numpy() - np.sin(angle.numpy().astype(np.longdouble))).max() < 3e-16
    assert abs(cosine.numpy() - np.cos(angle.numpy().astype(np.longdouble))).max() < 3e-16


def test_every_pair_of_words_is_finite_and_within_the_tails_of_33_bits() -> None:
    words = some_words()
    pair = torch.stack(box_muller(words, words.flip(0)))
    assert torch.isfinite(pair).all()
    assert float(pair.abs().max()) <= math.sqrt(2 * 33 * math.log(2))
    first, second = box_muller(torch.tensor([0]), torch.tensor([2**29]))
    assert abs(float(first.square() + second.square()) - 2 * 33 * math.log(2)) < 1e-13


def test_the_second_word_goes_once_round_the_circle() -> None:
    n = 4096
    second = torch.arange(n) * (2**32 // n) + 2**32 // n // 2
    x, y = box_muller(torch.full_like(second, 12345), second)
    angles = torch.atan2(y, x).sort().values
    assert (angles.diff() - 2 * math.pi / n).abs().max() < 1e-8


ROWS = 50_000


def drawn(
    seed: int = 1, system_id: int = 0, purpose: Purpose = Purpose.THERMOSTAT, step: int = 0, block: int = 0
) -> torch.Tensor:
    keys = stream_keys(seed, torch.tensor([system_id]), purpose).expand(ROWS, 2)
    return normals(keys, torch.full((ROWS,), step), torch.arange(ROWS), block).flatten()


def test_moments_and_distribution_are_normal() -> None:
    z = drawn()
    n = len(z)
    # in standard errors of each moment of n normal deviates
    assert abs(float(z.mean())) * n**0.5 < 4
    assert abs(float(z.square().mean()) - 1) * (n / 2) ** 0.5 < 4
    assert abs(float(z.pow(3).mean())) * (n / 15) ** 0.5 < 4
    assert abs(float(z.pow(4).mean()) - 3) * (n / 96) ** 0.5 < 4
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3


OTHERS: dict[str, Callable[[], torch.Tensor]] = {
    "seed": lambda: drawn(seed=2),
    "upper half of the seed": lambda: drawn(seed=1 + 2**32),
    "system": lambda: drawn(system_id=1),
    "upper half of the system id": lambda: drawn(system_id=2**32),
    "purpose": lambda: drawn(purpose=Purpose.VELOCITIES),
    "step": lambda: drawn(step=1),
    "upper half of the step": lambda: drawn(step=2**32),
    "block": lambda: drawn(block=1),
    "atom": lambda: drawn().reshape(ROWS, 4).roll(1, 0).flatten(),
    "place in the row": lambda: drawn().roll(1),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_streams_are_independent(difference: str) -> None:
    one, other = drawn(), OTHERS[difference]()
    n = len(one)
    assert not (one == other).any()
    for f, g in product((torch.Tensor.clone, torch.Tensor.square), repeat=2):
        a, b = ((values - values.mean()) / values.std() for values in (f(one), g(other)))
        assert abs(float((a * b).mean())) * n**0.5 < 5


def test_no_two_rows_are_equal() -> None:
    keys = torch.cat([stream_keys(seed, torch.arange(4), purpose) for seed in (0, 1) for purpose in Purpose])
    rows = torch.tensor([*product(range(len(keys)), range(8), range(32))])
    made = torch.cat([normals(keys[rows[:, 0]], rows[:, 1], rows[:, 2], block) for block in (0, 1)])
    assert len(made.flatten().unique()) == made.numel()


def rows_of_some_systems() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sizes = torch.tensor([1, 2, 57, 130])
    keys = stream_keys(5, torch.tensor([3, 1, 4, 9]), Purpose.THERMOSTAT)
    steps = torch.tensor([0, 11, 2**35, 7])
    numbers = torch.cat([torch.arange(int(size)) for size in sizes])
    return keys.repeat_interleave(sizes, 0), steps.repeat_interleave(sizes), numbers


def parts() -> Iterator[torch.Tensor]:
    n = 190
    yield from torch.arange(n).split(1)
    yield from (torch.arange(7), torch.arange(n).flip(0), torch.randperm(n, generator=torch.Generator().manual_seed(1)))


def test_a_row_is_the_same_in_any_batch() -> None:
    rows = rows_of_some_systems()
    together = normals(*rows)
    for part in parts():
        assert torch.equal(normals(*(values[part] for values in rows)), together[part])


@pytest.mark.parametrize("dynamic", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_compiled_numbers_are_the_same_to_the_last_bit(dynamic: bool) -> None:
    rows = rows_of_some_systems()
    with torch.no_grad():
        compiled = torch.compile(normals, fullgraph=True, dynamic=dynamic)
        assert torch.equal(compiled(*rows), normals(*rows))
        most = tuple(values[:-1] for values in rows)
        assert torch.equal(compiled(*most), normals(*most))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_numbers_to_the_last_bit() -> None:
    rows = rows_of_some_systems()
    on_gpu = normals(*(values.cuda() for values in rows))
    assert torch.equal(on_gpu.cpu(), normals(*rows))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None, "1"])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    with pytest.raises(InputError, match="a seed is an integer from 0 to"):
        stream_keys(seed, torch.tensor([0]), Purpose.VELOCITIES)  # type: ignore[arg-type]


def test_seeds_may_be_numbers_of_numpy() -> None:
    ids = torch.arange(3)
    for seed in (np.int64(12), np.uint64(2**63 + 5)):
        assert torch.equal(
            stream_keys(seed, ids, Purpose.BAROSTAT),  # type: ignore[arg-type]
            stream_keys(int(seed), ids, Purpose.BAROSTAT),
        )


def test_new_seeds_differ_and_are_seeds() -> None:
    seeds = {new_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
