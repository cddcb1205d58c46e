"""Native convolutions and radial tables in training: the same model, another way to its numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from tests.training.conftest import CUTOFF

from shoal.architectures import AtomicEnergyModel, build
from shoal.architectures.tabulated import tabulate
from shoal.errors import CompileError, ConfigError, ShoalWarning
from shoal.files import read_checkpoint
from shoal.io import LabelKeys
from shoal.nn.tabulated import spline_table
from shoal.state import TypeMap
from shoal.testing import close
from shoal.training import train
from shoal.training.batches import Batch, collate
from shoal.training.compiled import CompiledPredict
from shoal.training.form import Form
from shoal.training.load_config import load_config
from shoal.training.losses import residuals
from shoal.training.predict import predict
from shoal.training.samples import make_samples

Argon = Callable[..., Atoms]
Config = Callable[..., dict[str, Any]]
CPU = torch.device("cpu")
MODELS: dict[str, dict[str, Any]] = {
    "l_max 1": {"num_layers": 2, "l_max": 1, "num_features": 5},
    "everything": {
        "num_layers": 2,
        "l_max": 2,
        "parity": False,
        "num_features": (17, 8, 3),
        "bessel_trainable": True,
        "scales_trainable": True,
        "nonlinearity": "norm",
        "resnet": True,
        "mean_neighbors": (12.0, 9.0),
        "per_edge_type_cutoff": {"Ar": 4.0},
    },
    "l_max 1, both parities": {"num_layers": 4, "l_max": 1, "num_features": 3},
    "l_max 0": {"num_layers": 2, "l_max": 0, "num_features": 16},
    "l_max 2, both parities": {"num_layers": 4, "l_max": 2, "num_features": 3},
    "l_max 3": {"num_layers": 3, "l_max": 3, "parity": False, "num_features": 4},
    "l_max 3, both parities": {"num_layers": 4, "l_max": 3, "num_features": 2},
}
SHORT = ("l_max 1", "everything")
EVERY_MODEL = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in MODELS]
)


def model_of(name: str, dtype: str = "float64") -> AtomicEnergyModel:
    shared = {"cutoff": CUTOFF, "type_names": ["Ar", "Kr"], "mean_neighbors": 12.0, "radial_mlp_width": 6}
    return build("nequip", {**shared, "model_dtype": dtype, **MODELS[name]})


def batch_of(argon: Argon) -> Batch:
    """Crystals of two elements and an atom without a neighbour."""
    frames = [argon(k, symbols="Ar2KrAr", repeat=(1, 1, 1)) for k in range(2)]
    lone = argon(9, symbols="Ar4", repeat=(1, 1, 1))[:1]
    lone.pbc = False
    lone.info["energy"] = 0.5
    types = TypeMap(("Ar", "Kr"), {"Ar": "Ar", "Kr": "Kr"})
    return collate(make_samples([frames[0], lone, frames[1]], types, CUTOFF, LabelKeys()))


def step(predicted: Callable[..., dict[str, torch.Tensor]], weights: Any, batch: Batch) -> list[torch.Tensor]:
    """Energies, forces, virials, and gradients of a loss on all of them in the weights."""
    values = predicted(batch, create_graph=True)
    residual = residuals(values, batch)
    loss = residual.energy.square().mean() + residual.forces.square().mean() + residual.stress.square().mean()
    found = torch.autograd.grad(loss, list(weights), allow_unused=True, materialize_grads=True)
    return [*(values[name].detach() for name in ("energy", "forces", "virial")), *found]


@EVERY_MODEL
@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-10), ("float32", 1e-6)])
def test_a_native_step_is_the_references(argon: Argon, name: str, dtype: str, tol: float) -> None:
    model, batch = model_of(name, dtype), batch_of(argon)
    native = Form("native").of(model, "nequip", CPU)
    expected = step(partial(predict, model), model.parameters(), batch)
    for a, b in zip(step(partial(predict, native), native.parameters(), batch), expected, strict=True):
        close(a, b, tol)


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        Form("native"),
        Form("native", 64),
        Form("reference"),
        Form("reference", 64),
    ],
)
def test_a_compiled_step_is_the_eager_one(argon: Argon, form: Form) -> None:
    model, batch = model_of("everything"), batch_of(argon)
    plain = Form("reference", form.radial_table).of(model, "nequip", CPU)
    expected = step(partial(predict, plain), plain.parameters(), batch)
    found = step(CompiledPredict(model, "nequip", CPU, form), model.parameters(), batch)
    for a, b in zip(found, expected, strict=True):
        close(a, b, 1e-10)


@pytest.mark.parametrize("name", ["everything", "l_max 1, both parities"])
@pytest.mark.parametrize("form", [Form("native"), Form("reference")])
def test_what_is_compiled_is_differentiable_as_the_model_is(
    argon: Argon, name: str, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph as it is traced, before Inductor sees it: norms and sigmoids, gates with odd scalars and their tanh."""
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    model, batch = model_of(name), batch_of(argon)
    expected = step(partial(predict, model), model.parameters(), batch)
    found = step(CompiledPredict(model, "nequip", CPU, form), model.parameters(), batch)
    assert all(float(gradient.abs().max()) > 0 for gradient in expected)
    for a, b in zip(found, expected, strict=True):
        close(a, b, 1e-10)


def test_a_tabulated_model_has_the_tables_of_the_deployed_kernel() -> None:
    """Radial weights between the knots are those of `spline_table`, which the kernel reads."""
    model = model_of("everything")
    network, basis = model.layers[1].convolution.radial, model.basis  # type: ignore[union-attr,index]
    with torch.no_grad():
        table = spline_table(lambda x: network(basis(x)), 32)  # type: ignore[operator]
    tabulate(model, 32)
    share = torch.cat([torch.rand(200, dtype=torch.float64), torch.tensor([1.0, 1.3])])
    made = model.layers[1].convolution.radial(model.basis(share))  # type: ignore[union-attr,index,operator]
    piece = (share * 32).floor().clamp(max=31).long()
    t = (share * 32 - piece)[:, None]
    value, slope, then, bend = table[piece, 0], table[piece, 1], table[piece + 1, 0], table[piece + 1, 1]
    rise = then - value  # the cubic, written by differences
    expected = value + t * (slope + t * (3 * rise - 2 * slope - bend + t * (slope + bend - 2 * rise)))
    inside = share < 1
    close(made[inside].detach(), expected[inside], 1e-13)
    assert torch.equal(made[~inside], torch.zeros_like(made[~inside]))


def test_finer_tables_come_closer_to_the_network(argon: Argon) -> None:
    """By a power of the number of pieces: 2^3 for gradients of the slopes that forces are."""
    model, batch = model_of("everything"), batch_of(argon)
    exact = step(partial(predict, model), model.parameters(), batch)
    errors = []
    for pieces in (64, 128, 256):
        made = Form("reference", pieces).of(model, "nequip", CPU)
        assert list(made.state_dict()) == list(model.state_dict())
        assert [name for name, _ in made.named_parameters()] == [name for name, _ in model.named_parameters()]
        found = step(partial(predict, made), made.parameters(), batch)
        errors.append(
            max(((a - b).abs().max() / b.abs().max().clamp(min=1)).item() for a, b in zip(found, exact, strict=True))
        )
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 4
    assert errors[2] < 1e-5


def test_forces_of_a_tabulated_model_are_its_energies_slopes(argon: Argon) -> None:
    """Central differences in a direction of all edge vectors."""
    batch = batch_of(argon)
    model = Form("native", 32).of(model_of("everything"), "nequip", CPU)
    vectors = batch.edge_vectors.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(vectors, batch.edge_index, batch.atom_types).sum(), vectors)
    along = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = 1e-5
    with torch.no_grad():
        up, down = (model(vectors + sign * h * along, batch.edge_index, batch.atom_types).sum() for sign in (1, -1))
    close((up - down) / (2 * h), (gradient * along).sum(), 1e-8)


def run(config: dict[str, Any], output: Path, resume: bool | None = None, **model: Any) -> dict[str, Any]:
    config = {**config, "output": str(output), "model": {**config["model"], **model}}
    return dict(read_checkpoint(train(config, progress=False, resume=resume).last).raw)


@pytest.mark.parametrize("table", [None, 64])
def test_a_native_run_is_the_references_and_resumes_bit_for_bit(
    tiny_config: Config, tmp_path: Path, table: int | None
) -> None:
    def trained(name: str, resume: bool | None = None, **settings: Any) -> dict[str, Any]:
        config = tiny_config(radial_table=table, compile=False, **settings)
        return run(config, tmp_path / name, resume, model_dtype="float64")

    reference = trained("reference", max_epochs=3, convolution="reference")
    native = trained("native", max_epochs=3, convolution="native")
    assert (reference["training"]["convolution"], native["training"]["convolution"]) == ("reference", "native")
    for a, b in zip(reference["training"]["history"], native["training"]["history"], strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-8)
        assert b["val_loss"] == pytest.approx(a["val_loss"], rel=1e-8)
    trained("parts", max_epochs=1, convolution="native")
    parts = trained("parts", resume=True, max_epochs=3, convolution="native")
    for name, weight in native["weights"].items():
        assert torch.equal(parts["weights"][name], weight), name


def test_without_a_compiler_training_goes_on_with_the_reference(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise CompileError("no C++ compiler was found. Install one")

    monkeypatch.setattr(importlib.import_module("shoal.nn.convolution.native.convolution"), "compiler", none)
    with pytest.warns(ShoalWarning, match=r"not native, training goes on with the reference: no C\+\+ compiler"):
        raw = run(tiny_config(convolution="native", max_epochs=1), tmp_path / "out")
    assert raw["training"]["convolution"] == "reference"


def test_short_runs_take_the_reference_of_themselves(tiny_config: Config, tmp_path: Path) -> None:
    assert run(tiny_config(max_epochs=1), tmp_path / "out")["training"]["convolution"] == "reference"


def test_without_convolutions_none_are_native(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warned of where they were asked for by name."""
    allegro = {"architecture": "allegro", "cutoff": CUTOFF, "num_layers": 1, "num_scalar_features": 8}
    allegro |= {"num_tensor_features": 2, "scalar_embed_mlp_width": 8, "allegro_mlp_width": 8, "readout_mlp_width": 4}
    config = {**tiny_config(max_epochs=1, compile=False), "model": allegro}
    monkeypatch.setattr("shoal.training.session.MANY_STEPS", 0)
    monkeypatch.setattr("shoal.training.session.MUCH_TIME", 0.0)
    assert run(config, tmp_path / "auto")["training"]["convolution"] == "reference"
    config["training"]["convolution"] = "native"
    with pytest.warns(ShoalWarning, match="goes on with the reference: the architecture allegro has no convolution"):
        named = run(config, tmp_path / "named")
    assert named["training"]["convolution"] == "reference"


def test_tables_are_for_models_with_radial_networks(tiny_config: Config) -> None:
    config = tiny_config(radial_table=64)
    with pytest.raises(ConfigError, match="radial_table is for the architecture nequip"):
        load_config({**config, "model": {"architecture": "allegro", "cutoff": 4.0}})
