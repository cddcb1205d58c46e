"""The verbs of the command line and their flags are promises; help is quick, mistakes are one line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
import torch
import typer
from ase.build import bulk
from typer.testing import Result

import shoal
from shoal.cli import app

Cli = Callable[..., Result]

RUN = [
    "--compile",
    "--config",
    "--device",
    "--fix-atoms",
    "--fix-com",
    "--map",
    "--max-atoms",
    "--max-force",
    "--max-move",
    "--model",
    "--no-progress",
    "--out",
    "--overwrite",
    "--progress",
    "--skin",
    "--system-ids",
    "[STRUCTURES]...",
]
VERBS = {
    "train": ["--resume", "CONFIG", "[KEY=VALUE]..."],
    "package": ["--averaged", "--no-averaged", "CKPT", "OUT"],
    "import-nequip": ["--map", "--trust", "MODEL", "OUT"],
    "compile": ["--device", "--exact", "--kernel", "--mode", "--table-error", "--tables", "--target", "MODEL", "OUT"],
    "export": [
        *("--author", "--description", "--exact", "--extensions", "--kernel", "--map", "--name", "--portable"),
        *("--table-error", "--tables", "MODEL", "OUT"),
    ],
    "bench": [
        *("--atoms", "--compile", "--device", "--json", "--map", "--max-atoms", "--no-compile", "--plot", "--rounds"),
        *("--steps", "--structures", "--threads", "MODEL"),
    ],
    "check": ["--device", "--fast", "--json", "--map", "--strict", "--structures", "MODEL"],
    "info": ["--json", "FILE"],
    "evaluate": [
        "--device",
        "--map",
        "--max-atoms",
        "--model",
        "--out",
        "--outputs",
        "--overwrite",
        "--resume",
        "STRUCTURES...",
    ],
    "relax": [*RUN, "--cell", "--fmax", "--max-steps", "--optimizer", "--stress-max"],
    "md": [*RUN, "--integrator", "--n-steps", "--seed", "--temperature", "--timestep"],
    "test": [
        "--device",
        "--energy-key",
        "--forces-key",
        "--group-key",
        "--json",
        "--map",
        "--max-atoms",
        "--out",
        "--stress-key",
        "DATA...",
        "MODEL",
    ],
    "doctor": ["--fast"],
    "demo": ["--out"],
}


def parameters(verb: str) -> list[str]:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    names = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names.append(str(parameter.metavar))
        else:
            names += [*parameter.opts, *parameter.secondary_opts]
    return sorted(names)


def test_the_verbs_and_their_flags_are_these() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {verb: parameters(verb) for verb in commands} == {verb: sorted(flags) for verb, flags in VERBS.items()}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(shoal_cli: Cli, verb: str) -> None:
    result = shoal_cli(verb, "--help")
    assert result.exit_code == 0
    assert f"shoal {verb}" in result.output
    assert all(flag in result.output for flag in VERBS[verb] if flag.startswith("--"))


def test_version(shoal_cli: Cli) -> None:
    assert shoal_cli("--version").output == f"shoal {shoal.__version__}\n"


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys; sys.argv = ['shoal', '--help']\n"
        "from shoal.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'torch', 'ase', 'numpy', 'pydantic', 'matplotlib', 'lightning'} & set(sys.modules))"
    )
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "set()"
    assert time.perf_counter() - start < 1.5


def test_python_m_shoal_is_shoal() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "shoal", "info", "nowhere.shoal"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == "error: nowhere.shoal: no such file\n"


@pytest.fixture
def files(tmp_path: Path, silicon_package: Path) -> dict[str, Path]:
    silicon, oxide = bulk("Si", cubic=True), bulk("Si", cubic=True)
    oxide.symbols[3] = "O"
    paths = {name: tmp_path / name for name in ("si.xyz", "oxide.xyz", "empty.xyz", "cut.shoal", "changed.shoal")}
    ase.io.write(paths["si.xyz"], silicon)
    ase.io.write(paths["oxide.xyz"], oxide)
    paths["empty.xyz"].write_text("")
    content = silicon_package.read_bytes()
    paths["cut.shoal"].write_bytes(content[: len(content) // 2])
    paths["changed.shoal"].write_bytes(changed(content))
    return {**paths, "model": silicon_package, "out": tmp_path / "out"}


def changed(package: bytes) -> bytes:
    """One bit of the weights turned over."""
    place = package.index(b"weights.safetensors") + 4000
    return package[:place] + bytes([package[place] ^ 1]) + package[place + 1 :]


MISTAKES = {
    "no such structures": (["nowhere.xyz"], [], "file 'nowhere.xyz' does not exist"),
    "pattern without match": (["nothing-*.xyz"], [], "no file matches 'nothing-*.xyz'"),
    "empty data": (["empty.xyz"], [], "empty.xyz: "),
    "no model": (["si.xyz"], ["--model", "nowhere.shoal"], "nowhere.shoal: no such file"),
    "unknown kind of model": (["si.xyz"], ["--model", "si.xyz"], "unknown kind of model file"),
    "truncated package": (["si.xyz"], ["--model", "cut.shoal"], "truncated, damaged or no Shoal package"),
    "tampered package": (["si.xyz"], ["--model", "changed.shoal"], "changed.shoal: "),
    "wrong map type": (["si.xyz"], ["--map", "Si=Silicon"], "maps 'Si' to 'Silicon', which is no type"),
    "wrong map element": (["si.xyz"], ["--map", "Sy=Si"], "'Sy' is no chemical symbol (did you mean"),
    "no map at all": (["si.xyz"], ["--map", "Si"], "--map takes SPECIES=TYPE"),
    "unknown output": (["si.xyz"], ["--map", "identity", "--outputs", "dipole"], "cannot give 'dipole'"),
    "output is input": (["si.xyz"], ["--map", "identity", "--out", "si.xyz"], "one of the files to read"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(shoal_cli: Cli, files: dict[str, Path], mistake: str) -> None:
    structures, options, message = MISTAKES[mistake]
    arguments = [str(files.get(word, word)) for word in (*structures, *options)]
    for flag, default in (("--model", files["model"]), ("--out", files["out"])):
        if flag not in arguments:
            arguments += [flag, str(default)]
    if "--map" not in arguments:
        arguments += ["--map", "identity"]
    result = shoal_cli("evaluate", *arguments)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in result.output
    assert ase.io.read(files["si.xyz"]).symbols[0] == "Si"


def test_an_element_the_model_does_not_know_fails_alone_and_alone_fails(shoal_cli: Cli, files: dict[str, Path]) -> None:
    model = ["--model", files["model"], "--map", "identity"]
    result = shoal_cli("evaluate", files["si.xyz"], files["oxide.xyz"], *model, "--out", files["out"])
    assert result.exit_code == 0
    assert "1 done, 1 unsupported" in result.stdout
    assert "O (system 1, atom 3) is unknown to this model" in " ".join(result.stdout.split())
    result = shoal_cli("evaluate", files["oxide.xyz"], *model, "--out", files["out"], "--overwrite")
    assert result.exit_code == 1


def test_debug_shows_where_an_error_comes_from(shoal_cli: Cli) -> None:
    result = shoal_cli("info", "nowhere.shoal", "--debug")
    assert isinstance(result.exception, shoal.errors.ModelFileError)
    assert shoal_cli("--debug", "info", "nowhere.shoal").exit_code == 1


def test_a_full_or_forbidden_disk_is_one_line(
    shoal_cli: Cli, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shoal.engine.results_folder.ResultsFolder.write", full)
    result = shoal_cli(
        "evaluate", files["si.xyz"], "--model", files["model"], "--out", files["out"], "--map", "identity"
    )
    assert result.exit_code == 1
    assert "error: [Errno 28] No space left on device\n" in result.stderr


def test_a_warning_is_one_line_and_settings_of_the_process_stay(files: dict[str, Path]) -> None:
    """Of the process itself, because pytest turns Shoal's warnings into errors."""
    command = [sys.executable, "-m", "shoal", "evaluate", files["si.xyz"], "--model", files["model"]]
    result = subprocess.run([*command, "--out", files["out"]], capture_output=True, text=True, check=True)
    warned = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert "chemical_species_to_atom_type_map was not given" in warned[0]
    assert ".py:" not in result.stderr


def test_running_verbs_changes_no_global_state(shoal_cli: Cli, files: dict[str, Path]) -> None:
    import warnings

    before = torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed(), warnings.showwarning
    shoal_cli("evaluate", files["si.xyz"], "--model", files["model"], "--out", files["out"], "--map", "identity")
    shoal_cli("info", "nowhere.shoal")
    assert before == (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed(), warnings.showwarning)
