"""`shoal import-nequip`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.cli._show import MapOption


def import_nequip(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .ckpt of nequip-train or a .nequip.zip.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Package to write; its name ends in .shoal.")],
    trust: Annotated[
        bool, typer.Option("--trust", help="You trust the file: opening it runs code that is in it.")
    ] = False,
    map: MapOption = None,
) -> None:
    """Convert a NequIP or Allegro model of nequip, which must be installed here, to a .shoal package.

    Its energies, forces and stresses are compared with nequip's own, which become the package's reference.
    """
    from shoal.cli._show import key_values, show, species_map
    from shoal.files import file_sha256
    from shoal.integrations.nequip import import_nequip as convert

    units = {"energy": "eV/atom", "forces": "eV/A", "stress": "eV/A^3"}
    differences = convert(model, out, trust=trust, chemical_species_to_atom_type_map=species_map(map))
    lines = {name: f"{value:.1e} {units[name]}" for name, value in differences.items()}
    show(f"{out}  sha256 {file_sha256(out)}", key_values({"largest differences to nequip": lines}))
