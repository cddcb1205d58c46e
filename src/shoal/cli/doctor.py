"""`shoal doctor`: what works on this machine, and how to mend what does not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

State = Literal["ok", "note", "missing", "FAILED"]
STYLES = {"ok": "green", "note": "cyan", "missing": "yellow", "FAILED": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the report; FAILED is essential, the other states are not; `mend` says what to do."""

    what: str
    state: State
    detail: str
    mend: str = ""


def doctor(
    fast: Annotated[bool, typer.Option("--fast", help="Skip the trial compile.")] = False,
) -> None:
    """Check what works here: torch, compiler, AOTInductor, GPU, optional packages, caches; and say how to mend it."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    failed = 0
    for check in CHECKS:
        if fast and check is aotinductor:
            continue
        for finding in check():
            failed += finding.state == "FAILED"
            line = Text.assemble((f"{finding.state:8}", STYLES[finding.state]), f"{finding.what:22}{finding.detail}")
            console.print(line, soft_wrap=True)
            if finding.mend:
                console.print(Text(f"{'':8}{'':22}-> {finding.mend}"), soft_wrap=True)
    if failed:
        console.print(Text(f"{failed} essential {'thing does' if failed == 1 else 'things do'} not work", "bold red"))
        raise typer.Exit(1)
    console.print(Text("Everything essential works.", "green"))


def system() -> Iterator[Finding]:
    from shoal import __version__

    yield Finding("shoal", "ok", __version__)
    new_enough = sys.version_info >= (3, 11)
    mend = "" if new_enough else "Shoal needs Python 3.11 or newer"
    yield Finding("python", "ok" if new_enough else "FAILED", f"{platform.python_version()} ({sys.executable})", mend)
    yield Finding("system", "ok", f"{platform.platform()}, {os.cpu_count()} processors")


def torch_itself() -> Iterator[Finding]:
    try:
        import torch

        from shoal.files.compiled import cpu_isa
    except (ImportError, OSError) as error:
        yield Finding("torch", "FAILED", f"cannot be imported: {error}", "pip install torch")
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding("processor", "ok", f"{torch.backends.cpu.get_cpu_capability()} ({cpu_isa()})")


def first_energy() -> Iterator[Finding]:
    """The eager path end to end: structures, neighbours, energy and forces of two argon atoms."""
    try:
        from ase import Atoms

        from shoal.engine import evaluate
        from shoal.potentials import LennardJones

        dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.4 * 2 ** (1 / 6)]])
        results = evaluate(dimer, LennardJones({"Ar": (0.0104, 3.4)}, cutoff=8.0))
        energy, force = float(results.energies[0]), float(abs(results.forces[0]).max())
    except Exception as error:
        yield Finding("evaluate", "FAILED", f"{type(error).__name__}: {error}", "reinstall: pip install shoal")
        return
    right = abs(energy + 0.0104) < 1e-6 and force < 1e-6
    mend = "" if right else "reinstall torch and vesin; if it stays, report it with this output"
    yield Finding(
        "evaluate", "ok" if right else "FAILED", f"argon dimer {energy:.6f} eV (exact: -0.010400 at its minimum)", mend
    )


def compiler() -> Iterator[Finding]:
    """The C++ compiler that AOTInductor will call: CXX, else g++ or clang++."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    for name in candidates:
        path = shutil.which(name)
        if path:
            found = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            yield Finding("C++ compiler", "ok", f"{path}: {(found.stdout.splitlines() or ['?'])[0]}")
            return
    yield Finding(
        "C++ compiler",
        "FAILED",
        f"none found (tried {', '.join(candidates)}); packages run eagerly without one, shoal compile does not",
        "install one (Debian and Ubuntu: apt install g++; conda: conda install gxx) or point CXX at one",
    )


def native_kernels() -> Iterator[Finding]:
    """The C++ kernels of neighbour lists and potentials: whether they can be built, for which processor, and kept."""
    try:
        from shoal.cache import cache_folder
        from shoal.errors import CompileError
        from shoal.native import build, compiler, libraries, runnable_targets, shipped
    except (ImportError, OSError):
        return
    compiler.cache_clear()  # as it is now
    try:
        build(shipped("neighbor_rows.cpp"))
    except CompileError as error:
        mend = "install a C++ compiler for faster neighbour lists and pair potentials; all works without"
        yield Finding("native kernels", "note", str(error).split(". ")[0], mend)
        return
    sets = " ".join(target.name for target in runnable_targets())
    yield Finding("native kernels", "ok", f"built by {Path(compiler()).name} for {sets} (the first is used)")
    if (folder := cache_folder("native")) is None:
        yield Finding("kept kernels", "note", "none: there is no cache, they are built anew in each process")
        return
    number, size = libraries.kept(folder)
    bounds = f"at most {libraries.MOST_BYTES / 1e6:.0f} MB, unused ones {libraries.MOST_DAYS} days"
    yield Finding("kept kernels", "ok", f"{number} libraries, {size / 1e6:.0f} MB of {bounds}, in {folder}")


TRIAL = """
import sys, torch
class Trial(torch.nn.Module):
    def forward(self, x):
        return torch.sin(x) * x.square().sum()
x = torch.linspace(0, 1, 7, dtype=torch.float64)
program = torch.export.export(Trial(), (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
torch._inductor.aoti_compile_and_package(program, package_path=sys.argv[1])
y = torch.linspace(0, 2, 11, dtype=torch.float64)
result = torch._inductor.aoti_load_package(sys.argv[1])(y)
torch.testing.assert_close(result, Trial()(y), rtol=1e-12, atol=1e-12)
"""


def aotinductor() -> Iterator[Finding]:
    """Compile, load and run a tiny graph, in another process and without any cache."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="shoal-doctor-") as folder:
        command = [sys.executable, "-c", TRIAL, str(Path(folder) / "trial.pt2")]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder}
        trial = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - start
    if trial.returncode == 0:
        yield Finding("AOTInductor", "ok", f"compiled and ran a tiny graph in {seconds:.0f} s")
        return
    reason = (trial.stderr.strip().splitlines() or [f"ended with status {trial.returncode}"])[-1]
    yield Finding(
        "AOTInductor",
        "FAILED",
        reason[:300],
        "needs a C++ compiler and torch's own headers (reinstall torch); packages run eagerly meanwhile",
    )


def gpu() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return
    if not torch.cuda.is_available():
        built = "torch is built without CUDA" if torch.version.cuda is None else "torch sees no CUDA device"
        mend = "" if shutil.which("nvidia-smi") is None else "there is an NVIDIA driver: install a CUDA build of torch"
        yield Finding("GPU", "note", f"none: {built}; everything runs on the CPU", mend)
        return
    for k in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(k)
        detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        yield Finding(f"GPU cuda:{k}", "ok", detail)


OPTIONAL = (
    ("lightning", "train", "shoal train"),
    ("torchmetrics", "train", "shoal train"),
    ("tensorboard", "train", "training logs in TensorBoard"),
    ("pyarrow", "results", "results folders of shoal evaluate"),
    ("matplotlib", "report", "parity plots and learning curves"),
    ("plotly", "report", "HTML reports"),
    ("tblite", "label", "labelling structures with GFN-xTB"),
    ("nvalchemi-toolkit-ops", "gpu", "neighbour lists on a GPU"),
)


def optional_packages() -> Iterator[Finding]:
    for name, extra, serves in OPTIONAL:
        try:
            yield Finding(name, "ok", f"{version(name)}  ({serves})")
        except PackageNotFoundError:
            yield Finding(name, "missing", f"needed for {serves}", f"pip install 'shoal[{extra}]'")


def caches() -> Iterator[Finding]:
    from shoal.cache import cache_root

    root = cache_root()
    if root is None:
        yield Finding("cache", "note", "switched off by SHOAL_CACHE=0")
        return
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if existing.is_dir() and os.access(existing, os.W_OK):
        size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 1e6 if root.exists() else 0.0
        yield Finding("cache", "ok", f"{root} ({size:.0f} MB; SHOAL_CACHE_DIR moves it, SHOAL_CACHE=0 switches it off)")
    else:
        yield Finding("cache", "note", f"{root} cannot be written", "set SHOAL_CACHE_DIR to a folder of yours")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    system,
    torch_itself,
    first_energy,
    compiler,
    native_kernels,
    aotinductor,
    gpu,
    optional_packages,
    caches,
)
