"""What `shoal.check` says of models that are sound, and of what they declare."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from tests.conformance.faulty_labels import of_its_own
from tests.potentials.nequip_standin import write_torchscript

import shoal
from shoal.conformance import CHECKS, Report, Verdict, check
from shoal.conformance.fixtures import conforms  # noqa: F401 (a fixture)
from shoal.deploy import compile_model, package_potential
from shoal.errors import CompileError, InputError, ModelFileError
from shoal.io import atoms_to_state
from shoal.potentials import Committee, LearnedPotential, LennardJones, StillingerWeber, Sum, Variants

ARGON = {"Ar": (0.0104, 3.4), "Kr": (0.014, 3.65)}
SMOOTHNESS = [one for one in CHECKS if one.name == "smoothness"]


def verdicts(report: Report, verdict: Verdict) -> set[str]:
    return {finding.name for finding in report if finding.verdict is verdict}


def sound(report: Report, *declared: str) -> None:
    assert report.passed, report.explain()
    assert verdicts(report, Verdict.DECLARED) == set(declared)
    assert not verdicts(report, Verdict.NOTE)


def test_a_switched_lennard_jones_passes_everything() -> None:
    report = check(LennardJones(ARGON, 8.5), strict=True)
    sound(report)
    assert verdicts(report, Verdict.NOT_APPLICABLE) == {"uncertainty", "own reference"}
    assert [finding.number for finding in report] == list(range(1, 28))


@pytest.mark.parametrize("truncation", ["none", pytest.param("shift", marks=pytest.mark.slow)])
def test_a_lennard_jones_that_is_cut_off_has_declared_it(truncation: str) -> None:
    report = check(LennardJones(ARGON, 8.5, truncation), fast=True)  # type: ignore[arg-type]
    sound(report, "smoothness")
    assert report["smoothness"].reason == f"truncation: {truncation}"


def test_the_jump_that_is_measured_is_the_jump_there_is() -> None:
    epsilon, sigma, cutoff = 0.5, 2.3, 5.6
    finding = check(LennardJones({"Ar": (epsilon, sigma)}, cutoff, "none"), checks=SMOOTHNESS)["smoothness"]
    x = (sigma / cutoff) ** 6
    slope = 24 * epsilon / cutoff * (2 * x * x - x)
    assert finding.verdict is Verdict.DECLARED
    assert finding.value == pytest.approx(max(abs(slope), 4 * epsilon * abs(x * x - x)), rel=1e-5)
    assert f"{cutoff:.4f} A" in finding.where


@pytest.mark.parametrize(
    "make",
    [StillingerWeber, lambda: Sum(StillingerWeber(), LennardJones({"Si": (0.3, 2.1)}, 5.0))],
    ids=["Stillinger-Weber", "Sum"],
)
def test_other_classical_potentials_pass(make: Callable[[], shoal.potentials.Potential]) -> None:
    sound(check(make(), fast=True))


def test_a_package_passes_and_repeats_its_own_results(silicon_package: Path) -> None:
    report = check(silicon_package, chemical_species_to_atom_type_map=True)
    sound(report)
    assert verdicts(report, Verdict.NOT_APPLICABLE) == {"uncertainty"}


@pytest.mark.parametrize("model_dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_large_reference_energies_are_no_fault(silicon: LearnedPotential, model_dtype: str) -> None:
    """All-electron totals: half a million eV an atom, whose last digit is 1e-10 eV."""
    potential = silicon.with_core_dtype(model_dtype)
    potential.model.set_scales_shifts([1.3], [-512345.678])  # type: ignore[operator]
    sound(check(potential, chemical_species_to_atom_type_map=True, fast=True))


def test_a_package_that_gives_other_results_than_it_carries_fails(silicon: LearnedPotential, tmp_path: Path) -> None:
    state = atoms_to_state([bulk("Si", cubic=True)])
    state = state.replace(positions=state.positions + 0.1 * torch.sin(torch.arange(24.0).reshape(8, 3)))
    types = torch.zeros(8, dtype=torch.int64)
    neighbors = shoal.neighbors.neighbor_list(state, silicon.cutoff)
    results = silicon(state, neighbors, ("energy", "forces", "stress"), atom_types=types)
    results["forces"] = results["forces"] * 1.01
    path = package_potential(silicon, tmp_path / "other.shoal", state, types, results=results)
    report = check(path, chemical_species_to_atom_type_map=True, fast=True)
    assert verdicts(report, Verdict.FAIL) == {"own reference"}
    assert "forces" in report["own reference"].reason


def test_a_compiled_file_passes(compiled_silicon: Path) -> None:
    report = check(compiled_silicon, chemical_species_to_atom_type_map=True, fast=True)
    sound(report)
    assert report["selected atoms"].verdict is Verdict.PASS


@pytest.mark.slow
def test_types_that_are_no_elements_are_reached(compiled_water: Path) -> None:
    sound(check(compiled_water, fast=True))


def test_a_file_of_nequip_passes_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "si.nequip.pth")
    report = check(path or tmp_path / "si.nequip.pth", chemical_species_to_atom_type_map=True, fast=True)
    sound(report)
    assert {"selected atoms", "interaction range"} <= verdicts(report, Verdict.NOT_APPLICABLE)


@pytest.mark.slow
def test_a_committee_passes_with_its_uncertainty(silicon: LearnedPotential) -> None:
    other = LearnedPotential(silicon.spec.model_copy(update={"config": {**silicon.spec.config, "seed": 11}}))
    report = check(Committee([silicon, other]), chemical_species_to_atom_type_map=True, fast=True)
    sound(report)
    assert report["uncertainty"].verdict is Verdict.PASS


def test_an_ase_calculator_is_judged_and_the_jump_of_emt_is_found() -> None:
    """ASE's EMT ends half an angstrom beyond the middle of its Fermi function, where that is 1e-4 and not 0."""
    calculator = EMT()
    calculator.calculate(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]))
    end = calculator.rc_list
    pulls = []
    for r in (end - 1e-9, end + 1e-9):
        pair = Atoms("Cu2", [[0, 0, 0], [0, 0, r]], calculator=EMT())
        pulls.append(pair.get_forces()[0, 2])
    jump = abs(pulls[0] - pulls[1])
    assert jump > 1e-4

    report = check("ase.calculators.emt:EMT", structures=[bulk("Cu")], fast=True)
    found = report["smoothness"]
    assert f"Cu-Cu at {end:.4f} A" in found.where or "leaves" in found.where
    assert found.value is not None
    assert 0.99 * jump < found.value < 10 * jump  # an atom that leaves a molecule leaves several
    assert verdicts(report, Verdict.FAIL) == {"smoothness"}
    assert {"labels", "batch independence", "units"} <= verdicts(report, Verdict.NOT_APPLICABLE)
    assert check(EMT(), structures=[bulk("Ag", cubic=True)], fast=True, checks=()).passed


def test_a_potential_of_energies_alone_is_judged_as_far_as_it_goes() -> None:
    class EnergiesAlone(LennardJones):
        @property
        def capabilities(self):  # type: ignore[no-untyped-def]
            update = {"outputs": ("energy", "atomic_energy"), "quantities": {}}
            return super().capabilities.model_copy(update=update)

    report = check(EnergiesAlone(ARGON, 8.5), strict=True)
    sound(report)
    assert {"positions gradient", "smoothness", "NVE drift"} <= verdicts(report, Verdict.NOT_APPLICABLE)
    assert report["rotation and inversion"].verdict is Verdict.PASS


@pytest.mark.slow
def test_variants_pass_with_all_that_they_give() -> None:
    report = check(Variants(StillingerWeber(), rough=LennardJones({"Si": (0.3, 2.1)}, 5.0)), fast=True)
    sound(report)
    assert report["labels"].verdict is Verdict.PASS


def test_a_quantity_of_a_models_own_is_judged_by_the_layout_it_brings() -> None:
    report = check(of_its_own(lambda block, request: block)(), fast=True, strict=True)
    sound(report)
    assert report["labels"].verdict is Verdict.PASS


def test_quantities_of_a_models_own_without_a_layout_are_its_own_business() -> None:
    class Custom(LennardJones):
        @property
        def capabilities(self):  # type: ignore[no-untyped-def]
            own = super().capabilities
            return own.model_copy(update={"quantities": {**own.quantities, "mine::spin": own.quantities["energy"]}})

        def outputs(self, state, requests, *more, **named):  # type: ignore[no-untyped-def]
            asked = {"energy" if name == "mine::spin" else name: request for name, request in requests.items()}
            made = super().outputs(state, asked, *more, **named)
            return {name: made["energy" if name == "mine::spin" else name] for name in requests}

    labelled = [one for one in CHECKS if one.number in (1, 2, 4, 5, 6, 14, 19)]
    sound(check(Custom(ARGON, 8.5), checks=labelled, fast=True, strict=True))


def test_a_stress_that_is_declared_as_not_conservative_may_be_lopsided() -> None:
    class Lopsided(LennardJones):
        def compute(self, *arguments, **more):  # type: ignore[no-untyped-def]
            values = super().compute(*arguments, **more)
            return {**values, "virial": values["virial"] + 1e-4 * torch.eye(3, dtype=torch.float64).roll(1, 0)}

        @property
        def capabilities(self):  # type: ignore[no-untyped-def]
            return super().capabilities.model_copy(update={"conservative": False, "quantities": {}})

    stress = next(one for one in CHECKS if one.name == "symmetric stress")
    assert check(Lopsided(ARGON, 8.5), checks=[stress])["symmetric stress"].verdict is Verdict.DECLARED


@pytest.mark.slow
def test_structures_of_the_user_join(silicon: LearnedPotential) -> None:
    broken = bulk("Si", cubic=True)
    broken.symbols[0] = "C"
    report = check(silicon, structures=[broken], chemical_species_to_atom_type_map=True, fast=True)
    assert "finite" in verdicts(report, Verdict.FAIL)
    assert "C (system 0, atom 0)" in report["finite"].reason


@pytest.mark.parametrize("model", ["no.such.module:f", "ase.calculators.emt:no_such", "json:loads", 3])
def test_what_is_no_model_is_an_error(model: object) -> None:
    with pytest.raises((InputError, TypeError)):
        check(model)


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working folder whose factories import another there only when they are called."""
    (tmp_path / "shoal_test_helper.py").write_text(
        "from shoal.potentials import StillingerWeber\nmade = StillingerWeber()\n"
    )
    (tmp_path / "shoal_test_factories.py").write_text(
        "def potential():\n    import shoal_test_helper\n    return shoal_test_helper.made\n"
        "def broken():\n    return 1 / 0\n"
        "def nothing():\n    return {}\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("shoal_test_helper", "shoal_test_factories"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "shoal_test_factories"


def test_a_factory_may_make_a_potential_and_import_as_it_runs(factories: str) -> None:
    report = check(f"{factories}:potential", checks=CHECKS[:1], fast=True, device="cpu")
    assert report.model == f"{factories}:potential"
    assert report["labels"].verdict is Verdict.PASS


@pytest.mark.parametrize(("factory", "why"), [("broken", "ZeroDivisionError: division by"), ("nothing", "no model")])
def test_a_factory_that_makes_no_model_is_named(factories: str, factory: str, why: str) -> None:
    with pytest.raises(InputError, match=f"{factories}:{factory}.*{why}"):
        check(f"{factories}:{factory}")


@pytest.mark.parametrize("argument", [{"device": "cpu"}, {"chemical_species_to_atom_type_map": {"Cu": "Cu"}}])
def test_what_would_have_no_effect_on_a_model_is_refused(argument: dict[str, object]) -> None:
    calculator = shoal.BatchCalculator(StillingerWeber())
    for model in (EMT(), "ase.calculators.emt:EMT", calculator):
        with pytest.raises(InputError, match=f"has its own {next(iter(argument))}"):
            check(model, **argument)  # type: ignore[arg-type]


def test_members_of_a_committee_may_be_one_model() -> None:
    uncertainty = next(one for one in CHECKS if one.name == "uncertainty")
    report = check(Committee([StillingerWeber(), StillingerWeber()]), checks=[uncertainty])
    assert report["uncertainty"].verdict is Verdict.PASS


def test_a_foreign_model_that_takes_nothing_at_all_is_noted() -> None:
    class NeedsAtoms(LennardJones):
        def compute(self, state, *arguments, **more):  # type: ignore[no-untyped-def]
            if not state.n_atoms:
                raise IndexError("no atoms")
            return super().compute(state, *arguments, **more)

    isolated = next(one for one in CHECKS if one.number == 16)
    report = check(NeedsAtoms(ARGON, 8.5), checks=[isolated], fast=True)
    assert report[isolated.name].verdict is Verdict.NOTE
    assert "it raised IndexError: no atoms" in report[isolated.name].reason


def test_a_metatomic_without_its_private_check_has_no_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.conformance.checks.labels.UPSTREAM", "metatomic::no_such_operation")
    assert check(StillingerWeber(), checks=CHECKS[:1], fast=True)["labels"].verdict is Verdict.PASS


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        check("missing.shoal")


def test_the_fixture_passes_sound_models_and_tells_of_others(conforms: Callable[..., Report]) -> None:  # noqa: F811
    gradients = CHECKS[5:7]
    assert conforms(StillingerWeber(), checks=gradients, fast=True).passed

    class Wrong(StillingerWeber):
        def compute(self, *arguments, **more):  # type: ignore[no-untyped-def]
            values = super().compute(*arguments, **more)
            return {**values, "forces": 2 * values["forces"]}

    with pytest.raises(pytest.fail.Exception, match="positions gradient: .*, allowed are 1e-06. Relaxations end"):
        conforms(Wrong(), checks=gradients, fast=True)


def test_a_compiled_file_that_breaks_the_contract_is_not_written(
    silicon_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model claims to reach no farther than one layer does."""
    monkeypatch.setattr(LearnedPotential, "interaction_range", property(lambda self: self.cutoff))
    out = tmp_path / "liar.shoal.pth"
    with pytest.raises(CompileError, match=r"interaction range: energies of \d+ atoms beyond 4 A"):
        compile_model(silicon_package, out, mode="torchscript")
    assert not out.exists()
