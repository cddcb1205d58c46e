"""What a layer does atom by atom, as C++ for a block of `atoms` atoms, forward and backward."""

from __future__ import annotations

from shoal.architectures.native.plan import LayerPlan, ModelPlan
from shoal.nn.convolution.native.layout import Layout
from shoal.nn.gate import SILU_SCALE, TANH_SCALE
from shoal.nn.irreps import SCALAR
from shoal.nn.norm_activation import SMALLEST_NORM

ACTIVATION = {"silu": "Silu", "mish": "Mish", "gelu": "Gelu", None: "Same"}
FOR_CHANNELS = "    for (int a = 0; a < atoms; ++a) for (int k = 0; k < {stride}; k += LANES) {{"


def linear(plan: ModelPlan, name: str, inputs: Layout, outputs: Layout, x: str, y: str) -> list[str]:
    """y = x times the matrices of each irrep; what no matrix reaches is zero."""
    lines = []
    for irrep, block in outputs.blocks.items():
        key = f"{name}_{irrep}"
        if key not in plan.places:
            lines.append(
                f"    for (int a = 0; a < atoms; ++a) std::memset({y} + a * {outputs.size} + {block.start}, 0, "
                f"sizeof(real) * {irrep.dim * block.stride});"
            )
            continue
        lines.append(
            f"    mix(atoms, {irrep.dim}, {x} + {inputs.blocks[irrep].start}, {inputs.size}, "
            f"{inputs.blocks[irrep].stride}, W + {plan.places[key]}, {y} + {block.start}, {outputs.size}, "
            f"{block.stride}, false);  // {irrep}"
        )
    return lines


def linear_back(
    plan: ModelPlan, name: str, inputs: Layout, outputs: Layout, dy: str, dx: str, *, add: bool = False
) -> list[str]:
    """dx = dy times the transposed matrices, or += with `add`."""
    lines = []
    for irrep, block in inputs.blocks.items():
        key = f"{name}_{irrep}_T"
        if key not in plan.places:
            if not add:
                lines.append(
                    f"    for (int a = 0; a < atoms; ++a) std::memset(({dx}) + a * {inputs.size} + {block.start}, 0, "
                    f"sizeof(real) * {irrep.dim * block.stride});"
                )
            continue
        lines.append(
            f"    mix(atoms, {irrep.dim}, {dy} + {outputs.blocks[irrep].start}, {outputs.size}, "
            f"{outputs.blocks[irrep].stride}, W + {plan.places[key]}, {dx} + {block.start}, {inputs.size}, "
            f"{block.stride}, {'true' if add else 'false'});  // {irrep}"
        )
    return lines


def self_connection(plan: ModelPlan, layer: LayerPlan, h: str, z: str) -> list[str]:
    """z += h times the matrices of each atom's type."""
    inputs, outputs = layer.convolution.x, layer.z
    return [
        f"    mix_by_type(atoms, types, {irrep.dim}, {h} + {inputs.blocks[irrep].start}, {inputs.size}, "
        f"{inputs.blocks[irrep].stride}, W + {plan.places[key]}, {inputs.blocks[irrep].stride * block.stride}, "
        f"{z} + {block.start}, {outputs.size}, {block.stride}, true);  // {irrep}"
        for irrep, block in outputs.blocks.items()
        if (key := f"own_{layer.n}_{irrep}") in plan.places
    ]


def self_connection_back(plan: ModelPlan, layer: LayerPlan, dz: str, dh: str) -> list[str]:
    """dh = dz times the transposed matrices of each atom's type."""
    inputs, outputs = layer.convolution.x, layer.z
    lines = []
    for irrep, block in inputs.blocks.items():
        key = f"own_{layer.n}_{irrep}_T"
        if key not in plan.places:
            lines.append(
                f"    for (int a = 0; a < atoms; ++a) std::memset({dh} + a * {inputs.size} + {block.start}, 0, "
                f"sizeof(real) * {irrep.dim * block.stride});"
            )
            continue
        other = outputs.blocks[irrep]
        lines.append(
            f"    mix_by_type(atoms, types, {irrep.dim}, {dz} + {other.start}, {outputs.size}, {other.stride}, "
            f"W + {plan.places[key]}, {other.stride * block.stride}, {dh} + {block.start}, {inputs.size}, "
            f"{block.stride}, false);  // {irrep}"
        )
    return lines


def nonlinearity(layer: LayerPlan, z: str, h: str) -> list[str]:
    lines, size_z, size_h, gate = [], layer.z.size, layer.h.size, 0
    for irrep, block in layer.h.blocks.items():
        dim, own = range(irrep.dim), layer.z.blocks[irrep]
        head = [
            FOR_CHANNELS.format(stride=block.stride) + f"  // {irrep}",
            f"      const real* from = {z} + a * {size_z} + k;",
            f"      real* to = {h} + a * {size_h} + k;",
        ]
        if not layer.gated:
            body = [
                f"      const vec norm = {_norm(own, dim)};",
                "      const vec gate = logistic(norm);",
                *(f"      store(to + {block.at(m)}, gate * load(from + {own.at(m)}));" for m in dim),
            ]
        elif irrep.l == 0:
            name, scale = ("Silu", SILU_SCALE) if irrep == SCALAR else ("Tanh", TANH_SCALE)
            body = [f"      store(to + {block.start}, real({scale!r}) * {name}::value(load(from + {own.start})));"]
        else:
            gate += 1
            place = layer.z.blocks[SCALAR].start + layer.z.part(SCALAR, gate)
            body = [
                f"      const vec gate = real({SILU_SCALE!r}) * Silu::value(load(from + {place}));",
                *(f"      store(to + {block.at(m)}, gate * load(from + {own.at(m)}));" for m in dim),
            ]
        lines += [*head, *body, "    }"]
    return lines


def nonlinearity_back(layer: LayerPlan, z: str, dh: str, dz: str) -> list[str]:
    lines, size_z, size_h, gate = [], layer.z.size, layer.h.size, 0
    for irrep, block in layer.h.blocks.items():
        dim, own = range(irrep.dim), layer.z.blocks[irrep]
        head = [
            FOR_CHANNELS.format(stride=block.stride) + f"  // {irrep}",
            f"      const real* from = {z} + a * {size_z} + k;",
            f"      const real* g = {dh} + a * {size_h} + k;",
            f"      real* to = {dz} + a * {size_z} + k;",
        ]
        along = " + ".join(f"load(g + {block.at(m)}) * load(from + {own.at(m)})" for m in dim)
        if not layer.gated:
            body = [
                f"      const vec norm = {_norm(own, dim)}, along = {along};",
                "      const vec gate = logistic(norm);",
                f"      const vec slope = norm > splat({SMALLEST_NORM!r}) ? gate * (real(1) - gate) * along / norm "
                ": vec{};",
                *(
                    f"      store(to + {own.at(m)}, gate * load(g + {block.at(m)}) + slope * load(from + {own.at(m)}));"
                    for m in dim
                ),
            ]
        elif irrep.l == 0:
            name, scale = ("Silu", SILU_SCALE) if irrep == SCALAR else ("Tanh", TANH_SCALE)
            body = [
                f"      store(to + {own.start}, load(g + {block.start}) * (real({scale!r}) * "
                f"{name}::slope(load(from + {own.start}))));"
            ]
        else:
            gate += 1
            place = layer.z.blocks[SCALAR].start + layer.z.part(SCALAR, gate)
            body = [
                f"      const vec gate = load(from + {place});",
                f"      store(to + {place}, ({along}) * (real({SILU_SCALE!r}) * Silu::slope(gate)));",
                f"      const vec value = real({SILU_SCALE!r}) * Silu::value(gate);",
                *(f"      store(to + {own.at(m)}, value * load(g + {block.at(m)}));" for m in dim),
            ]
        lines += [*head, *body, "    }"]
    return lines


def _norm(own: object, dim: range) -> str:
    squares = " + ".join(f"load(from + {own.at(m)}) * load(from + {own.at(m)})" for m in dim)  # type: ignore[attr-defined]
    return f"root({squares}, real({SMALLEST_NORM**2!r}))"


def readout(plan: ModelPlan) -> list[str]:
    """From the features h of the last layer to energies, and back to s.da0, the gradient of all weighted energies."""
    sizes, activation = plan.readout_sizes, ACTIVATION[plan.config.readout_mlp_nonlinearity]
    lines = [f"    std::memcpy(s.a0, h, sizeof(real) * atoms * {sizes[0]});"]
    for k in range(1, len(sizes)):
        size, before = sizes[k], "s.a0" if k == 1 else "s.da0"
        if k > 1:  # s.a holds what enters an activation
            lines += [
                f"    for (int k = 0; k < atoms * {sizes[k - 1]}; k += LANES)",
                f"      store(s.da{k - 1} + k, {activation}::value(load(s.a{k - 1} + k)));",
            ]
            before = f"s.da{k - 1}"
        lines.append(
            f"    mix(atoms, 1, {before}, {sizes[k - 1]}, {sizes[k - 1]}, W + {plan.places[f'readout_{k - 1}']}, "
            f"s.a{k}, {size}, {size}, false);"
        )
    last = len(sizes) - 1
    w = f"W + {plan.places[f'readout_{last}']}"
    value = (
        f"{activation}::value(load(s.a{last} + a * {sizes[last]} + k))" if last else f"load(s.a0 + a * {sizes[0]} + k)"
    )
    slope = f" * {activation}::slope(load(s.a{last} + a * {sizes[last]} + k))" if last else ""
    lines += [
        "    for (int a = 0; a < atoms; ++a) {",
        "      vec total = {};",
        f"      for (int k = 0; k < {sizes[last]}; k += LANES) total += load({w} + k) * {value};",
        "      const int64_t type = types[a];",
        "      c.atomic_energy[first + a] = SHIFTS[type] + SCALES[type] * double(sum(total));",
        "      const real seed = real(SCALES[type] * (c.energy_weights ? c.energy_weights[first + a] : 1.0));",
        f"      for (int k = 0; k < {sizes[last]}; k += LANES)",
        f"        store(s.da{last} + a * {sizes[last]} + k, seed * load({w} + k){slope});",
        "    }",
    ]
    for k in range(last, 0, -1):
        lines.append(
            f"    mix(atoms, 1, s.da{k}, {sizes[k]}, {sizes[k]}, W + {plan.places[f'readout_{k - 1}_T']}, s.da{k - 1}, "
            f"{sizes[k - 1]}, {sizes[k - 1]}, false);"
        )
        if k > 1:
            lines += [
                f"    for (int k = 0; k < atoms * {sizes[k - 1]}; k += LANES)",
                f"      store(s.da{k - 1} + k, load(s.da{k - 1} + k) * {activation}::slope(load(s.a{k - 1} + k)));",
            ]
    return lines
