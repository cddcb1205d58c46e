"""Errors on labelled data are the plain numpy ones, per quantity, element, group and frame."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from shoal.errors import DataError, UnsupportedSpeciesError
from shoal.io import LabelKeys
from shoal.potentials import LennardJones
from shoal.properties import measure_accuracy

PARAMETERS = {"epsilon": 0.0104, "sigma": 3.4}


def potential() -> LennardJones:
    """One Lennard-Jones for two elements, so that ASE's, which has no elements, is its oracle."""
    return LennardJones({"Ar": (0.0104, 3.4), "Kr": (0.0104, 3.4)}, cutoff=6.5, truncation="shift")


def labelled() -> tuple[list[Atoms], dict[str, list[np.ndarray]]]:
    """Frames whose labels are ASE's Lennard-Jones plus known noise, and that noise (label less exact).

    Frame 3 is a molecule and has no stress; frame 4 has no forces label.
    """
    rng = np.random.default_rng(5)
    frames, noise = [], {"energy": [], "forces": [], "stress": []}
    for k in range(6):
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (1, 1, 1 + k % 2)
        if k == 3:
            atoms = Atoms("Ar3", [[0, 0, 0], [3.7, 0, 0], [0, 3.9, 0]])
        atoms.symbols[0] = "Kr"
        atoms.rattle(0.1, seed=k)
        atoms.info["config_type"] = "odd" if k % 2 else "even"
        atoms.calc = AseLennardJones(rc=6.5, smooth=False, **PARAMETERS)
        energy_noise, force_noise = rng.normal(0, 0.3), rng.normal(0, 0.02, (len(atoms), 3))
        stress_noise = rng.normal(0, 1e-3, (3, 3))
        stress_noise = stress_noise + stress_noise.T
        labels = {"energy": atoms.get_potential_energy() + energy_noise}
        noise["energy"].append(np.array([energy_noise / len(atoms)]))
        if k != 4:
            labels["forces"] = atoms.get_forces() + force_noise
            noise["forces"].append(force_noise)
        if k != 3:
            labels["stress"] = atoms.get_stress() + full_3x3_to_voigt_6_stress(stress_noise)
            noise["stress"].append(stress_noise)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames, noise


def mae(parts: list[np.ndarray]) -> float:
    return 1e3 * float(np.mean(np.abs(np.concatenate([np.ravel(part) for part in parts]))))


def rmse(parts: list[np.ndarray]) -> float:
    return 1e3 * float(np.sqrt(np.mean(np.concatenate([np.ravel(part) for part in parts]) ** 2)))


def test_total_errors_are_those_of_the_noise() -> None:
    frames, noise = labelled()
    total = measure_accuracy(frames, potential(), max_atoms=9).total
    assert set(total) == {"energy", "forces", "stress"}
    for name, parts in noise.items():
        assert total[name].mae == pytest.approx(mae(parts), rel=1e-8), name
        assert total[name].rmse == pytest.approx(rmse(parts), rel=1e-8), name
        assert total[name].n == sum(np.size(part) for part in parts)


def test_errors_per_element_and_per_group_are_those_of_their_atoms_and_frames() -> None:
    frames, noise = labelled()
    accuracy = measure_accuracy(frames, potential())
    with_forces = [frame for k, frame in enumerate(frames) if k != 4]
    for symbol in ("Ar", "Kr"):
        rows = [
            part[np.array(frame.get_chemical_symbols()) == symbol]
            for frame, part in zip(with_forces, noise["forces"], strict=True)
        ]
        assert accuracy.per_element[symbol].rmse == pytest.approx(rmse(rows), rel=1e-8)
        assert accuracy.per_element[symbol].mae == pytest.approx(mae(rows), rel=1e-8)
    odd = [noise["energy"][k] for k in (1, 3, 5)]
    assert accuracy.per_group["odd"]["energy"].rmse == pytest.approx(rmse(odd), rel=1e-8)
    even = [noise["forces"][k] for k in (0, 2)]
    assert accuracy.per_group["even"]["forces"].mae == pytest.approx(mae(even), rel=1e-8)


def test_worst_frames_come_first_and_name_the_atom() -> None:
    frames, noise = labelled()
    spoiled = frames[2].calc.results["forces"].copy()
    spoiled[3] += [0, 0, 5.0]
    frames[2].calc.results["forces"] = spoiled
    worst = measure_accuracy(frames, potential()).worst(3)
    assert len(worst) == 3
    assert (worst[0]["frame"], worst[0]["worst_atom"]) == (2, 3)
    assert worst[0]["forces_max"] == pytest.approx(1e3 * np.linalg.norm(noise["forces"][2][3] + [0, 0, 5.0]))
    assert worst[0]["energy_error"] == pytest.approx(-1e3 * float(noise["energy"][2][0]), rel=1e-6)


def test_a_frame_is_as_bad_as_its_energy_or_its_forces_beside_the_usual_error() -> None:
    frames, noise = labelled()
    accuracy = measure_accuracy(frames, potential())
    usual = accuracy.total["energy"].rmse, accuracy.total["forces"].rmse
    forces = [*noise["forces"][:4], np.zeros(1), noise["forces"][4]]
    badness = [
        max(rmse([energy]) / usual[0], rmse([force]) / usual[1])
        for energy, force in zip(noise["energy"], forces, strict=True)
    ]
    assert [row["frame"] for row in accuracy.worst()] == np.argsort(badness)[::-1].tolist()


def test_parity_pairs_are_labels_and_predictions_in_one_order() -> None:
    frames, noise = labelled()
    labels, predictions = measure_accuracy(frames, potential()).parity("energy")
    expected = [frame.calc.results["energy"] / len(frame) for frame in frames]
    np.testing.assert_allclose(labels, expected, rtol=1e-12)
    np.testing.assert_allclose(labels - predictions, np.concatenate(noise["energy"]), atol=1e-12)


def test_energies_alone_are_enough_and_rank_the_frames() -> None:
    frames, noise = labelled()
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.calc.results["energy"])
    accuracy = measure_accuracy(frames, potential())
    assert set(accuracy.total) == {"energy"}
    assert accuracy.per_element == {}
    sizes = [abs(float(part[0])) for part in noise["energy"]]
    assert [row["frame"] for row in accuracy.worst(6)] == sorted(range(6), key=lambda k: -sizes[k])
    assert json.loads(json.dumps(accuracy.to_dict()))["n_frames"] == 6


def test_labels_of_other_names_and_groups_are_found_in_a_file(tmp_path: Path) -> None:
    frames, noise = labelled()
    for atoms in frames:
        results = atoms.calc.results
        atoms.calc = None
        atoms.info["dft_energy"] = results["energy"]
        if "forces" in results:
            atoms.arrays["dft_forces"] = results["forces"]
        if "stress" in results:
            atoms.info["dft_stress"] = voigt_6_to_full_3x3_stress(results["stress"])
        atoms.info["kind"] = atoms.info.pop("config_type")
    ase.io.write(tmp_path / "data.xyz", frames)
    keys = LabelKeys(energy="dft_energy", forces="dft_forces", stress="dft_stress")
    accuracy = measure_accuracy(tmp_path / "data.xyz", potential(), keys=keys, group_key="kind")
    for name, parts in noise.items():
        assert accuracy.total[name].rmse == pytest.approx(rmse(parts), rel=1e-4), name
    assert set(accuracy.per_group) == {"even", "odd"}


def test_data_without_labels_with_nan_or_unknown_elements_is_refused() -> None:
    frames, _ = labelled()
    with pytest.raises(DataError, match=r"none of the 2 structures has a label.*--energy-key"):
        measure_accuracy([bulk("Ar", cubic=True, a=5.3), bulk("Ar", a=5.3)], potential())
    with pytest.raises(DataError, match="has forces labels named 'forcess'"):
        measure_accuracy(frames, potential(), keys=LabelKeys(forces="forcess"))
    frames[2].calc.results["forces"] = np.full((4, 3), np.nan)
    with pytest.raises(DataError, match="structure 2: label forces of atom 0 is not finite"):
        measure_accuracy(frames, potential())
    frames[2].calc.results["forces"] = np.zeros((3, 3))
    with pytest.raises(DataError, match=r"structure 2: label forces has shape \(3, 3\), needs \(4, 3\)"):
        measure_accuracy(frames, potential())
    frames[2].symbols[1] = "Si"
    frames[2].calc = None
    with pytest.raises(UnsupportedSpeciesError, match="structure 2: Si"):
        measure_accuracy(frames, potential())
