"""`shoal relax` and `shoal md`: the verbs of Python by flag or by file, and what is said when something is wrong."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import ase.io
import ase.io.extxyz
import numpy as np
import pytest
import typer
from ase import Atoms
from ase.build import bulk
from tests.conftest import rattled
from typer.testing import Result

import shoal
from shoal.cli import app
from shoal.cli._methods import method
from shoal.cli._run_options import MDOptions, RelaxOptions, RunOptions
from shoal.dynamics import INTEGRATORS, Langevin, NoseHoover, Ramp
from shoal.engine import SystemResult
from shoal.engine.sinks import ExtxyzFile
from shoal.errors import InputError
from shoal.relaxation import FILTERS, FIRE, LBFGS, OPTIMIZERS, Frechet, UnitCell

Cli = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, silicon_package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the model and two structures are, as the working directory."""
    (tmp_path / "silicon.shoal").symlink_to(silicon_package)
    ase.io.write(tmp_path / "si.xyz", structures())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def structures() -> list[Atoms]:
    return [rattled(bulk("Si", a=5.43), 0), rattled(bulk("Si", a=5.5, cubic=True), 1)]


MODEL = ("--model", "silicon.shoal", "--map", "identity")


def test_relax_by_flags_is_relax_in_python(shoal_cli: Cli, folder: Path) -> None:
    flags = ["--optimizer", "LBFGS(memory=5)", "--cell", "frechet(pressure=2.0)", "--fmax", "0.3", "--max-steps", 12]
    result = shoal_cli("relax", "si.xyz", *MODEL, "--out", "relaxed.xyz", *flags)
    assert result.exit_code == 0, result.output
    expected = shoal.relax(
        structures(),
        "silicon.shoal",
        LBFGS(memory=5),
        Frechet(pressure=2.0),
        fmax=0.3,
        max_steps=12,
        progress=False,
        chemical_species_to_atom_type_map=True,
    )
    for frame, one in zip(ase.io.iread("relaxed.xyz"), expected, strict=True):
        assert frame.info["status"] == one.status
        assert frame.info["n_steps"] == one.n_steps
        np.testing.assert_allclose(frame.get_potential_energy(), one.values["energy"], atol=1e-6)
        np.testing.assert_allclose(frame.cell, one.to_atoms().cell, atol=1e-6)
    assert "LBFGS, eager: 2 systems, 10 atoms in" in result.stdout
    assert "written to relaxed.xyz" in result.stdout


CONFIG = """
structures: [si.xyz]
model: silicon.shoal
map: {Si: Si}
out: by_file.xyz
integrator: {name: langevin, temperature: {start: 200, end: 400, n_steps: 4}, friction: [0.01, 0.03]}
timestep: [1.0, 2.0]
n_steps: 4
temperature: 200
seed: 5
fix_atoms: [0]
"""


def test_a_file_says_what_flags_say(shoal_cli: Cli, folder: Path) -> None:
    (folder / "md.yaml").write_text(CONFIG)
    assert shoal_cli("md", "--config", "md.yaml").exit_code == 0
    result = shoal_cli(
        "md", "si.xyz", *MODEL, "--out", "by_flag.xyz", "--timestep", "1.0,2.0", "--n-steps", 4, "--temperature", 200,
        "--integrator", "Langevin(temperature=Ramp(200, 400, n_steps=4), friction=(0.01, 0.03))", "--seed", 5,
        "--fix-atoms", "0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "seed 5" in result.stdout
    by_file, by_flag = ((folder / name).read_text() for name in ("by_file.xyz", "by_flag.xyz"))
    assert by_file == by_flag
    for frame, start in zip(ase.io.iread("by_flag.xyz"), structures(), strict=True):
        np.testing.assert_allclose(frame.positions[0], start.positions[0], atol=1e-7)
        assert abs(frame.positions[1:] - start.positions[1:]).max() > 1e-3


def test_flags_go_before_the_file(shoal_cli: Cli, folder: Path) -> None:
    (folder / "md.yaml").write_text(CONFIG)
    result = shoal_cli("md", "--config", "md.yaml", "--out", "other.xyz", "--n-steps", 2, "--integrator", "nve")
    assert result.exit_code == 0, result.output
    assert not (folder / "by_file.xyz").exists()
    assert [frame.info["md_steps"] for frame in ase.io.iread("other.xyz")] == [2, 2]
    assert "NVE, eager" in result.stdout


def test_a_seed_is_drawn_and_told(shoal_cli: Cli, folder: Path) -> None:
    told = [
        shoal_cli("md", "si.xyz", *MODEL, "--out", name, "--n-steps", 0).stdout.splitlines()[0]
        for name in ("a.xyz", "b.xyz")
    ]
    assert all(line.startswith("seed ") for line in told)
    assert told[0] != told[1]
    again = shoal_cli("md", "si.xyz", *MODEL, "--out", "c.xyz", "--n-steps", 0, "--seed", told[0].split()[1])
    assert again.exit_code == 0
    assert (folder / "c.xyz").read_text() == (folder / "a.xyz").read_text()


@pytest.mark.parametrize("verb", ["md", "relax"])
def test_systems_go_by_their_ids(shoal_cli: Cli, folder: Path, verb: str) -> None:
    steps = ("--n-steps", 3, "--seed", 1) if verb == "md" else ("--max-steps", 3)
    both = shoal_cli(verb, "si.xyz", *MODEL, "--out", "both.xyz", *steps, "--system-ids", "7,3")
    assert "written to both.xyz" in both.output
    frames = ase.io.read("both.xyz", ":")
    assert [frame.info["system_id"] for frame in frames] == [7, 3]
    ase.io.write("second.xyz", structures()[1])
    (folder / "second.yaml").write_text("structures: second.xyz\nsystem_ids: [3]\n")
    alone = shoal_cli(verb, "--config", "second.yaml", *MODEL, "--out", "alone.xyz", *steps)
    assert "written to alone.xyz" in alone.output
    np.testing.assert_allclose(ase.io.read("alone.xyz").positions, frames[1].positions, atol=1e-7)


@pytest.mark.parametrize("verb", ["md", "relax"])
def test_the_bar_can_be_left_away(shoal_cli: Cli, folder: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    module = importlib.import_module("shoal.engine.simulate" if verb == "md" else "shoal.engine.relax")
    show = module.run_progress
    monkeypatch.setattr(module, "run_progress", lambda n, *more: asked.append(n) or show(n, *more))
    (folder / "quiet.yaml").write_text("progress: false\nfix_com: true\n")
    flags = ("si.xyz", *MODEL, "--out", "o.xyz", "--overwrite", "--n-steps" if verb == "md" else "--max-steps", 1)
    for quiet in (["--no-progress"], ["--config", "quiet.yaml"]):
        assert "written to o.xyz" in shoal_cli(verb, *flags, *quiet).output
    assert not asked
    assert "written to o.xyz" in shoal_cli(verb, *flags, "--config", "quiet.yaml", "--progress").output
    assert asked == [2]  # counted, so that it tells the time left


@pytest.mark.parametrize("verb", ["md", "relax"])
def test_structures_are_read_as_they_are_needed(
    shoal_cli: Cli, folder: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write("many.xyz", [rattled(bulk("Si", a=5.43), seed) for seed in range(20)])
    ahead: list[int] = []
    n_read = n_written = 0
    read_frame, write = ase.io.extxyz._read_xyz_frame, ExtxyzFile.write

    def reading(*arguments: object, **more: object) -> Atoms:
        nonlocal n_read
        n_read += 1
        ahead.append(n_read - n_written)
        return read_frame(*arguments, **more)

    def writing(sink: ExtxyzFile, results: list[SystemResult]) -> None:
        nonlocal n_written
        n_written += len(results)
        write(sink, results)

    monkeypatch.setattr("ase.io.extxyz._read_xyz_frame", reading)
    monkeypatch.setattr(ExtxyzFile, "write", writing)
    n_steps = "--n-steps" if verb == "md" else "--max-steps"
    result = shoal_cli(verb, "many.xyz", *MODEL, "--out", "o.xyz", n_steps, 1, "--max-atoms", 4)
    assert "20 systems, 40 atoms" in result.output
    assert n_written == 20
    assert max(ahead[:20]) < 8


MISTAKES = {
    "no model": (["si.xyz", "--out", "o.xyz"], "", "--model is missing; give it here, or as model: in the file"),
    "no structures": ([*MODEL, "--out", "o.xyz"], "", "STRUCTURES is missing"),
    "unknown key": (["--config", "o.yaml"], CONFIG + "n_step: 3", "o.yaml: unknown key n_step; did you mean n_steps?"),
    "no near key": (["--config", "o.yaml"], CONFIG + "qqq: 3", "o.yaml: unknown key qqq; there are structures, model"),
    "wrong value in the file": (["--config", "o.yaml"], CONFIG + "skin: thin", "o.yaml: skin should be a valid number"),
    "wrong value by flag": (["--config", "o.yaml", "--timestep", "1,x"], CONFIG, "--timestep should be a valid number"),
    "no mapping": (["--config", "o.yaml"], "- 1", "o.yaml: options are a mapping"),
    "no yaml": (["--config", "o.yaml"], "a: [", "o.yaml: no readable YAML"),
    "no such file": (["--config", "nowhere.yaml"], "", "nowhere.yaml: no such file"),
    "unknown method": (["--integrator", "Langevn"], CONFIG, "there is no 'Langevn'; did you mean Langevin?"),
    "unknown parameter": (["--integrator", "NoseHoover(tua=3)"], CONFIG, "no parameter 'tua'; did you mean tau?"),
    "no parameters at all": (["--integrator", "NVE(x=3)"], CONFIG, "NVE has no parameter 'x'"),
    "parameters without names": (["--integrator", "Langevin(300)"], CONFIG, "integrator takes a name, with parameters"),
    "code instead of a number": (["--integrator", "Langevin(friction=f())"], CONFIG, "integrator takes a name"),
    "impossible parameter": (["--integrator", "NoseHoover(tau=-1)"], CONFIG, "tau must be positive, got -1"),
    "wrong atoms": (["--fix-atoms", "0,99"], CONFIG, "FixAtoms names atom 99"),
    "fewer ids than structures": (["--system-ids", "4"], CONFIG, "1 system_ids for 2 structures"),
    "an id that is no number": (["--system-ids", "4,b"], CONFIG, "--system-ids should be a valid integer"),
    "neither yes nor no": (["--compile", "maybe"], CONFIG, "--compile should be 'auto' or should be a valid boolean"),
    "output is input": (["--out", "si.xyz"], CONFIG, "one of the files to read"),
    "output is no xyz": (["--out", "folder"], CONFIG, "last frames are written to an .xyz"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(shoal_cli: Cli, folder: Path, mistake: str) -> None:
    arguments, config, message = MISTAKES[mistake]
    (folder / "o.yaml").write_text(config)
    if config == CONFIG and "--config" not in arguments:
        arguments = ["--config", "o.yaml", *arguments]
    result = shoal_cli("md", *arguments)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if mistake == "wrong atoms":  # of each structure, so that it is no error of the run
        errors = [" ".join(result.stdout.split())]
    assert result.exit_code == 1
    assert len(errors) == 1
    assert message in errors[0]


def test_what_goes_wrong_goes_wrong_alone(shoal_cli: Cli, folder: Path) -> None:
    oxide = bulk("Si", cubic=True)
    oxide.symbols[3] = "O"
    ase.io.write("mixed.xyz", [*structures(), oxide])
    result = shoal_cli("md", "mixed.xyz", *MODEL, "--out", "out.xyz", "--n-steps", 2)
    assert result.exit_code == 0
    assert "2 done, 1 unsupported" in result.stdout
    assert "O (system 2, atom 3) is unknown to this model" in " ".join(result.stdout.split())
    assert "warning: 1 of 3 systems" in result.stderr
    result = shoal_cli("relax", "si.xyz", *MODEL, "--out", "out.xyz", "--overwrite", "--max-force", 1e-9)
    assert result.exit_code == 1
    assert "2 exploded" in result.stdout


@pytest.mark.parametrize(("verb", "kind"), [("relax", RelaxOptions), ("md", MDOptions)])
def test_every_option_is_a_flag_and_a_key(verb: str, kind: type[RunOptions]) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    assert {parameter.name for parameter in command.params} - {"config"} == set(kind.model_fields)
    assert all(parameter.default is None for parameter in command.params)  # so that a file may say it


@pytest.mark.parametrize(("verb", "kind"), [("relax", RelaxOptions), ("simulate", MDOptions)])
def test_every_argument_in_python_is_an_option(verb: str, kind: type[RunOptions]) -> None:
    by_other_names = {
        "potential": "model",
        "chemical_species_to_atom_type_map": "map",
        "constraints": "fix_atoms",
        "limits": "max_move",
    }
    of_python_only = {"on_step", "every", "errors", "allow_float32", "n_structures"}
    arguments = set(inspect.signature(getattr(shoal, verb)).parameters) - of_python_only
    assert {by_other_names.get(name, name) for name in arguments} <= set(kind.model_fields)


BY_NAME = {
    "langevin": Langevin(),
    "Langevin()": Langevin(),
    " Langevin ( temperature = 500 ) ": Langevin(temperature=500),
    "nose-hoover(tau=50.0, chain_length=5)": NoseHoover(tau=50.0, chain_length=5),
    "Langevin(temperature=Ramp(1, 2, 3))": Langevin(temperature=Ramp(1, 2, 3)),
    "Langevin(temperature=Ramp(start=[1, 5], end=2, n_steps=3))": Langevin(temperature=Ramp((1, 5), 2, 3)),
    "Langevin(friction=[0.1, 0.2])": Langevin(friction=(0.1, 0.2)),
}


@pytest.mark.parametrize("said", BY_NAME)
def test_methods_are_named_as_in_python(said: str) -> None:
    assert method(said, {kind.__name__: kind for kind in INTEGRATORS}, "integrator") == BY_NAME[said]


def test_methods_are_mappings_in_files() -> None:
    kinds = {kind.__name__: kind for kind in OPTIMIZERS}
    assert method({"name": "fire", "dt": 0.2}, kinds, "optimizer") == FIRE(dt=0.2)
    mask = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    masked = UnitCell(strain_mask=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    filters = {str(name): kind for name, kind in FILTERS.items()}
    assert method({"name": "unit", "strain_mask": mask}, filters, "cell") == masked
    with pytest.raises(InputError, match="a mapping needs a name"):
        method({"dt": 0.2}, kinds, "optimizer")
    with pytest.raises(InputError, match="optimizer: FIRE has no parameter 'cell'"):
        method("FIRE(cell=3)", kinds, "optimizer", without=("cell",))


@pytest.mark.parametrize("kind", [*INTEGRATORS, *OPTIMIZERS, Frechet, UnitCell], ids=lambda kind: kind.__name__)
def test_every_method_has_its_name(kind: type) -> None:
    assert method(kind.__name__, {kind.__name__: kind}, "x") == kind()
