"""Units by expression, against CODATA 2018 and ASE's constants; case matters."""

from __future__ import annotations

import pytest
from ase.units import create_units

from shoal.contract import unit_factor
from shoal.errors import InputError
from shoal.units import GPA, KINETIC

SI = create_units("2018")
HARTREE = 27.211386245988
"""eV, as CODATA 2018 has it; ASE works its own out of other constants, to 8e-12."""

FACTORS = {
    ("eV", "meV"): 1e3,
    ("eV", "MeV"): 1e-6,
    ("eV", "kJ/mol"): SI["mol"] / SI["kJ"],
    ("kcal/mol", "eV"): SI["kcal"] / SI["mol"],
    ("eV", "Ha"): 1 / HARTREE,
    ("Hartree", "eV"): HARTREE,
    ("mHa", "eV"): 1e-3 * HARTREE,
    ("Ry", "eV"): 13.605693122994,
    ("Ha/Bohr", "eV/A"): HARTREE / 0.529177210903,
    ("eV/A^3", "GPa"): 1 / SI["GPa"],
    ("GPa", "eV/A^3"): GPA,
    ("kbar", "GPa"): 0.1,
    ("bar", "Pa"): 1e5,
    ("u*A^2/fs^2", "eV"): KINETIC,
    ("u*(A/fs)^2", "eV"): KINETIC,
    ("(eV*u)^(1/2)", "u*A/fs"): KINETIC**-0.5,
    ("eV*A/fs", "eV*nm/ps"): 1e2,
    ("eV*A^-1", "eV/nm"): 10,
    ("J/m**2", "eV/A^2"): 1e-20 / 1.602176634e-19,
    ("e", "C"): 1.602176634e-19,
    ("kJ/mol/A", "kJ/(mol*nm)"): 10,
    ("Å", "Angstrom"): 1,
    ("2*eV", "eV"): 2,
    ("", ""): 1,
    ("m", "Mm"): 1e-6,
}


@pytest.mark.parametrize(("given", "wanted"), FACTORS, ids=lambda word: word or "number")
def test_factors(given: str, wanted: str) -> None:
    expected = FACTORS[given, wanted]
    assert unit_factor(given, wanted) == pytest.approx(expected, rel=1e-12)
    assert unit_factor(wanted, given) == pytest.approx(1 / expected, rel=1e-12)


def test_megas_are_no_millis() -> None:
    assert unit_factor("MeV", "meV") == pytest.approx(1e9, rel=1e-15)


WRONG = {
    "ev": "'ev' is unknown; did you mean eV",
    "EV": "'EV' is unknown; did you mean eV",
    "kj/mol": "'kj' is unknown; did you mean kJ",
    "HA": "did you mean Ha",
    "blob": "'blob' is unknown",
    "eV/": "it ends too early",
    "(eV": "a bracket is not closed",
    "eV)": r"'\)' is out of place",
    "eV mol": "'mol' is out of place",
    "eV^": "an exponent is a number",
    "eV^A": "an exponent is a number",
    "eV^0": "an exponent is not zero",
    "eV^(1/0)": "an exponent is not zero",
    "eV&A": "'&' has no meaning",
    "eV + meV": r"'\+' is out of place",
    "/eV": "'/' is unknown",
    "0*eV": "it is zero",
}


@pytest.mark.parametrize("expression", WRONG)
def test_what_is_no_unit_is_named(expression: str) -> None:
    with pytest.raises(InputError, match=WRONG[expression]):
        unit_factor("eV", expression)


@pytest.mark.parametrize(
    ("given", "wanted"), [("eV", "A"), ("eV", "eV/A"), ("eV", ""), ("", "eV"), ("eV/A^3", "eV/A^2")]
)
def test_unlike_dimensions_are_refused(given: str, wanted: str) -> None:
    with pytest.raises(InputError, match="they measure different things"):
        unit_factor(given, wanted)


def test_a_calorie_is_no_amplitude_and_a_is_no_ampere() -> None:
    """The longest reading of a word wins: cal, Pa, Ha, mol are words of their own, not prefixes before a unit."""
    assert unit_factor("cal", "J") == pytest.approx(4.184, rel=1e-15)
    assert unit_factor("Pa", "N/m^2") == pytest.approx(1, rel=1e-15)
    assert unit_factor("pm", "A") == pytest.approx(1e-2, rel=1e-15)
    assert unit_factor("A", "m") == pytest.approx(1e-10, rel=1e-15)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("kJ/mol", "eV"), ("eV/A^3", "GPa"), ("Hartree/Bohr", "eV/A"), ("eV*A/fs", "eV*A/ps"), ("u*A/fs*A/fs", "eV")],
)
def test_agrees_with_metatomic_where_both_read_an_expression(given: str, wanted: str) -> None:
    from metatomic.torch import unit_conversion_factor

    assert unit_factor(given, wanted) == pytest.approx(unit_conversion_factor(given, wanted), rel=1e-8)


def test_a_unit_that_means_nothing_is_refused_even_if_nothing_is_converted() -> None:
    with pytest.raises(InputError, match="'banana' is unknown"):
        unit_factor("banana", "banana")
