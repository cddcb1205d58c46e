"""From a checkpoint or package to a file for metatomic's engines, held against the eager model before it is written."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from shoal.architectures import fix_tables
from shoal.deploy.compile import as_package, put
from shoal.deploy.native import TABLE_ERROR, RadialTable, native_kernel, radial_table
from shoal.deploy.prove import compare_with_reference
from shoal.deploy.torchscript import trace_energies
from shoal.errors import CompileError, InputError
from shoal.files import Package
from shoal.files.kernels import KernelFiles
from shoal.integrations.metatomic.operator import build_operator
from shoal.integrations.metatomic.processes import run_python
from shoal.integrations.metatomic.verify import verify, verify_libraries
from shoal.potentials import LearnedPotential
from shoal.state import TypeMap

KERNELS = {"portable": ["cuda", "cpu"], "native": ["cpu"]}
"""And the devices they run on."""
REFERENCES = {
    "nequip": ["https://doi.org/10.48550/arXiv.2101.03164"],
    "allegro": ["https://doi.org/10.48550/arXiv.2204.05249"],
}


class Exported(NamedTuple):
    """A written file; the folder of the libraries it needs, if any; the tables in its kernel, if any.

    differences: largest ones to the eager model, as `shoal.deploy.verify.verify` names them.
    """

    path: Path
    extensions: Path | None
    table: RadialTable | None
    differences: dict[str, float]


def export_model(
    model: str | Path,
    out: str | Path,
    *,
    kernel: str = "portable",
    extensions: str | Path | None = None,
    exact: bool | None = None,
    table_error: float = TABLE_ERROR,
    chemical_species_to_atom_type_map: object = None,
    name: str = "",
    authors: Sequence[str] = (),
    description: str = "",
) -> Exported:
    """Export a `.ckpt` or `.shoal` as a metatomic model `out` (`*.pt`), which engines load without Shoal.

    `kernel`: "portable" is the exact model in operators of torch, for any processor and CUDA devices; "native", for
    NequIP models on CPUs of this type, the C++ kernel of the whole model, which is faster. The file then holds the
    kernel, and engines need a library that calls it, from the folder `extensions` (by default of that name beside
    `out`); it is the same library for all models of this version of Shoal and of torch. `exact`, `table_error`: as for
    `shoal.compile_model`.
    `name`, `authors` and `description` go into its metadata, beside what the package says of where it comes from.
    `chemical_species_to_atom_type_map`: True for identity or a dict symbol -> type name; by default the map stored in
    the model, else identity. An engine knows elements only.

    The file is written only if a process that loads it with metatomic, and nothing of Shoal, gets the energies, forces
    and stresses of the eager model on the package's own structures, in batches of one, two and many. Raises
    CompileError, saying what differs, InputError for a name that does not end in .pt or types that are no elements,
    UnsupportedRequestError for an architecture without a kernel, ModelFileError for a model that cannot be read.
    """
    model, out = Path(model), Path(out)
    if kernel == "portable" and (extensions is not None or exact is False):
        raise InputError("a portable file has no libraries and no tables but those of training; take kernel native")
    extensions = out.with_name("extensions") if extensions is None else Path(extensions)
    _check_request(out, kernel, extensions)
    with tempfile.TemporaryDirectory(prefix="shoal-export-") as scratch:
        folder = Path(scratch)
        content = as_package(model, folder)
        potential = LearnedPotential.from_package(content)
        compare_with_reference(potential, content.reference, f"{model}: the model does not give the package's results")
        species = _species(potential, chemical_species_to_atom_type_map)
        said = {
            **_description(potential, species, kernel),
            "metadata": _metadata(content, kernel, name or model.stem, authors, description),
        }
        table = radial_table(potential, content.reference, exact, table_error, native=kernel == "native")
        if kernel == "native":
            made = native_kernel(potential, None if table is None else table.pieces)
            said["operator"] = _write_kernel(made, folder)
        else:
            _write_graph(potential, folder)
        (folder / "model.json").write_text(json.dumps(said))
        run_python("the model cannot be saved", "-m", "shoal.integrations.metatomic.save", str(folder))
        allowed = 0.0 if table is None or table.trained else table_error
        differences = verify(folder, potential, content, species, allowed)
        if kernel == "native":
            verify_libraries(made, potential, content, allowed)
        libraries = list((folder / "extensions").iterdir())
        for library in libraries:
            _make_folder(extensions)
            put(library, extensions / library.name)
        put(folder / "model.pt", out)
    return Exported(out, extensions if libraries else None, table, differences)


def _check_request(out: Path, kernel: str, extensions: Path) -> None:
    if kernel not in KERNELS:
        raise InputError(f"kernel {kernel!r} is unknown; there is {', '.join(KERNELS)}")
    if out.suffix != ".pt":
        raise InputError(f"{out}: the name of a metatomic model ends in .pt")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    if extensions.exists() and not extensions.is_dir():
        raise InputError(f"{extensions}: there is a file where the folder of libraries goes")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompileError(f"{folder}: cannot make this folder for libraries: {error}") from error


def _species(potential: LearnedPotential, argument: object) -> TypeMap:
    """Which elements the file knows. Raises InputError for types that are none and a map that does not fit."""
    stored = potential.species_map
    if argument is None and stored is None:
        argument = True
    return TypeMap.from_argument(potential.type_names, argument, stored=stored)


def _description(potential: LearnedPotential, species: TypeMap, kernel: str) -> dict[str, Any]:
    return {
        "types_of": species.of_numbers.tolist(),
        "cutoff": potential.cutoff,
        "interaction_range": potential.interaction_range,
        "supported_devices": KERNELS[kernel],
    }


def _metadata(content: Package, kernel: str, name: str, authors: Sequence[str], description: str) -> dict[str, Any]:
    from shoal import __version__

    manifest = content.manifest
    architecture, types = manifest.architecture.name, ", ".join(manifest.type_names)
    return {
        "name": name,
        "authors": list(authors),
        "description": description or f"{architecture} potential for {types}, exported by Shoal {__version__}",
        "references": {"architecture": REFERENCES.get(architecture, [])},
        "extra": {
            "shoal_version": __version__,
            "package_sha256": content.sha256,
            "type_names": " ".join(manifest.type_names),
            "model_dtype": manifest.capabilities.dtype,
            "kernel": kernel,
            "provenance": json.dumps(manifest.provenance, default=str),
        },
    }


def _write_graph(potential: LearnedPotential, folder: Path) -> None:
    own = potential.with_convolution("reference")  # a model that is used for nothing else
    fix_tables(own.model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # they do not tell constants from sizes
            torch.jit.save(trace_energies(own, torch.device("cpu")), str(folder / "energies.pt"))
    except Exception as error:
        raise CompileError(f"the model cannot be traced: {error}") from error


def _write_kernel(kernel: KernelFiles, folder: Path) -> dict[str, str]:
    """What `save` takes, and where it finds the operator."""
    operator = build_operator()
    (folder / "libraries").mkdir()
    (folder / "libraries" / operator.file).write_bytes(operator.library)
    libraries = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in kernel.libraries.values()]
    word = hashlib.sha256(kernel.source.encode() + b"".join(kernel.libraries.values())).hexdigest()
    said = {"word": word, "targets": list(kernel.libraries), "libraries": libraries, "weights": kernel.weights}
    torch.save(said, folder / "kernel.pt")
    return {"namespace": operator.namespace, "file": operator.file}
