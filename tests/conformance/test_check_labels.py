"""What `check_labels` says of requests and outputs that no model would make by itself."""

from __future__ import annotations

from ase import Atoms

from shoal.conformance import check_labels
from shoal.contract import OutputRequest
from shoal.io import atoms_to_state
from shoal.potentials import StillingerWeber


def test_a_gradient_that_is_not_in_the_standard_is_missing_like_any_other() -> None:
    state = atoms_to_state(Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]))
    outputs = StillingerWeber().outputs(state, {"energy": OutputRequest()})
    asked = {"energy": OutputRequest(explicit_gradients=("masses",))}
    (fault,) = check_labels(outputs, asked, [2])
    assert fault.text == "energy: its masses gradient was requested and is not there"
