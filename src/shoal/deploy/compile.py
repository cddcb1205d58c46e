"""Compiling a model into one file that serves any number of systems, atoms and edges."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from shoal.atomic import write_atomically
from shoal.conformance import check
from shoal.conformance.potential_subject import PotentialSubject
from shoal.deploy.aotinductor import write_aotinductor
from shoal.deploy.package import package
from shoal.deploy.prove import compare_with_reference
from shoal.deploy.torchscript import write_torchscript
from shoal.deploy.verify import verify
from shoal.devices import as_device
from shoal.errors import CompileError, InputError, ModelFileError
from shoal.files import CompiledMetadata, Package, model_kind, read_package
from shoal.files.compiled import INPUTS, METADATA, OUTPUTS, compute_capability, cpu_isa
from shoal.files.reference import tensors_to_structures
from shoal.potentials import CompiledPotential, LearnedPotential
from shoal.state import TypeMap


class Mode(NamedTuple):
    """How a file of a mode ends and what writes it."""

    ending: str
    write: Callable[[LearnedPotential, torch.device, Path], None]


MODES = {
    "aotinductor": Mode(".shoal.pt2", write_aotinductor),
    "torchscript": Mode(".shoal.pth", write_torchscript),
}
TARGETS = ("batch",)
EAGER_WORKS = "The package works without compiling: shoal.load('MODEL.shoal')."


def compile_model(
    model: str | Path,
    out: str | Path,
    *,
    mode: str = "aotinductor",
    target: str = "batch",
    device: torch.device | str = "cpu",
) -> CompiledMetadata:
    """Compile a `.ckpt` or `.shoal` to `out`, check it against the eager model, return its metadata.

    `mode`: "aotinductor" writes native code for this processor or GPU (`*.shoal.pt2`), "torchscript" operators that
    any processor runs, slower (`*.shoal.pth`).
    The file is written only if energies, forces and stresses on the package's own structures agree within
    tolerance, in batches of one, two and many, and if it passes the fast set of `shoal.check`. Raises CompileError,
    saying what failed and what to do, InputError for an unknown mode, target or ending, ModelFileError for a model
    that cannot be read.
    """
    out, device = Path(out), as_device(device)
    _check_request(out, mode, target, device)
    with tempfile.TemporaryDirectory(prefix="shoal-compile-") as scratch:
        content = _as_package(Path(model), Path(scratch))
        potential = LearnedPotential.from_package(content).to(device)
        compare_with_reference(potential, content.reference, f"{model}: the model does not give the package's results")
        draft = Path(scratch) / out.name
        _write(mode, potential, device, draft)
        metadata = _metadata(content, potential, mode, target, device)
        _write_metadata(draft, metadata)
        structures, atom_types = tensors_to_structures(content.reference)
        compiled = CompiledPotential(draft, device)
        differences = verify(compiled, potential, structures, atom_types)
        _conform(compiled)
        metadata = metadata.model_copy(update={"verified": differences})
        _write_metadata(draft, metadata)
        _move(draft, out)
    return metadata


def _check_request(out: Path, mode: str, target: str, device: torch.device) -> None:
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; there is {', '.join(MODES)}")
    if target not in TARGETS:
        raise InputError(f"target {target!r} is unknown; the only target is batch: one file for any number of systems")
    ending = MODES[mode].ending
    if not out.name.endswith(ending):
        raise InputError(f"{out}: the name of a compiled file ends in {ending} for mode {mode}")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")


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


def _as_package(model: Path, scratch: Path) -> Package:
    kind = model_kind(model)
    if kind == "checkpoint":
        return read_package(package(model, scratch / "model.shoal"))
    if kind == "package":
        return read_package(model)
    raise ModelFileError(f"{model} is compiled already; compile takes a .ckpt or a .shoal")


def _write(mode: str, potential: LearnedPotential, device: torch.device, out: Path) -> None:
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
    content: Package, potential: LearnedPotential, mode: str, target: str, device: torch.device
) -> CompiledMetadata:
    manifest, native = content.manifest, mode == "aotinductor"
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
        cpu_isa=cpu_isa() if native and device.type == "cpu" else "",
        compute_capability=compute_capability(device) if native else "",
        target=target,
        verified={},
        custom_ops=[],
        capabilities=potential.capabilities,
        provenance=manifest.provenance,
    )


def _write_metadata(path: Path, metadata: CompiledMetadata) -> None:
    """Put the metadata into the archive, under the folder its other members share, replacing an earlier one."""
    with zipfile.ZipFile(path) as archive:
        prefix = archive.namelist()[0].split("/")[0]
        members = [(info, archive.read(info)) for info in archive.infolist() if not info.filename.endswith(METADATA)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, data in members:
            archive.writestr(info, data)
        archive.writestr(f"{prefix}/{METADATA}", json.dumps(metadata.to_strings(), indent=1))


def _move(draft: Path, out: Path) -> None:
    try:
        write_atomically(out, draft.read_bytes())
    except OSError as error:
        raise CompileError(f"{out}: cannot write it: {error}") from error
