"""The repulsion of nuclei: the published formula, LAMMPS' numbers, and its end at the cutoff."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from shoal.nn import ZBL, polynomial_envelope
from shoal.testing import close

NUMBERS = [14, 79]  # silicon, gold
PAIRS = [(0, 0), (0, 1), (1, 1)]


def pair_energies(r: torch.Tensor, pair: tuple[int, int], x: torch.Tensor | None = None) -> torch.Tensor:
    """Energies (E,) of E pairs of atoms, both directions, at distances r (E,) A, shares x (E,) of the cutoff."""
    n = len(r)
    centre, neighbor = torch.arange(2 * n), torch.arange(2 * n).roll(n)
    types, shares = torch.tensor(pair).repeat_interleave(n), torch.zeros_like(r) if x is None else x
    atomic = ZBL(NUMBERS, 6)(r.repeat(2), shares.repeat(2), torch.stack([centre, neighbor]), types)
    close(atomic[:n], atomic[n:], 1e-14)  # each end has half
    return atomic[:n] + atomic[n:]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_published_formula(pair: tuple[int, int]) -> None:
    """Ziegler, Biersack and Littmark's universal potential, constants as printed, e^2 and a_0 of CODATA."""
    r = np.linspace(0.05, 3, 60)
    z1, z2 = (NUMBERS[k] for k in pair)
    reduced = r * (z1**0.23 + z2**0.23) / (0.8854 * 0.529177210903)
    terms = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))
    expected = 14.399645478 * z1 * z2 / r * sum(weight * np.exp(-decay * reduced) for weight, decay in terms)
    found = pair_energies(torch.from_numpy(r), pair).numpy()
    assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.peer
@pytest.mark.parametrize("pair", PAIRS)
def test_equal_lammps(pair: tuple[int, int], tmp_path: Path) -> None:
    """Inside of where LAMMPS begins to switch it off; as many digits as LAMMPS writes."""
    z = [NUMBERS[k] for k in pair]
    (tmp_path / "in.zbl").write_text(
        "units metal\natom_style atomic\nregion box block 0 1 0 1 0 1\ncreate_box 2 box\nmass * 1.0\n"
        f"pair_style zbl 50.0 60.0\npair_coeff 1 1 {z[0]} {z[0]}\npair_coeff 1 2 {z[0]} {z[1]}\n"
        f"pair_coeff 2 2 {z[1]} {z[1]}\npair_write 1 2 200 r 0.1 4.0 table.txt pair\n"
    )
    lammps = Path(__file__).parents[2] / ".venv-peers" / "lammps" / "bin" / "lmp"
    subprocess.run([lammps, "-in", "in.zbl", "-log", "none"], cwd=tmp_path, capture_output=True, check=True)
    lines = (tmp_path / "table.txt").read_text().splitlines()
    rows = np.array([[float(word) for word in line.split()] for line in lines if len(line.split()) == 4][-200:])
    r = torch.from_numpy(rows[:, 1]).requires_grad_()
    energy = pair_energies(r, pair)
    (slope,) = torch.autograd.grad(energy.sum(), r)
    assert energy.detach().numpy() == pytest.approx(rows[:, 2], rel=1e-10)
    assert (-slope).numpy() == pytest.approx(rows[:, 3], rel=1e-10)


def test_the_envelope_ends_it() -> None:
    r = torch.tensor([0.5, 1.5, 2.9, 3.0, 3.5], dtype=torch.float64)
    found = pair_energies(r, (0, 1), r / 3)
    close(found, pair_energies(r, (0, 1)) * polynomial_envelope(r / 3, 6), 1e-14)
    assert found[3:].tolist() == [0, 0]


def test_heavier_nuclei_repel_more() -> None:
    r = torch.linspace(0.1, 3, 20, dtype=torch.float64)
    light, mixed, heavy = (pair_energies(r, pair) for pair in PAIRS)
    assert (light > 0).all()
    assert (light < mixed).all()
    assert (mixed < heavy).all()
