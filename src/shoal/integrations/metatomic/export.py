"""From a checkpoint or package to a file for metatomic's engines, held against the eager model before it is written.

N atoms, E edges, S systems, T types.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from shoal.deploy.compile import as_package, put
from shoal.deploy.prove import compare_with_reference
from shoal.deploy.torchscript import trace_energies
from shoal.deploy.verify import Batch, Results, batches_of, compare
from shoal.errors import CompileError, InputError
from shoal.files import Package
from shoal.files.reference import tensors_to_structures
from shoal.neighbors import neighbor_list
from shoal.potentials import LearnedPotential
from shoal.potentials._derivatives import stress
from shoal.state import TypeMap, split

REFERENCES = {
    "nequip": ["https://doi.org/10.48550/arXiv.2101.03164"],
    "allegro": ["https://doi.org/10.48550/arXiv.2204.05249"],
}
CLIENT = Path(__file__).with_name("client.py")


class Exported(NamedTuple):
    """A written file; largest differences to the eager model, as `shoal.deploy.verify.verify` names them."""

    path: Path
    differences: dict[str, float]


def export_model(
    model: str | Path,
    out: str | Path,
    *,
    chemical_species_to_atom_type_map: object = None,
    name: str = "",
    authors: Sequence[str] = (),
    description: str = "",
) -> Exported:
    """Export a `.ckpt` or `.shoal` as a metatomic model `out` (`*.pt`), which engines load without Shoal.

    `name`, `authors` and `description` go into its metadata, beside what the package says of where it comes from.
    `chemical_species_to_atom_type_map`: True for identity or a dict symbol -> type name; by default the map stored in
    the model, else identity. An engine knows elements only.

    The file is written only if a process that loads it with metatomic, and nothing of Shoal, gets the energies, forces
    and stresses of the eager model on the package's own structures, in batches of one, two and many. Raises
    CompileError, saying what differs, InputError for a name that does not end in .pt or types that are no elements,
    ModelFileError for a model that cannot be read.
    """
    model, out = Path(model), Path(out)
    _check_request(out)
    with tempfile.TemporaryDirectory(prefix="shoal-export-") as scratch:
        folder = Path(scratch)
        content = as_package(model, folder)
        potential = LearnedPotential.from_package(content)
        compare_with_reference(potential, content.reference, f"{model}: the model does not give the package's results")
        species = _species(potential, chemical_species_to_atom_type_map)
        said = {
            **_description(content, potential, species),
            "metadata": _metadata(content, name or model.name.removesuffix(".shoal"), authors, description),
        }
        _write(potential, said, folder)
        differences = _verify(potential, content, species, folder)
        put(folder / "model.pt", out)
    return Exported(out, differences)


def _check_request(out: Path) -> None:
    if out.suffix != ".pt":
        raise InputError(f"{out}: the name of a metatomic model ends in .pt")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")


def _species(potential: LearnedPotential, argument: object) -> TypeMap:
    """Which elements the file knows. Raises InputError for types that are none and a map that does not fit."""
    stored = potential.species_map
    if argument is None and stored is None:
        argument = True
    return TypeMap.from_argument(potential.type_names, argument, stored=stored)


def _description(content: Package, potential: LearnedPotential, species: TypeMap) -> dict[str, Any]:
    return {
        "types_of": species.of_numbers.tolist(),
        "cutoff": potential.cutoff,
        "interaction_range": potential.interaction_range,
        "supported_devices": ["cuda", "cpu"],
    }


def _metadata(content: Package, name: str, authors: Sequence[str], description: str) -> dict[str, Any]:
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
            "provenance": json.dumps(manifest.provenance, default=str),
        },
    }


def _write(potential: LearnedPotential, said: dict[str, Any], folder: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # they do not tell constants from sizes
            torch.jit.save(trace_energies(potential, torch.device("cpu")), str(folder / "energies.pt"))
    except Exception as error:
        raise CompileError(f"the model cannot be traced: {error}") from error
    (folder / "model.json").write_text(json.dumps(said))
    _run("the model cannot be saved", "-m", "shoal.integrations.metatomic.save", str(folder))


def _verify(potential: LearnedPotential, content: Package, species: TypeMap, folder: Path) -> dict[str, float]:
    """Largest differences of what an engine without Shoal gets from the file. Raises CompileError."""
    numbers = _number_of_each_type(species)
    structures, types = tensors_to_structures(content.reference)
    # engines name elements: a type that none has is taken for one that some have, in file and model alike
    known = int((numbers >= 0).nonzero()[0])
    types = torch.where(numbers[types] >= 0, types, known)
    batches = batches_of(structures, types)
    given = [_as_engines_see(batch, numbers, potential.cutoff) for batch in batches]
    torch.save(given, folder / "batches")
    files = [str(folder / each) for each in ("model.pt", "batches", "results")]
    _run("the exported file does not run", "-P", str(CLIENT), files[0], "", *files[1:])
    results = torch.load(folder / "results")
    return compare(
        batches, [_with_stress(*pair) for pair in zip(batches, results, strict=True)], potential, what="exported"
    )


def _number_of_each_type(species: TypeMap) -> torch.Tensor:
    """(T,) an atomic number of each type, -1 where no element has it."""
    table = species.of_numbers
    numbers = torch.full((species.n_types,), -1, dtype=torch.int64)
    for number in (table >= 0).nonzero()[:, 0].tolist():
        numbers[table[number]] = number
    return numbers


def _as_engines_see(batch: Batch, numbers: torch.Tensor, cutoff: float) -> list[dict[str, torch.Tensor]]:
    """What client.py takes."""
    state = batch.state
    neighbors = neighbor_list(state, cutoff)
    vectors = neighbors.edge_vectors(state.positions, state.cell)
    of_edge = state.system_index[neighbors.edge_index[0]]
    structures = []
    for s, system in enumerate(split(state)):
        first, last = int(state.offsets[s]), int(state.offsets[s + 1])
        own = of_edge == s
        pairs = torch.cat([neighbors.edge_index[:, own].t() - first, neighbors.shifts[own]], dim=1)
        structures.append(
            {
                "positions": system.positions,
                "cell": torch.where(system.pbc[0][:, None], system.cell[0], 0.0),
                "pbc": system.pbc[0],
                "types": numbers[batch.types[first:last]],
                "pairs": pairs,
                "vectors": vectors[own],
            }
        )
    return structures


def _with_stress(batch: Batch, result: Results) -> Results:
    """Volumes are those of the whole cell, of which an engine has the periodic rows only."""
    return {**result, "stress": stress(-result["virial"], batch.state.cell)}


def _run(failure: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise CompileError(f"{failure}: {lines[-1] if lines else 'no message'}; no file was written")
