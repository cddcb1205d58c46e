"""Each verb does what its Python function does: package, compile, info, evaluate, test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import Result

from shoal.deploy import compile_model
from shoal.engine import evaluate, load, read_results
from shoal.files import file_sha256, read_package

Cli = Callable[..., Result]


def crystals(n: int) -> list:
    frames = [bulk("Si", "diamond", a=5.3 + 0.02 * k, cubic=True) for k in range(n)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
    return frames


def test_train_passes_overrides_and_resume_on_and_says_what_comes_next(
    shoal_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shoal.training

    seen: list[tuple[object, ...]] = []

    def fake(config: Path, overrides: list[str], resume: object = None) -> shoal.training.TrainResult:
        seen.append((config, overrides, resume))
        metrics = {"val": {"forces_rmse": 123.4}}
        return shoal.training.TrainResult(
            tmp_path, tmp_path / "best.ckpt", tmp_path / "last.ckpt", metrics, [], "signal", {}
        )

    monkeypatch.setattr(shoal.training, "train", fake)
    result = shoal_cli("train", "config.yaml", "training.seed=2", "output=x")
    assert result.exit_code == 0, result.output
    shoal_cli("train", "config.yaml", "--resume")
    assert seen == [(Path("config.yaml"), ["training.seed=2", "output=x"], None), (Path("config.yaml"), [], True)]
    assert "val: forces_rmse 123" in result.stdout
    assert f"next: shoal package {tmp_path / 'best.ckpt'} MODEL.shoal" in result.stdout


def test_a_misspelt_key_of_a_training_is_one_line_with_the_right_one(shoal_cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("output: run\ntype_names: [Si]\ndata: {path: si.xyz}\nmodel: {cutoff: 4.0}\n")
    result = shoal_cli("train", config, "data.batchsize=4")
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    assert len(errors) == 1
    assert "data.batchsize" in errors[0]
    assert "data.batch_size" in errors[0]


def test_package_packs_a_checkpoint_and_prints_its_hash(shoal_cli: Cli, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.shoal"
    result = shoal_cli("package", checkpoint, out)
    assert result.exit_code == 0, result.output
    assert file_sha256(out) in result.stdout
    assert read_package(out).manifest.chemical_species_to_atom_type_map == {"Si": "Si"}


def test_compile_passes_its_flags_on(shoal_cli: Cli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shoal.deploy

    class Compiled:
        verified = {"energy": 1e-7}  # noqa: RUF012
        kernel = "native"
        custom_ops = [{"target": "avx2"}, {"target": "plain"}]  # noqa: RUF012
        radial_table = {"pieces": 256, "force_error": 2e-6}  # noqa: RUF012

    seen: dict[str, object] = {}

    def fake(model: Path, out: Path, **options: object) -> Compiled:
        seen.update(model=model, out=out, **options)
        return Compiled()

    assert set(fake.__kwdefaults__ or {}) <= set(compile_model.__kwdefaults__ or {})
    monkeypatch.setattr(shoal.deploy, "compile_model", fake)
    flags = ("--kernel", "k", "--exact", "--table-error", "1e-4")
    result = shoal_cli("compile", checkpoint, "a.shoal.pt2", "--device", "cuda", "--mode", "m", "--target", "t", *flags)
    assert result.exit_code == 0, result.output
    assert seen == {
        "model": checkpoint,
        "out": Path("a.shoal.pt2"),
        "mode": "m",
        "target": "t",
        "device": "cuda",
        "kernel": "k",
        "exact": True,
        "table_error": 1e-4,
    }
    assert "energy 1.0e-07" in result.stdout
    assert "built for avx2, plain" in result.stdout
    assert "256 pieces, which change forces by at most 2.0e-06 eV/A" in result.stdout


def test_export_passes_its_flags_on(shoal_cli: Cli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shoal.integrations.metatomic as metatomic
    from shoal.deploy.native import RadialTable

    seen: dict[str, object] = {}

    def fake(model: Path, out: Path, **options: object) -> metatomic.Exported:
        seen.update(model=model, out=out, **options)
        return metatomic.Exported(out, Path("libraries"), RadialTable(256, 2e-6), {"energy": 1e-7})

    wanted = set(metatomic.export_model.__kwdefaults__ or {})
    monkeypatch.setattr(metatomic, "export_model", fake)
    flags = ("--map", "Si=Si_a", "--name", "n", "--author", "A", "--author", "B", "--description", "d")
    native = ("--kernel", "native", "--extensions", "libraries", "--tables", "--table-error", "1e-4")
    result = shoal_cli("export", checkpoint, "a.pt", *flags, *native)
    assert result.exit_code == 0, result.output
    assert seen == {
        "model": checkpoint,
        "out": Path("a.pt"),
        "kernel": "native",
        "extensions": Path("libraries"),
        "exact": False,
        "table_error": 1e-4,
        "chemical_species_to_atom_type_map": {"Si": "Si_a"},
        "name": "n",
        "authors": ["A", "B"],
        "description": "d",
    }
    assert set(seen) == {*wanted, "model", "out"}
    assert "energy 1.0e-07" in result.stdout
    assert "engines need the library in libraries" in result.stdout
    assert "256 pieces, which change forces by at most 2.0e-06 eV/A" in result.stdout
    assert shoal_cli("export", checkpoint, "a.pt", "--portable").exit_code == 0
    assert seen["kernel"] == "portable"
    refused = shoal_cli("export", checkpoint, "a.pt", "--portable", "--kernel", "native")
    assert refused.exit_code == 1
    assert "exclude each other" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.pt2"], "ends in .shoal.pt2"),
        (["a.shoal.pt2", "--mode", "torchscript"], "ends in .shoal.pth"),
        (["a.shoal.pth"], "ends in .shoal.pt2"),
        (["a.shoal.pt2", "--mode", "magic"], "mode 'magic' is unknown"),
        (["a.shoal.pt2", "--target", "single"], "target 'single' is unknown"),
    ],
)
def test_compile_refuses_by_name(shoal_cli: Cli, checkpoint: Path, arguments: list[str], message: str) -> None:
    result = shoal_cli("compile", checkpoint, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize("kind", ["package", "checkpoint", "native", "scripted"])
def test_info_knows_every_kind_of_model_file(
    shoal_cli: Cli, request: pytest.FixtureRequest, kind: str, checkpoint: Path
) -> None:
    names = {"package": "silicon_package", "checkpoint": "checkpoint"}
    path = request.getfixturevalue(names.get(kind, f"{kind}_silicon"))
    result = shoal_cli("info", path)
    assert result.exit_code == 0, result.output
    assert file_sha256(path) in result.stdout
    content = json.loads(shoal_cli("info", path, "--json").stdout)
    assert content["type_names"] == ["Si"]
    assert content["cutoff"] == 4.0
    assert ("verified" in content) == (kind not in names)
    assert ("n_parameters" in content) == (kind in names)


def test_evaluate_writes_what_the_verb_gives(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    frames = crystals(7)
    ase.io.write(tmp_path / "a.xyz", frames[:4])
    ase.io.write(tmp_path / "b.traj", frames[4:])
    result = shoal_cli(
        "evaluate",
        tmp_path / "a.xyz",
        tmp_path / "*.traj",
        *("--model", silicon_package, "--map", "Si=Si", "--max-atoms", "16", "--outputs", "energy,forces"),
        *("--out", tmp_path / "r"),
    )
    assert result.exit_code == 0, result.output
    assert "7 systems, 56 atoms" in result.stdout
    table = read_results(tmp_path / "r")
    expected = evaluate(frames, silicon_package, chemical_species_to_atom_type_map=True)
    np.testing.assert_allclose(table["energy"], expected.energies, rtol=1e-6)
    assert "stress" not in table
    assert table["source"][5] == f"{tmp_path / 'b.traj'}, frame 1"


def test_evaluate_maps_elements_to_types_that_are_none(shoal_cli: Cli, water_package: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "water.xyz", [molecule("H2O"), molecule("H2O2")])
    results = {}
    for name, words in (("stored", []), ("given", ["--map", "H=hydrogen_like,O=O_water"]), ("swapped", SWAPPED)):
        out = tmp_path / f"{name}.xyz"
        result = shoal_cli("evaluate", tmp_path / "water.xyz", "--model", water_package, "--out", out, *words)
        assert result.exit_code == 0, result.output
        results[name] = [atoms.get_potential_energy() for atoms in ase.io.read(out, ":")]
    assert results["stored"] == results["given"]
    assert abs(results["stored"][0] - results["swapped"][0]) > 1


SWAPPED = ["--map", "H=O_water", "--map", "O=hydrogen_like"]


def test_evaluate_resumes_and_overwrites_only_when_asked(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", crystals(3))
    call = ("evaluate", tmp_path / "a.xyz", "--model", silicon_package, "--map", "identity", "--out", tmp_path / "r")
    assert shoal_cli(*call).exit_code == 0
    assert shoal_cli(*call).exit_code == 1
    assert "0 systems" in shoal_cli(*call, "--resume").stdout
    assert "3 systems" in shoal_cli(*call, "--overwrite").stdout


def test_test_prints_and_writes_the_errors_of_the_labels(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    """Labels are the model's own values plus a known offset, so the errors are that offset."""
    frames = crystals(4)
    exact = evaluate(frames, load(silicon_package, chemical_species_to_atom_type_map=True))
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = "cold" if k < 2 else "hot"
        energy = exact.energies[k] + 8 * (0.010 if k < 2 else 0.030)
        forces = exact.forces[k] - 0.05
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    ase.io.write(tmp_path / "data.traj", frames)
    out = tmp_path / "accuracy"
    call = ("test", silicon_package, tmp_path / "data.traj", "--map", "identity")
    result = shoal_cli(*call, "--out", out)
    assert result.exit_code == 0, result.output
    numbers = json.loads((out / "accuracy.json").read_text())
    assert numbers["total"]["energy"]["mae"] == pytest.approx(20.0, abs=1e-6)
    assert numbers["total"]["energy"]["rmse"] == pytest.approx(np.sqrt((100 + 900) / 2), abs=1e-6)
    assert numbers["total"]["forces"]["rmse"] == pytest.approx(50.0, abs=1e-6)
    assert numbers["per_config_type"]["cold"]["energy"]["mae"] == pytest.approx(10.0, abs=1e-6)
    assert numbers["forces_per_element"]["Si"]["n"] == 96
    words = result.stdout.split()
    assert {"22.361", "50.000", "10.000", "30.000", "cold", "hot"} <= set(words)
    assert (out / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(shoal_cli(*call, "--json").stdout) == numbers


def test_test_refuses_data_without_labels(shoal_cli: Cli, silicon_package: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "data.xyz", crystals(2))
    result = shoal_cli("test", silicon_package, tmp_path / "data.xyz", "--map", "identity")
    assert result.exit_code == 1
    assert "none of the 2 structures has a label" in result.stderr
