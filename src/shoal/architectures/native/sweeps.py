"""The sweeps over the atoms: each layer forward and back, as C++.

Atoms are taken in blocks, so that matrices are multiplied with several rows.
"""

from __future__ import annotations

from shoal.architectures.native.nodes import (
    linear,
    linear_back,
    nonlinearity,
    nonlinearity_back,
    readout,
    self_connection,
    self_connection_back,
)
from shoal.architectures.native.plan import LayerPlan, ModelPlan


def _edges(layer: LayerPlan, *, back: bool, slopes: bool) -> list[str]:
    """The edges of atom p: `back`, those that start at it; `slopes`, radial slopes too."""
    places = "back" if back else "ahead"
    return [
        "      const int64_t p = first + a, start = m.graph.start[p];",
        "      const int n = m.graph.count[p];",
        f"      s.centre.take(m.graph, p, {'-1' if back else '1'});",
        f"      {layer.convolution.name}::angles(s.centre, s.ld, s.T);",
        f"      radial.prepare(n, m.graph.{places}, start, {'true' if slopes else 'false'});",
    ]


def _derivative(plan: ModelPlan) -> list[str]:
    """Of the radial coordinate by the distance, where it is one number."""
    return [] if plan.by_type else ["  s.centre.derivative(real(radial.per_share() * PER_CUTOFF[0]));"]


def _gather(plan: ModelPlan, layer: LayerPlan, *, back: bool) -> list[str]:
    """Gradients in the edge vectors, beside those of the layers behind."""
    lines = []
    if plan.by_type:
        pair = "c.types[q] * TYPES + c.types[p]" if back else "c.types[p] * TYPES + c.types[q]"
        lines = [
            "      for (int e = 0; e < s.centre.full; ++e) {",
            "        const int64_t q = m.graph.col[start + e];",
            f"        s.centre.per_length[e] = real(radial.per_share() * PER_CUTOFF[{pair}]);",
            "      }",
        ]
    first = "true" if layer is plan.layers[-1] else "false"
    return [
        *lines,
        "      direction_gradient(s.centre, s.ld, s.G);",
        f"      s.centre.gather<{first}>(m.graph, p, s.G);",
    ]


def forward(plan: ModelPlan, layer: LayerPlan) -> str:
    n, conv = layer.n, layer.convolution
    last = layer is plan.layers[-1]
    source = (
        f"W + {plan.places['sources']} + c.types[m.graph.col[start + e]] * {conv.x.size}"
        if n == 0
        else f"m.x{n} + (size_t)m.graph.col[start + e] * {conv.x.size}"
    )
    z = f"m.z{n} + first * {layer.z.size}" if not last else "s.z"
    lines = [
        f"// layer {n}: sums over neighbours, linear maps, nonlinearity"
        + ("; energy and its gradient" if last else ""),
        f"static void forward_{n}(const Call& c, Memory& m, Scratch& s, int64_t lo, int64_t hi) {{",
        "  const real* W = (const real*)c.weights;",
        f"  Radial{n} radial = radial_{n}(W, int(s.ld), s.radial);",
        *(_derivative(plan) if n == 0 and last else []),
        "  for (int64_t first = lo; first < hi; first += BLOCK) {",
        "    const int atoms = int(std::min<int64_t>(BLOCK, hi - first));",
        "    const int64_t* types = c.types + first;",
        "    for (int a = 0; a < atoms; ++a) {",
        *_edges(layer, back=False, slopes=False),
        f"      for (int e = 0; e < n; ++e) s.rows[e] = {source};",
        f"      {conv.name}::forward(n, s.ld, s.rows, radial, s.T, s.sums + a * {conv.sums.size});",
        "    }",
        f"    real* z = {z};",
        *linear(plan, f"out_{n}", conv.sums, layer.z, "s.sums", "z"),
    ]
    if layer.self_connection:
        lines += self_connection(plan, layer, f"m.h{n} + first * {plan.layers[n - 1].h.size}", "z")
    h = f"m.h{n + 1} + first * {layer.h.size}" if not last else "s.h"
    lines += [f"    real* h = {h};", *nonlinearity(layer, "z", "h")]
    if layer.residual:
        size = layer.h.size
        lines += [
            f"    const real* entered = m.h{n} + first * {size};",
            f"    for (int k = 0; k < atoms * {size}; k += LANES) store(h + k, load(h + k) + load(entered + k));",
        ]
    if not last:
        lines += _messages(plan, plan.layers[n + 1])
        return "\n".join([*lines, "  }", "}"])
    lines += readout(plan)
    if plan.config.zbl is not None:
        lines += [
            "    for (int a = 0; a < atoms; ++a)",
            "      zbl.of(c, m.graph, first + a, c.atomic_energy + first + a, c.gradients ? "
            "m.sums.own(omp_get_thread_num()) : nullptr, m.sums.virial, PER_CUTOFF, BY_TYPE ? TYPES : 0);",
        ]
    lines += ["    if (!c.gradients) continue;", "    real* dh = s.da0;", *_node_gradients(plan, layer)]
    if n == 0:  # the gradient in the sums of the only layer is not kept
        lines += _local(plan, layer)
    return "\n".join([*lines, "  }", "}"])


def _messages(plan: ModelPlan, layer: LayerPlan) -> list[str]:
    """What neighbours will gather in the next layer."""
    n, size = layer.n, layer.convolution.x.size
    lines = [
        f"    real* x = m.x{n} + first * {size};",
        *linear(plan, f"in_{n}", layer.convolution.x, layer.convolution.x, "h", "x"),
    ]
    return lines + _normed(plan, layer, "x")


def _normed(plan: ModelPlan, layer: LayerPlan, x: str) -> list[str]:
    if not layer.norm_by_type:
        return []
    size = layer.convolution.x.size
    return [
        "    for (int a = 0; a < atoms; ++a)",
        f"      for (int k = 0; k < {size}; k += LANES)",
        f"        store({x} + a * {size} + k, "
        f"load({x} + a * {size} + k) * W[{plan.places[f'norm_{layer.n}']} + types[a]]);",
    ]


def _node_gradients(plan: ModelPlan, layer: LayerPlan) -> list[str]:
    """From dh, the gradient in what leaves a layer, to those in its sums (m.d, s.sums for the first) and its input."""
    n, conv = layer.n, layer.convolution
    z = "s.z" if layer is plan.layers[-1] else f"m.z{n} + first * {layer.z.size}"
    sums = "s.sums" if n == 0 else f"m.d{n} + first * {conv.sums.size}"
    lines = [
        *nonlinearity_back(layer, z, "dh", "s.dz"),
        *linear_back(plan, f"out_{n}", conv.sums, layer.z, "s.dz", sums),
    ]
    if n == 0:
        return lines
    size = plan.layers[n - 1].h.size
    lines.append(f"    real* before = m.dh{n} + first * {size};")
    if layer.self_connection:
        lines += self_connection_back(plan, layer, "s.dz", "before")
    else:
        lines.append(f"    std::memset(before, 0, sizeof(real) * atoms * {size});")
    if layer.residual:
        lines.append(
            f"    for (int k = 0; k < atoms * {size}; k += LANES) store(before + k, load(before + k) + load(dh + k));"
        )
    return lines


def _local(plan: ModelPlan, layer: LayerPlan) -> list[str]:
    """Derivatives by the edges of the first layer, from the gradient in its sums (s.sums)."""
    conv = layer.convolution
    return [
        "    double* forces = m.sums.own(omp_get_thread_num());",
        "    for (int a = 0; a < atoms; ++a) {",
        *_edges(layer, back=False, slopes=True),
        "      for (int e = 0; e < n; ++e)",
        f"        s.rows[e] = W + {plan.places['sources']} + c.types[m.graph.col[start + e]] * {conv.x.size};",
        f"      {conv.name}::local(n, s.ld, s.rows, s.sums + a * {conv.sums.size}, radial, s.T, s.G);",
        *_gather(plan, layer, back=False),
        "      s.centre.finish(m.graph, p, forces, m.sums.virial);",
        "    }",
    ]


def backward(plan: ModelPlan, layer: LayerPlan) -> str:
    n, conv = layer.n, layer.convolution
    lines = [
        f"// layer {n}: derivatives by its edges"
        + (", by the features that enter it, and through the layer before" if n else ""),
        f"static void backward_{n}(const Call& c, Memory& m, Scratch& s, int64_t lo, int64_t hi) {{",
        "  const real* W = (const real*)c.weights;",
        f"  Radial{n} radial = radial_{n}(W, int(s.ld), s.radial);",
        *_derivative(plan),
        "  for (int64_t first = lo; first < hi; first += BLOCK) {",
        "    const int atoms = int(std::min<int64_t>(BLOCK, hi - first));",
        "    const int64_t* types = c.types + first;",
    ]
    if n == 0:
        lines += [
            f"    real* dh = m.dh1 + first * {layer.h.size};",
            *_node_gradients(plan, layer),
            *_local(plan, layer),
        ]
    else:
        size = conv.sums.size
        lines += [
            "    for (int a = 0; a < atoms; ++a) {",
            *_edges(layer, back=True, slopes=True),
            f"      for (int e = 0; e < n; ++e) s.rows[e] = m.d{n} + (size_t)m.graph.col[start + e] * {size};",
            f"      {conv.name}::backward(n, s.ld, m.x{n} + p * {conv.x.size}, s.rows, radial, s.T, "
            f"s.h + a * {conv.x.size}, s.G);",
            *_gather(plan, layer, back=True),
            "    }",
            *_normed(plan, layer, "s.h"),
            f"    real* dh = m.dh{n} + first * {plan.layers[n - 1].h.size};",
            *linear_back(plan, f"in_{n}", conv.x, conv.x, "s.h", "dh", add=True),
        ]
        if n > 1:
            lines += _node_gradients(plan, plan.layers[n - 1])
    return "\n".join([*lines, "  }", "}"])
