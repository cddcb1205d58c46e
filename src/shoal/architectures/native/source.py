"""The whole model as C++: positions to forces in one call.

Sweeps over the atoms, a barrier after each: every layer forward, the energy and its gradient in the last layer's sums,
every layer backward. Atoms are taken in blocks, so that matrices are multiplied with several rows.
"""

from __future__ import annotations

from itertools import pairwise

import torch

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
from shoal.native import shipped
from shoal.nn.convolution.native.emit import emit_convolution, emit_harmonics

INTERFACE = 1
"""To be raised when what passes between Python and a kernel changes: `Call` and the exported functions."""
BLOCK = 6
"""Atoms of a block: rows of a matrix product that share the loads of its matrix."""


def source_of(plan: ModelPlan) -> str:
    """The text of the kernel; the same for the same plan."""
    return "\n\n".join(
        [
            "// Made by Shoal from a NequIP configuration; see docs/performance.md.",
            "#define REAL " + ("float" if plan.dtype == torch.float32 else "double"),
            shipped("vectors.h"),
            shipped("activations.h"),
            f"constexpr int BLOCK = {BLOCK}, MAX_DIM = {2 * plan.config.l_max + 1};",
            shipped("dense.h"),
            shipped("radial.h"),
            shipped("message_passing.h"),
            _constants(plan),
            emit_harmonics(plan.config.l_max),
            *(emit_convolution(layer.convolution, gathers=layer.n > 0) for layer in plan.layers),
            *(_radial(plan, layer) for layer in plan.layers),
            _memory(plan),
            _scratch(plan),
            *(_forward(plan, layer) for layer in plan.layers),
            *(_backward(plan, layer) for layer in reversed(plan.layers) if len(plan.layers) > 1),
            _entry(plan),
        ]
    )


def _by_type(plan: ModelPlan) -> bool:
    return plan.config.cutoffs_by_types is not None


def _constants(plan: ModelPlan) -> str:
    values = iter(plan.exact_numbers.tolist())
    types = plan.n_types

    def array(name: str, count: int) -> str:
        return f"static const double {name}[{count}] = {{{', '.join(repr(next(values)) for _ in range(count))}}};"

    lines = [
        f"constexpr int TYPES = {types};",
        f"constexpr bool BY_TYPE = {'true' if _by_type(plan) else 'false'};  // cutoffs of pairs of types",
        array("SCALES", types),
        array("SHIFTS", types),
        array("PER_CUTOFF", types * types if _by_type(plan) else 1),
        array("NUMBERS", types),
        array("ORDERS", plan.config.num_bessels),
    ]
    if plan.config.zbl is not None:
        lines.append(f"static const ZBL zbl = {{NUMBERS, {plan.config.zbl.polynomial_cutoff_p}}};")
    return "\n".join(lines)


def _radial(plan: ModelPlan, layer: LayerPlan) -> str:
    """How a layer's radial weights are had, from the weights and memory for `most` edges."""
    n, name = layer.n, layer.convolution.name
    if plan.pieces is not None:
        return "\n".join(
            [
                f"typedef Table<{name}::WEIGHTS> Radial{n};",
                f"static Radial{n} radial_{n}(const real* W, int most, void* memory) {{",
                f"  return Radial{n}(W + {plan.places[f'table_{n}']}, {plan.pieces}, most, memory);",
                "}",
                f"static size_t radial_bytes_{n}(int most) {{ return Radial{n}::scratch(most); }}",
            ]
        )
    sizes = [*plan.radial_sizes, layer.convolution.n_weights]
    matrices = ", ".join(f"W + {plan.places[f'radial_{n}_{k}']}" for k in range(len(sizes) - 1))
    config = plan.config
    scale = f"{2 / config.cutoff**2!r}"
    return "\n".join(
        [
            f"typedef Network<{name}::WEIGHTS> Radial{n};",
            f"static const int radial_sizes_{n}[] = {{{', '.join(map(str, sizes))}}};",
            f"struct Matrices{n} {{ const real* at[{len(sizes) - 1}]; }};",
            f"static Radial{n} radial_{n}(const real* W, int most, void* memory) {{",
            f"  Matrices{n}* matrices = (Matrices{n}*)memory;",
            f"  *matrices = {{{{{matrices}}}}};",
            f"  return Radial{n}(Basis{{{config.num_bessels}, {config.polynomial_cutoff_p}, {scale}, ORDERS}}, "
            f"{len(sizes) - 1}, radial_sizes_{n}, matrices->at, most, (char*)memory + 64 * {1 + len(sizes) // 8});",
            "}",
            f"static size_t radial_bytes_{n}(int most) {{",
            f"  return 64 * {1 + len(sizes) // 8} + Radial{n}::scratch(most, {len(sizes) - 1}, radial_sizes_{n});",
            "}",
        ]
    )


def _memory(plan: ModelPlan) -> str:
    """What all threads share: records of all atoms."""
    records = []
    for layer in plan.layers[:-1]:
        records.append((f"z{layer.n}", layer.z.size))
    for before, layer in pairwise(plan.layers):
        records += [
            (f"h{layer.n}", before.h.size),
            (f"x{layer.n}", layer.convolution.x.size),
            (f"d{layer.n}", layer.convolution.sums.size),
            (f"dh{layer.n}", before.h.size),
        ]
    names = ", ".join(f"*{name}" for name, _ in records)
    return "\n".join(
        [
            "// z: before a layer's nonlinearity; h, x: features and messages that enter it; d: gradient in its sums",
            "struct Memory {",
            "  Graph graph;",
            "  Sums sums;",
            *([f"  real {names};"] if records else []),
            "  Memory(Arena& arena, int64_t n, int64_t edges, int threads)",
            "      : graph(arena, n, edges, BY_TYPE), sums(arena, n, threads) {",
            *(f"    {name} = arena.take<real>(n * {size});" for name, size in records),
            "  }",
            "};",
        ]
    )


def _scratch(plan: ModelPlan) -> str:
    """What each thread has: one centre's edges, one block's rows."""
    largest = [
        ("sums", max(layer.convolution.sums.size for layer in plan.layers)),
        ("z", max(layer.z.size for layer in plan.layers)),
        ("h", max(max(layer.h.size, layer.convolution.x.size) for layer in plan.layers)),
        ("dz", max(layer.z.size for layer in plan.layers)),
        *((f"{name}{k}", size) for k, size in enumerate(plan.readout_sizes) for name in ("a", "da")),
    ]
    angles = max(layer.convolution.n_angles for layer in plan.layers)
    harmonics = plan.layers[0].convolution.n_harmonics
    radial = ", ".join(f"radial_bytes_{layer.n}(most)" for layer in plan.layers)
    return "\n".join(
        [
            "struct Scratch {",
            "  size_t ld;",
            "  Centre centre;",
            "  real *Y, *T, *G;",
            "  const real** rows;",
            "  void* radial;",
            f"  real {', '.join(f'*{name}' for name, _ in largest)};",
            "  Scratch(Arena& arena, int most) : ld(most), centre(arena, most) {",
            f"    Y = arena.take<real>(ld * {harmonics}), T = arena.take<real>(ld * {max(angles, 1)});",
            f"    G = arena.take<real>(ld * {harmonics}), rows = arena.take<const real*>(ld);",
            f"    radial = arena.take<char>(std::max({{{radial}}}));",
            *(f"    {name} = arena.take<real>(BLOCK * {size});" for name, size in largest),
            "  }",
            "};",
        ]
    )


def _edges(plan: ModelPlan, layer: LayerPlan, *, back: bool, slopes: bool) -> list[str]:
    """The edges of atom p: `back`, those that start at it; `slopes`, radial slopes too."""
    name, sign = layer.convolution.name, "-1" if back else "1"
    places = "back" if back else "ahead"
    return [
        "      const int64_t p = first + a, start = c.offsets[p];",
        "      const int n = m.graph.count[p], full = (n + LANES - 1) / LANES * LANES;",
        f"      s.centre.take(m.graph, start, n, {sign}, real(radial.per_share() * PER_CUTOFF[0]));",
        "      harmonics(full, s.ld, s.centre.ux, s.centre.uy, s.centre.uz, s.Y);",
        f"      {name}::angles(full, s.ld, s.Y, s.T);",
        f"      radial.prepare(n, m.graph.{places}, start, {'true' if slopes else 'false'});",
    ]


def _per_length(plan: ModelPlan, *, back: bool) -> list[str]:
    """The derivative of the radial coordinate by the distance, for each edge; one number is there already."""
    if not _by_type(plan):
        return []
    pair = "c.types[q] * TYPES + c.types[p]" if back else "c.types[p] * TYPES + c.types[q]"
    return [
        "      for (int e = 0; e < n; ++e) {",
        "        const int64_t q = m.graph.col[start + e];",
        f"        s.centre.per_length[e] = real(radial.per_share() * PER_CUTOFF[{pair}]);",
        "      }",
    ]


def _finish(plan: ModelPlan, *, back: bool) -> list[str]:
    sign = "-1" if back else "1"
    return [
        *_per_length(plan, back=back),
        "      direction_gradient(full, s.ld, s.centre.ux, s.centre.uy, s.centre.uz, s.G, s.centre.gx, s.centre.gy, "
        "s.centre.gz);",
        f"      s.centre.finish(m.graph, p, start, s.G, {sign}, forces, m.sums.virial);",
    ]


def _forward(plan: ModelPlan, layer: LayerPlan) -> str:
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
        "  const real* W = c.weights;",
        f"  Radial{n} radial = radial_{n}(W, int(s.ld), s.radial);",
        "  for (int64_t first = lo; first < hi; first += BLOCK) {",
        "    const int atoms = int(std::min<int64_t>(BLOCK, hi - first));",
        "    const int64_t* types = c.types + first;",
        "    for (int a = 0; a < atoms; ++a) {",
        *_edges(plan, layer, back=False, slopes=False),
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
            f"    const real* before = m.h{n} + first * {size};",
            f"    for (int k = 0; k < atoms * {size}; k += LANES) store(h + k, load(h + k) + load(before + k));",
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
        lines += ["    double* forces = m.sums.own(omp_get_thread_num());", *_local(plan, layer)]
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
        "    for (int a = 0; a < atoms; ++a) {",
        *_edges(plan, layer, back=False, slopes=True),
        "      for (int e = 0; e < n; ++e)",
        f"        s.rows[e] = W + {plan.places['sources']} + c.types[m.graph.col[start + e]] * {conv.x.size};",
        f"      {conv.name}::local(n, s.ld, s.rows, s.sums + a * {conv.sums.size}, radial, s.T, s.G);",
        *_finish(plan, back=False),
        "    }",
    ]


def _backward(plan: ModelPlan, layer: LayerPlan) -> str:
    n, conv = layer.n, layer.convolution
    lines = [
        f"// layer {n}: derivatives by its edges"
        + (", by the features that enter it, and through the layer before" if n else ""),
        f"static void backward_{n}(const Call& c, Memory& m, Scratch& s, int64_t lo, int64_t hi, double* forces) {{",
        "  const real* W = c.weights;",
        f"  Radial{n} radial = radial_{n}(W, int(s.ld), s.radial);",
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
            *_edges(plan, layer, back=True, slopes=True),
            f"      for (int e = 0; e < n; ++e) s.rows[e] = m.d{n} + (size_t)m.graph.col[start + e] * {size};",
            f"      {conv.name}::backward(n, s.ld, m.x{n} + p * {conv.x.size}, s.rows, radial, s.T, "
            f"s.h + a * {conv.x.size}, s.G);",
            *_finish(plan, back=True),
            "    }",
            *_normed(plan, layer, "s.h"),
            f"    real* dh = m.dh{n} + first * {plan.layers[n - 1].h.size};",
            *linear_back(plan, f"in_{n}", conv.x, conv.x, "s.h", "dh", add=True),
        ]
        if n > 1:
            lines += _node_gradients(plan, plan.layers[n - 1])
    return "\n".join([*lines, "  }", "}"])


def _entry(plan: ModelPlan) -> str:
    """What Python calls."""
    last = plan.layers[-1].n
    gradient = [f"      backward_{n}(c, m, s, lo, hi, own);\n#pragma omp barrier" for n in range(last, -1, -1) if last]
    sweeps = [f"    forward_{n}(c, m, s, lo, hi);\n#pragma omp barrier" for n in range(last + 1)]
    return f"""\
static int64_t needed_bytes(const Call& c, int most) {{
  Arena arena(nullptr);
  Memory memory(arena, c.n_atoms, c.n_edges, int(c.threads));
  for (int t = 0; t < c.threads; ++t) Scratch scratch(arena, most);
  return int64_t(arena.used) + 256;
}}

EXPORT int64_t interface() {{ return {INTERFACE}; }}
EXPORT int64_t types() {{ return TYPES; }}

// 0, what out_of_range says, or less the bytes of the workspace it needs
EXPORT int64_t evaluate(const Call* call) {{
  const Call& c = *call;
  if (const int refused = out_of_range(c, TYPES)) return refused;
  const int wanted = int(c.threads), most = most_neighbors(c.n_atoms, c.offsets);
  if (const int64_t needed = needed_bytes(c, most); needed > c.workspace_bytes) return -needed;
  Arena arena((char*)((size_t(c.workspace) + 63) & ~size_t(63)));
  Memory m(arena, c.n_atoms, c.offsets[c.n_atoms], wanted);
  std::vector<Scratch> scratch;
  for (int t = 0; t < wanted; ++t) scratch.emplace_back(arena, most);
  int threads = 1;
#pragma omp parallel num_threads(wanted)
  {{
    const int thread = omp_get_thread_num(), here = omp_get_num_threads();
    if (thread == 0) threads = here;
    Scratch& s = scratch[thread];
    const int64_t lo = boundary(c, thread, here), hi = boundary(c, thread + 1, here);
    double* own = m.sums.own(thread);
    if (c.gradients) {{
      std::memset(own, 0, sizeof(double) * 3 * c.n_atoms);
      std::memset(m.sums.virial + 9 * lo, 0, sizeof(double) * 9 * (hi - lo));
    }}
    find_edges<TYPES, BY_TYPE, {plan.pieces or 1}>(c, m.graph, PER_CUTOFF, lo, hi);
#pragma omp barrier
{chr(10).join(sweeps)}
    if (c.gradients) {{
{chr(10).join(gradient)}
      join_forces(c, m.sums, here, lo, hi);
    }}
  }}
  join_systems(c, m.sums);
  return 0;
}}"""
