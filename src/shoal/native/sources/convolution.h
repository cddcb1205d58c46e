// The convolution of a batch and its derivatives by features, radial weights and harmonics, all given edge by edge.
// The rows that edges are grouped by are centres for sums, sources for gradients.
#include "groups.h"
constexpr int LD = MOST_EDGES + 16;

struct Call {
  int64_t n_centres, n_sources, n_edges, threads;
  const int64_t *centre, *source;
  // g: gradient in the sums; _t: tangents
  const real *g, *x, *radial, *harmonics, *x_t, *radial_t, *harmonics_t;
  // to_harmonics may be null
  real *sums, *to_x, *to_radial, *to_harmonics;
};

template <class Layer> struct Edges {
  real Y[Layer::HARMONICS * LD] = {}, T[(Layer::ANGLES + 1) * LD], T_t[(Layer::ANGLES + 1) * LD];
  real G[Layer::HARMONICS * LD];
  const real *near[MOST_EDGES], *near_t[MOST_EDGES], *radial[MOST_EDGES], *radial_t[MOST_EDGES];
  real* to_radial[MOST_EDGES];

  void angles(const real* harmonics, const int64_t* edge, int n, real* t) {
    for (int e = 0; e < n; ++e)
      for (int b = 1; b < Layer::HARMONICS; ++b) Y[b * LD + e] = harmonics[edge[e] * Layer::HARMONICS + b];
    Layer::angles((n + LANES - 1) / LANES * LANES, LD, Y, t);
  }
  void rows(const Call& c, const int64_t* edge, int n, const int64_t* index, const real* values, int width) {
    for (int e = 0; e < n; ++e) {
      near[e] = values + index[edge[e]] * width;
      radial[e] = c.radial + edge[e] * Layer::WEIGHTS;
    }
    angles(c.harmonics, edge, n, T);
  }
  void tangents(const Call& c, const int64_t* edge, int n) {
    for (int e = 0; e < n; ++e) radial_t[e] = c.radial_t + edge[e] * Layer::WEIGHTS;
    angles(c.harmonics_t, edge, n, T_t);
  }
};

struct Rows {
  const real* const* at;
  vec value(int e, int k) const { return load(at[e] + k); }
};

// whether all of an index that is no group's are within its rows
static bool within(const int64_t* index, int64_t n_edges, int64_t rows) {
  bool fits = true;
  for (int64_t e = 0; e < n_edges; ++e) fits &= uint64_t(index[e]) < uint64_t(rows);
  return fits;
}

// each returns whether all indices are within their rows
template <class Layer> static bool forward(const Call& c) {
  const Groups groups(c.centre, c.n_edges, c.n_centres);
  if (!groups.valid || !within(c.source, c.n_edges, c.n_sources)) return false;
  sweep<Edges<Layer>>(groups, c.threads, c.sums, Layer::SUMS, [&](Edges<Layer>& s, const int64_t* edge, int n, int64_t, real* to) {
    s.rows(c, edge, n, c.source, c.x, Layer::X);
    Layer::forward(n, LD, s.near, Rows{s.radial}, s.T, to);
  });
  return true;
}

template <class Layer> static bool forward_tangent(const Call& c) {
  const Groups groups(c.centre, c.n_edges, c.n_centres);
  if (!groups.valid || !within(c.source, c.n_edges, c.n_sources)) return false;
  sweep<Edges<Layer>>(groups, c.threads, c.sums, Layer::SUMS, [&](Edges<Layer>& s, const int64_t* edge, int n, int64_t, real* to) {
    s.rows(c, edge, n, c.source, c.x, Layer::X);
    s.tangents(c, edge, n);
    for (int e = 0; e < n; ++e) s.near_t[e] = c.x_t + c.source[edge[e]] * Layer::X;
    Layer::forward_tangent(n, LD, s.near, s.near_t, s.radial, s.radial_t, s.T, s.T_t, to);
  });
  return true;
}

template <class Layer, bool TANGENT> static bool backward(const Call& c) {
  const Groups groups(c.source, c.n_edges, c.n_sources);
  if (!groups.valid || !within(c.centre, c.n_edges, c.n_centres)) return false;
  sweep<Edges<Layer>>(groups, c.threads, c.to_x, Layer::X, [&](Edges<Layer>& s, const int64_t* edge, int n, int64_t row, real* to) {
    s.rows(c, edge, n, c.centre, c.g, Layer::SUMS);
    for (int e = 0; e < n; ++e) s.to_radial[e] = c.to_radial + edge[e] * Layer::WEIGHTS;
    real* G = c.to_harmonics ? s.G : nullptr;
    if (G) std::memset(G, 0, sizeof s.G);
    const real *x = c.x + row * Layer::X, *x_t = c.x_t + row * Layer::X;
    if constexpr (TANGENT) {
      s.tangents(c, edge, n);
      Layer::backward_tangent(n, LD, x, x_t, s.near, s.radial, s.radial_t, s.T, s.T_t, to, s.to_radial, G);
    } else {
      Layer::backward(n, LD, x, s.near, s.radial, s.T, to, s.to_radial, G);
    }
    if (G)
      for (int e = 0; e < n; ++e)
        for (int b = 0; b < Layer::HARMONICS; ++b) c.to_harmonics[edge[e] * Layer::HARMONICS + b] = G[b * LD + e];
  });
  return true;
}
