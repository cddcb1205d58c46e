"""What a kernel of a NequIP model is made from: layouts of its layers, and its weights where the kernel reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from shoal.architectures.native.weights import Weights
from shoal.architectures.nequip import InteractionLayer, NequIP, NequIPConfig
from shoal.nn import SCALAR, Channels, Features, Gate
from shoal.nn.convolution.native.layout import Layout, lanes, spread
from shoal.nn.convolution.native.plan import ConvolutionPlan
from shoal.nn.tabulated import coefficients, spline_table


@dataclass(frozen=True)
class LayerPlan:
    """One layer: its convolution, what its linear maps end in (z) and what leaves its nonlinearity (h)."""

    n: int
    convolution: ConvolutionPlan
    z: Layout
    h: Layout
    gated: bool
    self_connection: bool
    residual: bool
    norm_by_type: bool


@dataclass(frozen=True)
class ModelPlan:
    """All that is emitted, and the weights; `pieces` of the radial tables, None for the exact networks."""

    config: NequIPConfig
    layers: tuple[LayerPlan, ...]
    radial_sizes: tuple[int, ...]
    readout_sizes: tuple[int, ...]
    pieces: int | None
    dtype: torch.dtype
    places: dict[str, int]
    weights: torch.Tensor
    exact_numbers: torch.Tensor  # float64: scales, shifts, reciprocal cutoffs, nuclear charges, orders

    @property
    def n_types(self) -> int:
        return len(self.config.type_names)

    @property
    def by_type(self) -> bool:
        """Whether cutoffs depend on the types of a pair."""
        return self.config.cutoffs_by_types is not None


def plan_of(model: NequIP, pieces: int | None) -> ModelPlan:
    """Of a model in the precision of its configuration."""
    config, dtype = model.config, model.config.dtype
    width = lanes(dtype)
    weights = Weights(dtype)
    exact = {name: value.detach().double() for name, value in model.state_dict().items()}
    model = NequIP(config.model_copy(update={"model_dtype": "float64"}))
    model.load_state_dict(exact)
    plans = []
    with torch.no_grad():
        for n, layer in enumerate(cast("list[InteractionLayer]", list(model.layers))):
            plans.append(_layer(n, layer, model, weights, pieces, width))
        readout = tuple(-(-size // width) * width for size in config.readout_sizes[:-1])
        for k, (matrix, gain) in enumerate(zip(model.readout.weights, model.readout.gains, strict=True)):
            rows, columns = (torch.arange(size) for size in matrix.shape)
            last = k + 1 == len(readout)
            filled = spread(matrix * gain, rows, readout[k], columns, 1 if last else readout[k + 1])
            weights.add(f"readout_{k}", filled)
            weights.add(f"readout_{k}_T", filled.mT.contiguous())
        cutoffs = config.cutoffs_by_types or [[config.cutoff]]
        numbers = [
            model.scale_shift.scales,
            model.scale_shift.shifts,
            1 / torch.tensor(cutoffs, dtype=torch.float64).flatten(),
            model.zbl.numbers if model.zbl is not None else torch.zeros(len(config.type_names), dtype=torch.float64),
            model.basis.orders,
        ]
    sizes = [config.num_bessels, *[config.radial_mlp_width] * config.radial_mlp_depth]
    return ModelPlan(
        config,
        tuple(plans),
        tuple(-(-size // width) * width for size in sizes),
        readout,
        pieces,
        dtype,
        weights.places,
        weights.array(),
        torch.cat([number.detach().flatten() for number in numbers]),
    )


def _layer(
    n: int, layer: InteractionLayer, model: NequIP, weights: Weights, pieces: int | None, width: int
) -> LayerPlan:
    convolution = layer.convolution
    inputs: Channels = {irrep: layer.linear_in.weight[str(irrep)].shape[1] for irrep in layer.linear_in.factors}
    plan = ConvolutionPlan(f"Layer{n}", inputs, convolution.outputs, tuple(convolution.paths), convolution.l_max, width)
    gated = isinstance(layer.nonlinearity, Gate)
    outputs: Channels = (
        layer.nonlinearity.outputs if isinstance(layer.nonlinearity, Gate) else layer.nonlinearity.inputs
    )
    z = Layout({ir: (count,) for ir, count in layer.nonlinearity.inputs.items()}, width)
    if isinstance(layer.nonlinearity, Gate):
        z = Layout({**z.parts, SCALAR: tuple(layer.nonlinearity.sizes)}, width)
    _add_radial(plan, convolution.radial, model, weights, pieces)
    if n == 0:
        _add_sources(plan, layer, model, weights)
    else:
        _add_matrices(f"in_{n}", layer.linear_in, plan.x, plan.x, weights)
        if layer.uniform_norm is None:
            weights.add(f"norm_{n}", layer.neighbor_norm)
    _add_matrices(f"out_{n}", layer.linear_out, plan.sums, z, weights)
    if layer.self_connection is not None:
        for irrep in layer.self_connection.factors:
            weight = layer.self_connection.weight[str(irrep)] * layer.self_connection.factors[irrep]
            by_type = torch.einsum("tv,uvw->tuw", model.type_embedding, weight)
            _add(f"own_{n}_{irrep}", by_type, plan.x, z, irrep, weights)
    return LayerPlan(
        n,
        plan,
        z,
        Layout.of(outputs, width),
        gated,
        layer.self_connection is not None,
        layer.residual,
        layer.uniform_norm is None and n > 0,
    )


def _add_sources(plan: ConvolutionPlan, layer: InteractionLayer, model: NequIP, weights: Weights) -> None:
    """Features of the types, which the first layer takes as those of its neighbours."""
    embedding: Features = {SCALAR: model.type_embedding[:, None, :]}
    messages = layer.linear_in(embedding)[SCALAR][:, 0]
    if layer.uniform_norm is None:
        messages = layer.neighbor_norm[:, None] * messages
    places = plan.x.places(SCALAR)
    weights.add("sources", spread(messages, torch.arange(len(messages)), len(messages), places, plan.x.size))


def _add_matrices(name: str, linear: torch.nn.Module, rows: Layout, columns: Layout, weights: Weights) -> None:
    for irrep, factor in linear.factors.items():  # type: ignore[operator, union-attr]
        _add(f"{name}_{irrep}", linear.weight[str(irrep)] * factor, rows, columns, irrep, weights)  # type: ignore[index]


def _add(name: str, matrix: torch.Tensor, rows: Layout, columns: Layout, irrep: object, weights: Weights) -> None:
    a, b = rows.blocks[irrep], columns.blocks[irrep]  # type: ignore[index]
    filled = spread(matrix, rows.places(irrep), a.stride, columns.places(irrep), b.stride)  # type: ignore[arg-type]
    weights.add(name, filled)
    weights.add(f"{name}_T", filled.mT.contiguous())


def _add_radial(
    plan: ConvolutionPlan, network: torch.nn.Module, model: NequIP, weights: Weights, pieces: int | None
) -> None:
    n = plan.name.removeprefix("Layer")
    columns = torch.cat([plan.weight(k) + torch.arange(path.channels) for k, path in enumerate(plan.paths)])
    if pieces is not None:
        table = coefficients(spline_table(lambda x: network(model.basis(x)), pieces))
        weights.add(f"table_{n}", spread(table, torch.arange(4), 4, columns, plan.n_weights))
        return
    width = lanes(weights.dtype)
    matrices = list(zip(network.weights, network.gains, strict=True))  # type: ignore[arg-type]
    for k, (matrix, gain) in enumerate(matrices):
        last = k + 1 == len(matrices)
        rows = torch.arange(matrix.shape[0])
        places = columns if last else torch.arange(matrix.shape[1])
        n_columns = plan.n_weights if last else -(-matrix.shape[1] // width) * width
        weights.add(f"radial_{n}_{k}", spread(matrix * gain, rows, -(-len(rows) // width) * width, places, n_columns))
