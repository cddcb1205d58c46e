"""Energies have the names that the standard's own page gives them, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ase import Atoms

from shoal.contract import OutputRequest
from shoal.io import atoms_to_state
from shoal.potentials import StillingerWeber

PAGE = Path(__file__).with_name("standard_energy.rst").read_text()
TABLES = dict(re.findall(r"list-table:: Metadata for (.*?)\n(.*?)(?=\.\. list-table|\Z)", PAGE, re.DOTALL))
ROW = re.compile(r"^  \* - \**(\w+)\**\n    -(.*)\n", re.MULTILINE)


def names(table: str, row: str) -> list[list[str]]:
    """Each way to fill a row: `["system", "atom"]` or `["system"]`."""
    cell = dict(ROW.findall(TABLES[table]))[row]
    return [re.findall(r'"([^"]+)"', way) for way in cell.split(" or ")]


def test_the_page_has_the_tables_this_is_about() -> None:
    assert list(TABLES) == ["energy output", "positions energy's gradients", "strain energy's gradients"]
    assert names("energy output", "samples") == [["system", "atom"], ["system"]]


@pytest.mark.parametrize(("kind", "way"), [("atom", 0), ("system", 1)])
def test_energies_and_their_gradients_have_the_names_of_the_page(kind: str, way: int) -> None:
    state = atoms_to_state([Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]), Atoms("Si")])
    request = OutputRequest(sample_kind=kind, explicit_gradients=("positions", "strain"))  # type: ignore[arg-type]
    output = StillingerWeber().outputs(state, {"energy": request})["energy"]
    (block,) = output.blocks()
    assert [output.keys.names] == names("energy output", "keys")
    assert output.keys.values.tolist() == [[0]]
    assert block.samples.names == names("energy output", "samples")[way]
    assert block.components == [] == names("energy output", "components")[0]
    assert [block.properties.names] == names("energy output", "properties")
    assert block.properties.values.tolist() == [[0]]
    for name in ("positions", "strain"):
        gradient = block.gradient(name)
        assert [gradient.samples.names] == names(f"{name} energy's gradients", "samples")
        assert [[axis.names[0] for axis in gradient.components]] == names(f"{name} energy's gradients", "components")
        assert all(axis.values.tolist() == [[0], [1], [2]] for axis in gradient.components)
