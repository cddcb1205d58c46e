"""The convolution of one layer as C++: summed over the neighbours of a centre, and its derivatives.

A path's coupling with the harmonics of an edge is a small matrix t[a, c], made once for each edge and used for all
channels; what is summed stays in registers. `Layer::forward` sums over a centre's neighbours. `Layer::backward` takes
the same edges from their other end: with the list symmetric, the gradient in the features of an atom gathers from its
neighbours, so nothing is scattered. `Layer::local` takes them from this end and gives derivatives by the edge alone.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.nn.convolution.native.plan import ConvolutionPlan
from shoal.nn.convolution.native.polynomial import harmonics, number
from shoal.nn.convolution.native.text import angles, factor, groups, lane_sums, sum_of, touched_rows

DIRECTION = "const vec x = s.sign * load(s.ux + e), y = s.sign * load(s.uy + e), z = s.sign * load(s.uz + e);"


def emit_direction_gradient(l_max: int) -> str:
    """`direction_gradient`: what derivatives G by harmonics of degrees 0 to l_max mean for the unit vectors."""
    polynomials = harmonics(l_max)
    lines = [
        f"// From derivatives G by the real spherical harmonics of degrees 0 to {l_max}, arrays of `ld` edges, to what",
        "// they are by the direction.",
        "static void direction_gradient(const Centre& s, size_t ld, const real* G) {",
        "  for (int e = 0; e < s.full; e += LANES) {",
        f"    {DIRECTION}",
        "    vec sx = {}, sy = {}, sz = {};",
    ]
    for k, polynomial in enumerate(polynomials[1:], 1):
        lines.append(f"    const vec g{k} = load(G + {k} * ld + e);")
        for axis, name in enumerate("xyz"):
            if (slope := polynomial.derivative(axis)).terms:
                lines.append(f"    s{name} += g{k} * ({slope.text()});")
    lines += [
        "    store(s.gx + e, sx), store(s.gy + e, sy), store(s.gz + e, sz);",
        "    (void)x, (void)y, (void)z;",
        "  }",
        "}",
    ]
    return "\n".join(lines)


def emit_convolution(plan: ConvolutionPlan, *, gathers: bool) -> str:
    """The struct of one layer; `gathers`: `backward`, else (the first layer, whose sources are types) `local`."""
    lines = [
        f"struct {plan.name} {{",
        f"  static constexpr int X = {plan.x.size}, SUMS = {plan.sums.size}, WEIGHTS = {plan.n_weights};",
        f"  static constexpr int ANGLES = {plan.n_angles}, HARMONICS = {plan.n_harmonics};",
        *_angles_of_directions(plan),
        *emit_forward(plan),
        *(_backward(plan) if gathers else _local(plan)),
        "};",
    ]
    return "\n".join(lines)


def _angles_of_directions(plan: ConvolutionPlan) -> list[str]:
    """`angles`, with the harmonics made of the unit vectors on the way."""
    return angles(
        plan, "const Centre& s, size_t ld", "s.full", [f"      {DIRECTION}"], [p.text() for p in harmonics(plan.l_max)]
    )


def emit_forward(plan: ConvolutionPlan) -> list[str]:
    return [
        "  // sums over the n edges of a centre; x: features of each neighbour",
        "  template <class Radial>",
        "  static void forward(int n, size_t ld, const real* const* x, const Radial& radial, const real* T,",
        "                      real* sums) {",
        *emit_sums(plan, _forward_path),
        "  }",
    ]


def emit_sums(plan: ConvolutionPlan, path: Callable[..., list[str]]) -> list[str]:
    """Sums over n edges by what `path` adds for one edge (plan, number of a path, names of its sums)."""
    lines = []
    for group in groups(plan, range(len(plan.paths))):
        outputs = {(n, c): k for k, (n, c) in enumerate((n, c) for n in group for c in range(plan.paths[n].target.dim))}
        lines += [
            f"    for (int h = 0; h < {plan.x.padded(plan.paths[group[0]].channels)}; h += LANES) {{",
            "      vec " + ", ".join(f"s{k} = {{}}" for k in outputs.values()) + ";",
            "      for (int e = 0; e < n; ++e) {",
            "        const real *t = T + e, *q = x[e] + h;",
            "        (void)t;",
        ]
        for n in group:
            lines += path(plan, n, outputs)
        lines.append("      }")
        lines += [f"      store(sums + {plan.slot(n, c)} + h, s{k});" for (n, c), k in outputs.items()]
        lines.append("    }")
    return lines


def _forward_path(plan: ConvolutionPlan, n: int, outputs: dict[tuple[int, int], int]) -> list[str]:
    path = plan.paths[n]
    sources, targets = range(path.source.dim), range(path.target.dim)
    block = plan.x.blocks[path.source]
    first = len(sources) <= len(targets)  # where the radial weight costs fewer products
    lines = [
        f"        {{  // {path.source} x Y{path.l} -> {path.target}",
        f"          const vec r = radial.value(e, {plan.weight(n)} + h);",
        *(f"          const vec x{a} = load(q + {block.at(a)}){' * r' if first else ''};" for a in sources),
    ]
    for c in targets:
        text = sum_of((f"x{a}", factor(plan, n, a, c)) for a in sources)
        lines.append(f"          s{outputs[n, c]} += {text if first else f'r * ({text})'};")
    return [*lines, "        }"]


def _backward(plan: ConvolutionPlan) -> list[str]:
    lines = [
        "  // the n edges that start at an atom, from its own features x and the gradients D of its neighbours' sums:",
        "  // gradient dx of its features, and by edge G[0] in the radial coordinate, G[b] in the harmonics",
        "  template <class Radial>",
        "  static void backward(int n, size_t ld, const real* x, const real* const* D, const Radial& radial,",
        "                       const real* T, real* dx, real* G) {",
        "    for (int b = 0; b < HARMONICS; ++b) std::memset(G + b * ld, 0, sizeof(real) * n);",
    ]
    for source, block in plan.x.blocks.items():
        numbers = [n for n, path in enumerate(plan.paths) if path.source == source]
        dim = range(source.dim)
        if not numbers:
            lines.append(
                f"    std::memset(dx + {block.start}, 0, sizeof(real) * {source.dim * block.stride});  // {source}"
            )
            continue
        # two vectors of channels at a time share the sums over lanes
        halves = range(2 if block.stride % (2 * plan.lanes) == 0 else 1)
        lines += [
            f"    for (int h = 0; h < {block.stride}; h += {len(halves)} * LANES) {{  // {source}",
            *(f"      const vec x{a}_{u} = load(x + {block.at(a)} + h + {u} * LANES);" for u in halves for a in dim),
            "      vec " + ", ".join(f"d{a}_{u} = {{}}" for u in halves for a in dim) + ";",
            "      for (int e = 0; e < n; ++e) {",
            "        const real *t = T + e, *q = D[e] + h;",
            "        (void)t;",
            *_edge_sums(plan, numbers, len(halves)),
            "      }",
            *(f"      store(dx + {block.at(a)} + h + {u} * LANES, d{a}_{u});" for u in halves for a in dim),
            "    }",
        ]
    return [*lines, "  }"]


def _local(plan: ConvolutionPlan) -> list[str]:
    ((_, block),) = plan.x.blocks.items()
    numbers = range(len(plan.paths))
    touched = [(0, "dr"), *touched_rows(plan, numbers)]
    rows = {b for b, _ in touched}
    lines = [
        "  // the n edges of a centre, from the features of its neighbours and the gradient D of its sums: by edge",
        "  // G[0] in the radial coordinate, G[b] in the harmonics; the sources are scalars",
        "  template <class Radial>",
        "  static void local(int n, size_t ld, const real* const* x, const real* D, const Radial& radial,",
        "                    const real* T, real* G) {",
        *(f"    std::memset(G + {b} * ld, 0, sizeof(real) * n);" for b in range(plan.n_harmonics) if b not in rows),
        "    for (int e = 0; e < n; ++e) {",
        "      const real* t = T + e;",
        "      (void)t;",
    ]
    lines += [
        "      vec " + ", ".join(f"{name} = {{}}" for _, name in touched) + ";",
        f"      for (int h = 0; h < {block.stride}; h += LANES) {{",
        "        const vec x0_0 = load(x[e] + h);",
        "        const real* q = D + h;",
        *(line for n in numbers for line in _edge_path(plan, n, 0, gathers=False)),
        "      }",
        *lane_sums(touched, "="),
        "    }",
    ]
    return [*lines, "  }"]


def _edge_sums(plan: ConvolutionPlan, numbers: list[int], halves: int) -> list[str]:
    """One edge's derivatives by paths of one source: in the features, in distance and direction."""
    touched = [(0, "dr"), *touched_rows(plan, numbers)]
    lines = ["        vec " + ", ".join(f"{name} = {{}}" for _, name in touched) + ";"]
    for n in numbers:
        for u in range(halves):
            lines += _edge_path(plan, n, u, gathers=True)
    return lines + lane_sums(touched, "+=")


def _edge_path(plan: ConvolutionPlan, n: int, u: int, *, gathers: bool) -> list[str]:
    path, coupling = plan.paths[n], plan.coupling(n)
    sources, targets = range(path.source.dim), range(path.target.dim)
    shift = f" + {u} * LANES" if u else ""
    lines = [
        f"        {{  // {path.source} x Y{path.l} -> {path.target}",
        f"          vec r, slope; radial.both(e, {plan.weight(n)} + h{shift}, r, slope);",
        *(f"          const vec c{c} = load(q + {plan.slot(n, c)}{shift});" for c in targets),
    ]
    total = []
    for a in sources:
        text = sum_of((f"c{c}", factor(plan, n, a, c)) for c in targets)
        lines.append(f"          const vec v{a} = {text};")
        if gathers:
            lines.append(f"          d{a}_{u} += v{a} * r;")
        total.append(f"v{a} * x{a}_{u}")
    lines.append(f"          dr += slope * ({' + '.join(total)});")
    if path.l:
        lines += [f"          const vec r{a} = x{a}_{u} * r;" for a in sources]
        by_harmonic: dict[int, dict[int, list[tuple[str, str]]]] = {}
        for (a, b, c), value in coupling.items():
            by_harmonic.setdefault(b, {}).setdefault(a, []).append((f"c{c}", number(value)))
        for b, rows in by_harmonic.items():
            text = " + ".join(f"r{a} * ({sum_of(terms)})" for a, terms in rows.items())
            lines.append(f"          g{path.l**2 + b} += {text};")
    return [*lines, "        }"]
