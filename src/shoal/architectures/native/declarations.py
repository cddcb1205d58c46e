"""What a kernel declares: constants, where its radial weights come from, the memory of all atoms and of a thread."""

from __future__ import annotations

from itertools import pairwise

from shoal.architectures.native.plan import LayerPlan, ModelPlan


def constants(plan: ModelPlan) -> str:
    values = iter(plan.exact_numbers.tolist())
    types = plan.n_types

    def array(name: str, count: int) -> str:
        return f"static const double {name}[{count}] = {{{', '.join(repr(next(values)) for _ in range(count))}}};"

    lines = [
        f"constexpr int TYPES = {types};",
        f"constexpr bool BY_TYPE = {'true' if plan.by_type else 'false'};  // cutoffs of pairs of types",
        array("SCALES", types),
        array("SHIFTS", types),
        array("PER_CUTOFF", types * types if plan.by_type else 1),
        array("NUMBERS", types),
        array("ORDERS", plan.config.num_bessels),
    ]
    if plan.config.zbl is not None:
        lines.append(f"static const ZBL zbl = {{NUMBERS, {plan.config.zbl.polynomial_cutoff_p}}};")
    return "\n".join(lines)


def radial_weights(plan: ModelPlan, layer: LayerPlan) -> str:
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


def memory(plan: ModelPlan) -> str:
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
            "  Memory(Arena& arena, const Call& c)",
            "      : graph(arena, c, BY_TYPE), sums(arena, c.n_atoms, int(c.threads)) {",
            *(f"    {name} = arena.take<real>(c.n_atoms * {size});" for name, size in records),
            "  }",
            "};",
        ]
    )


def scratch(plan: ModelPlan) -> str:
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
            "  real *T, *G;",
            "  const real** rows;",
            "  void* radial;",
            f"  real {', '.join(f'*{name}' for name, _ in largest)};",
            "  Scratch(Arena& arena, int most) : ld(most), centre(arena, most) {",
            f"    T = arena.take<real>(ld * {max(angles, 1)});",
            f"    G = arena.take<real>(ld * {harmonics}), rows = arena.take<const real*>(ld);",
            f"    radial = arena.take<char>(std::max({{{radial}}}));",
            *(f"    {name} = arena.take<real>(BLOCK * {size});" for name, size in largest),
            "  }",
            "};",
        ]
    )
