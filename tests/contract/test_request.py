"""What can be asked for, and by which names."""

from __future__ import annotations

import pytest

from shoal.contract import STANDARD, OutputRequest, current_name, standard
from shoal.errors import InputError, UnsupportedRequestError


def test_the_older_spelling_of_per_atom() -> None:
    assert OutputRequest(per_atom=True) == OutputRequest(sample_kind="atom")
    assert OutputRequest(per_atom=False) == OutputRequest() == OutputRequest(sample_kind="system")


def test_lists_of_gradients_are_kept_in_order_once() -> None:
    request = OutputRequest(explicit_gradients=["strain", "positions", "strain"])  # type: ignore[arg-type]
    assert request.explicit_gradients == ("strain", "positions")


def test_other_kinds_and_a_word_for_a_list_are_refused() -> None:
    with pytest.raises(InputError, match="'system' or 'atom', got 'pair'"):
        OutputRequest(sample_kind="pair")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the word 'positions'"):
        OutputRequest(explicit_gradients="positions")  # type: ignore[arg-type]


def test_older_names_and_variants_are_understood() -> None:
    assert current_name("features") == "feature"
    assert current_name("charges/a") == "charge/a"
    assert current_name("non_conservative_forces") == "non_conservative_force"
    assert standard("energy/pbe/x") is STANDARD["energy"]
    assert current_name("energy/pbe") == "energy/pbe"
    with pytest.raises(UnsupportedRequestError, match="'energies' is no standard quantity; there are energy, energy_e"):
        standard("energies")
