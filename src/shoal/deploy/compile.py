"""Compiling a model into one file that serves any number of systems, atoms and edges."""

from __future__ import annotations

import json
import platform
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from shoal.architectures import NequIP, fix_tables
from shoal.atomic import write_atomically
from shoal.conformance import check
from shoal.conformance.potential_subject import PotentialSubject
from shoal.deploy.aotinductor import write_aotinductor
from shoal.deploy.native import TABLE_ERROR, RadialTable, native_kernel, radial_table
from shoal.deploy.package import package
from shoal.deploy.prove import compare_with_reference
from shoal.deploy.torchscript import write_torchscript
from shoal.deploy.verify import verify
from shoal.devices import as_device
from shoal.errors import CompileError, InputError, ModelFileError
from shoal.files import CompiledMetadata, Package, model_kind, read_package
from shoal.files.compiled import INPUTS, METADATA, OUTPUTS, compute_capability, cpu_isa
from shoal.files.kernels import KernelFiles, add_kernel, runnable_kernels
from shoal.files.reference import tensors_to_structures
from shoal.native import compiler
from shoal.potentials import CompiledPotential, LearnedPotential
from shoal.state import TypeMap


class Mode(NamedTuple):
    """How a file of a mode ends and what writes it."""

    ending: str
    write: Callable[[LearnedPotential, torch.device, Path], None]
    kernel: str  # the convolution it writes without being asked for one


MODES = {
    "aotinductor": Mode(".shoal.pt2", write_aotinductor, "inductor"),
    "torchscript": Mode(".shoal.pth", write_torchscript, "reference"),
}
TARGETS = ("batch",)
KERNELS = ("auto", "reference", "inductor", "native")
EAGER_WORKS = "The package works without compiling: shoal.load('MODEL.shoal')."


def compile_model(
    model: str | Path,
    out: str | Path,
    *,
    mode: str = "aotinductor",
    target: str = "batch",
    device: torch.device | str = "cpu",
    kernel: str = "auto",
    exact: bool | None = None,
    table_error: float = TABLE_ERROR,
) -> CompiledMetadata:
    """Compile a `.ckpt` or `.shoal` to `out`, check it against the eager model, return its metadata.

    `mode`: "aotinductor" writes native code for this processor or GPU (`*.shoal.pt2`), "torchscript" operators that
    any processor runs, slower (`*.shoal.pth`).
    `kernel`: the convolution in it. "native", for NequIP models on the CPU, is a C++ kernel of the whole model, built
    for every instruction set of this type of machine; a `*.shoal.pt2` then holds nothing else, a `*.shoal.pth` falls
    back to its operators where no library of it runs. "inductor" and "reference" are operators of torch. "auto" takes
    native where there is such a kernel and a compiler.
    `exact`: the native kernel computes the radial networks themselves, by default in float64; else tables of them, as
    fine as force errors below `table_error` (eV/A) need. A model that was trained with tables keeps those in every
    mode; its networks are another model, and `exact` is refused.
    The file is written only if energies, forces and stresses on the package's own structures agree within
    tolerance, in batches of one, two and many, and if it passes the fast set of `shoal.check`. Raises CompileError,
    saying what failed and what to do, InputError for an unknown mode, target or ending or a contradiction,
    ModelFileError for a model that cannot be read.
    """
    out, device = Path(out), as_device(device)
    _check_request(out, mode, target, device, kernel)
    with tempfile.TemporaryDirectory(prefix="shoal-compile-") as scratch:
        content = as_package(Path(model), Path(scratch))
        potential = LearnedPotential.from_package(content).to(device)
        compare_with_reference(potential, content.reference, f"{model}: the model does not give the package's results")
        draft = Path(scratch) / out.name
        kernel = _chosen_kernel(kernel, mode, potential, device)
        table = radial_table(potential, content.reference, exact, table_error, native=kernel == "native")
        files = native_kernel(potential, None if table is None else table.pieces) if kernel == "native" else None
        if kernel != "native" or mode != "aotinductor":
            _write(mode, potential.with_convolution(_operators(kernel, mode)), device, draft)
        if files is not None:
            add_kernel(draft, files)
        metadata = _metadata(content, potential, mode, target, device, kernel, files, table)
        _write_metadata(draft, metadata)
        structures, atom_types = tensors_to_structures(content.reference)
        compiled, *others = _opened(draft, device, metadata)
        allowed = 0.0 if table is None or table.trained else table_error
        differences = verify(compiled, potential, structures, atom_types, allowed, others)
        if files is not None and mode == "torchscript":  # what runs where the kernel does not
            verify(CompiledPotential(draft, device, use_kernel=False), potential, structures, atom_types)
        _conform(compiled)
        metadata = metadata.model_copy(update={"verified": differences})
        _write_metadata(draft, metadata)
        put(draft, out)
    return metadata


def _check_request(out: Path, mode: str, target: str, device: torch.device, kernel: str) -> None:
    if kernel not in KERNELS:
        raise InputError(f"kernel {kernel!r} is unknown; there is {', '.join(KERNELS)}")
    if kernel == "native" and device.type != "cpu":
        raise InputError(f"native kernels run on the CPU, not on {device.type}; take kernel inductor")
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; there is {', '.join(MODES)}")
    if target not in TARGETS:
        raise InputError(f"target {target!r} is unknown; the only target is batch: one file for any number of systems")
    ending = MODES[mode].ending
    if not out.name.endswith(ending):
        raise InputError(f"{out}: the name of a compiled file ends in {ending} for mode {mode}")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")


def _chosen_kernel(kernel: str, mode: str, potential: LearnedPotential, device: torch.device) -> str:
    if kernel != "auto":
        return kernel
    fits = mode == "aotinductor" and device.type == "cpu" and isinstance(potential.model, NequIP)
    if not fits:
        return MODES[mode].kernel
    try:
        compiler()
    except CompileError:
        return MODES[mode].kernel
    return "native"


def _operators(kernel: str, mode: str) -> str:
    """The convolution as operators of torch that a file holds, beside a native kernel too."""
    return MODES[mode].kernel if kernel == "native" else kernel


def _opened(draft: Path, device: torch.device, metadata: CompiledMetadata) -> list[CompiledPotential]:
    """A file as it is opened, then by each of its other kernels that run here."""
    names = [entry["target"] for entry in runnable_kernels(metadata.custom_ops)]
    return [CompiledPotential(draft, device, use_kernel=name) for name in names or (True,)]


def _conform(compiled: CompiledPotential) -> None:
    """Hold the file to the output contract. Raises CompileError with what it breaks."""
    from ase.data import chemical_symbols

    named = {name: name for name in compiled.type_names if name in chemical_symbols}
    stored = compiled.species_map
    type_map = TypeMap(compiled.type_names, named if stored is None else stored)
    report = check(PotentialSubject(compiled, type_map, compiled.path.name), fast=True)
    if not report.passed:
        raise CompileError(
            f"the compiled file breaks the output contract; no file was written. {report.explain()} {EAGER_WORKS} "
            "shoal check MODEL.shoal tells whether the model itself does"
        )


def as_package(model: Path, scratch: Path) -> Package:
    """A package as it is, a checkpoint packed into `scratch`. Raises ModelFileError."""
    kind = model_kind(model)
    if kind == "checkpoint":
        return read_package(package(model, scratch / "model.shoal"))
    if kind == "package":
        return read_package(model)
    raise ModelFileError(f"{model} is compiled already; take the .ckpt or .shoal it was made from")


def _write(mode: str, potential: LearnedPotential, device: torch.device, out: Path) -> None:
    """Write a potential that is used for nothing else."""
    fix_tables(potential.model)
    try:
        MODES[mode].write(potential, device, out)
    except Exception as error:
        raise CompileError(f"compiling for {device.type} failed: {_cause(error)} {EAGER_WORKS}") from error


def _cause(error: Exception) -> str:
    """The last line of the deepest error, and what to do about the common ones."""
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    text = str(error) + str(deepest)
    if "InvalidCxxCompiler" in type(error).__name__ + type(deepest).__name__ or "No working C++ compiler" in text:
        return "no working C++ compiler was found. Install one (Debian: apt install g++) or set CXX; see shoal doctor."
    lines = [line for line in str(deepest).splitlines() if line.strip()]
    return f"{type(deepest).__name__}: {lines[0] if lines else 'no message'}."


def _metadata(
    content: Package,
    potential: LearnedPotential,
    mode: str,
    target: str,
    device: torch.device,
    kernel: str,
    files: KernelFiles | None,
    table: RadialTable | None,
) -> CompiledMetadata:
    manifest, native = content.manifest, mode == "aotinductor"
    if native and files is not None:
        mode = "native"
    return CompiledMetadata(
        shoal_schema=manifest.shoal_schema,
        mode=mode,
        package_sha256=content.sha256,
        type_names=manifest.type_names,
        chemical_species_to_atom_type_map=manifest.chemical_species_to_atom_type_map,
        cutoff=manifest.cutoff,
        model_dtype=potential.model_dtype,
        inputs=INPUTS,
        outputs=OUTPUTS,
        torch_version=torch.__version__,
        device=device.type,
        cpu_isa=_made_for(mode, device),
        compute_capability=compute_capability(device) if native else "",
        target=target,
        verified={},
        custom_ops=[] if files is None else files.described(),
        capabilities=potential.capabilities,
        kernel=kernel,
        radial_table={} if table is None else table.described(),
        provenance=manifest.provenance,
    )


def _made_for(mode: str, device: torch.device) -> str:
    """Words of the processor that a file needs: all of this one's, or only its type."""
    if device.type != "cpu" or mode == "torchscript":
        return ""
    return cpu_isa() if mode == "aotinductor" else platform.machine().lower()


def _write_metadata(path: Path, metadata: CompiledMetadata) -> None:
    """Put the metadata into the archive, under the folder its other members share, replacing an earlier one."""
    with zipfile.ZipFile(path) as archive:
        prefix = archive.namelist()[0].split("/")[0]
        members = [(info, archive.read(info)) for info in archive.infolist() if not info.filename.endswith(METADATA)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, data in members:
            archive.writestr(info, data)
        archive.writestr(f"{prefix}/{METADATA}", json.dumps(metadata.to_strings(), indent=1))


def put(draft: Path, out: Path) -> None:
    """Put a finished file in its place. Raises CompileError."""
    try:
        write_atomically(out, draft.read_bytes())
    except OSError as error:
        raise CompileError(f"{out}: cannot write it: {error}") from error
