"""The quantities a potential can give: one table for each face, read by all that builds, checks or documents them.

Native: flat tensors on the packed state. Labelled: what `Potential.outputs` gives. N atoms, S systems.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from shoal.contract.request import SampleKind
from shoal.errors import UnsupportedRequestError


@dataclass(frozen=True)
class Quantity:
    """Name, scope ("system" or "atom" rows), shape behind the rows, unit and meaning of one output.

    `exact`: always float64, because reference energies may be large; the others come in the dtype of the state.
    """

    name: str
    scope: str
    shape: tuple[int, ...]
    unit: str
    meaning: str
    exact: bool = False


QUANTITIES = {
    q.name: q
    for q in (
        Quantity("energy", "system", (), "eV", "potential energy, always float64", exact=True),
        Quantity("forces", "atom", (3,), "eV/A", "minus the gradient of the energy in the positions"),
        Quantity(
            "stress",
            "system",
            (3, 3),
            "eV/A^3",
            "Cauchy stress, positive under tension; NaN without a volume",
        ),
        Quantity("virial", "system", (3, 3), "eV", "minus volume times stress; finite always"),
        Quantity(
            "atomic_energy", "atom", (), "eV", "energy of each atom, always float64; sums to the energy", exact=True
        ),
    )
}

DEFAULT_OUTPUTS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Standard:
    """One quantity of the labelled face.

    `components`: names of the axes between samples and properties, each 0, 1, 2. `property`: name of the property
    dimension, 0, 1, ... `unit` as an expression, empty without one. `gradients` that may be stored with the values.
    `served_by`: which potentials give it. `exact`: always float64, as energies of the native face are. `older`: names
    it went by, still understood. `properties`: one, one for each member ("many"), or as many and of such names as the
    model likes ("free"). Values per atom sum to that of the system, but for the uncertainty, which is of the sum.
    """

    name: str
    sample_kinds: tuple[SampleKind, ...]
    components: tuple[str, ...]
    property: str
    unit: str
    gradients: tuple[str, ...]
    meaning: str
    served_by: str
    exact: bool = False
    older: tuple[str, ...] = ()
    properties: Literal["one", "many", "free"] = "one"


@dataclass(frozen=True)
class Layout:
    """The row of a quantity of a potential's own, `domain::name`: what its `Support` does not say; as in `Standard`.

    `property`: by default its name without the domain.
    """

    unit: str = ""
    components: tuple[str, ...] = ()
    property: str = ""
    properties: Literal["one", "many", "free"] = "one"
    exact: bool = False
    meaning: str = ""


OWN = "::"
"""What is in the names of quantities that are no standard."""

_EITHER: tuple[SampleKind, ...] = ("system", "atom")
_BOTH = ("positions", "strain")
_OF_MEMBERS = "a Committee, and a Sum or Variants with one"
_PASSED_ON = "potentials whose compute returns it"

STANDARD = {
    q.name: q
    for q in (
        Standard(
            "energy",
            _EITHER,
            (),
            "energy",
            "eV",
            _BOTH,
            "potential energy",
            "every potential; .shoal packages and other eager potentials give it in every form, files of shoal compile "
            "in all but those that their caller can differentiate",
            exact=True,
        ),
        Standard(
            "energy_ensemble",
            _EITHER,
            (),
            "energy",
            "eV",
            _BOTH,
            "energy by each member of a committee, one property each; their mean is the energy",
            _OF_MEMBERS,
            exact=True,
            properties="many",
        ),
        Standard(
            "energy_uncertainty",
            _EITHER,
            (),
            "energy",
            "eV",
            (),
            "sample standard deviation of the ensemble; per system, of the sums over its atoms",
            _OF_MEMBERS,
            exact=True,
        ),
        Standard(
            "non_conservative_force",
            ("atom",),
            ("xyz",),
            "non_conservative_force",
            "eV/A",
            (),
            "force that is not the gradient of an energy",
            _PASSED_ON,
            older=("non_conservative_forces",),
        ),
        Standard(
            "non_conservative_stress",
            ("system",),
            ("xyz_1", "xyz_2"),
            "non_conservative_stress",
            "eV/A^3",
            (),
            "stress that is not the gradient of an energy, positive under tension",
            _PASSED_ON,
        ),
        Standard(
            "feature",
            _EITHER,
            (),
            "feature",
            "",
            (),
            "invariants of the last layer, which the energy is read from; per system their sum over the atoms",
            ".shoal packages",
            older=("features",),
            properties="free",
        ),
        Standard(
            "charge",
            _EITHER,
            (),
            "charge",
            "e",
            (),
            "charge as the model gives it; per system the sum over its atoms",
            _PASSED_ON,
            older=("charges",),
        ),
        Standard(
            "heat_flux",
            ("system",),
            ("xyz",),
            "heat_flux",
            "eV*A/fs",
            (),
            "potential and convective part, extensive; needs velocities",
            "every potential with atomic energies but NequIP's compiled files",
            exact=True,
        ),
    )
}


@dataclass(frozen=True)
class GradientLayout:
    """Sample names and component names of an explicit gradient, and the power of the length in its unit."""

    samples: tuple[str, ...]
    components: tuple[str, ...]
    length_power: int
    meaning: str


GRADIENTS = {
    "positions": GradientLayout(
        ("sample", "system", "atom"), ("xyz",), -1, "minus the force on each moved atom, at fixed cell"
    ),
    "strain": GradientLayout(
        ("sample",),
        ("xyz_1", "xyz_2"),
        0,
        "volume times stress, for r' = r (1 + strain): xyz_1 is the axis of the position, xyz_2 of the derivative",
    ),
}


def standard(name: str) -> Standard:
    """The row of a labelled quantity, of its variants `energy/<name>` and of its older names.

    Raises UnsupportedRequestError naming all of them.
    """
    base = name.split("/")[0]
    for quantity in STANDARD.values():
        if base == quantity.name or base in quantity.older:
            return quantity
    raise UnsupportedRequestError(
        f"{name!r} is no standard quantity; there are {', '.join(STANDARD)} and their variants such as energy/<name>, "
        "and what a potential brings a layout for, as domain::name"
    )


def current_name(name: str) -> str:
    """The name as it is spelt now: `features/a` is `feature/a`; `domain::name` is. Raises UnsupportedRequestError."""
    if OWN in name:
        return name
    _, *variant = name.split("/", 1)
    return "/".join([standard(name).name, *variant])


def check_outputs(requested: Iterable[str], available: Iterable[str], who: str) -> tuple[str, ...]:
    """The requested names as a tuple. Raises UnsupportedRequestError naming what `who` can give."""
    names = (requested,) if isinstance(requested, str) else tuple(requested)
    available = tuple(available)
    for name in names:
        if name not in available:
            raise UnsupportedRequestError(f"{who} cannot give {name!r}; it gives {', '.join(available)}")
    return names
