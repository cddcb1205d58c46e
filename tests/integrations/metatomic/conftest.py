"""Exported models, made once a session."""

from __future__ import annotations

import pytest
from metatomic.torch import AtomisticModel, load_atomistic_model
from tests.integrations.metatomic.cases import export, potential

from shoal.integrations.metatomic import Exported
from shoal.potentials import LearnedPotential

ALL = [
    pytest.param(("nequip", "portable"), id="nequip, portable"),
    pytest.param(("allegro", "portable"), id="allegro, portable", marks=pytest.mark.slow),
    pytest.param(("nequip", "native"), id="nequip, native"),
]


@pytest.fixture(scope="session", params=ALL)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    architecture, kernel = request.param
    written = export(potential(architecture), tmp_path_factory.mktemp(architecture), kernel)
    assert max(written.differences.values()) < 1e-10
    return written


@pytest.fixture(scope="session")
def eager(exported: Exported) -> LearnedPotential:
    return LearnedPotential.from_package(exported.path.with_suffix(".shoal"))


@pytest.fixture(scope="session")
def native(exported: Exported) -> bool:
    return exported.extensions is not None


@pytest.fixture(scope="session")
def model(exported: Exported) -> AtomisticModel:
    return load_atomistic_model(exported.path, extensions_directory=exported.extensions)


@pytest.fixture(scope="session")
def tabulated(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Native, of another model, in float32 and with tables."""
    written = export(potential("nequip", l_max=1, model_dtype="float32"), tmp_path_factory.mktemp("tables"), "native")
    assert written.table is not None
    assert written.table.force_error <= 1e-5
    return written
