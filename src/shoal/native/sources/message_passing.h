// What every message-passing kernel needs around its layers: edges from positions, edge gradients to forces and virial,
// sums over systems. All distances, energies and sums over atoms are float64.

#include "call.h"

// Hands out a stretch of memory, every piece on a cache line of its own.
struct Arena {
  char* base;
  size_t used = 0;
  explicit Arena(char* base_) : base(base_) {}
  template <class T> T* take(size_t count) {
    used = (used + 63) & ~size_t(63);
    T* piece = (T*)(base + used);
    used += count * sizeof(T);
    return piece;
  }
};

// What indexes memory must stay within it: 0 if it does, 1 if types do not, 2 if others do not.
static int out_of_range(const Call& c, int64_t types) {
  if (c.offsets[0] != 0 || c.offsets[c.n_atoms] != c.n_edges) return 2;
  bool wrong = false;
  for (int64_t p = 0; p < c.n_atoms; ++p) {
    if (uint64_t(c.types[p]) >= uint64_t(types)) return 1;
    wrong |= c.offsets[p] > c.offsets[p + 1] || uint64_t(c.system[p]) >= uint64_t(c.n_systems);
  }
  for (int64_t e = 0; e < c.n_edges; ++e) wrong |= uint64_t(c.neighbor[e]) >= uint64_t(c.n_atoms);
  return wrong ? 2 : 0;
}

static int most_neighbors(int64_t n_atoms, const int64_t* offsets) {
  int64_t most = 1;
  for (int64_t p = 0; p < n_atoms; ++p) most = std::max(most, offsets[p + 1] - offsets[p]);
  return int((most + 15) & ~int64_t(15));
}

// The first atom of a thread: threads get equally many edges and atoms.
static int64_t boundary(const Call& c, int thread, int threads) {
  if (thread == 0) return 0;
  if (thread == threads) return c.n_atoms;
  const double total = double(c.offsets[c.n_atoms]) + 8.0 * c.n_atoms, wanted = total * thread / threads;
  int64_t low = 0, high = c.n_atoms;
  while (low < high) {
    const int64_t p = (low + high) / 2;
    if (double(c.offsets[p]) + 8.0 * p < wanted) low = p + 1;
    else high = p;
  }
  return low;
}

// Edges within reach, those of atom p at offsets[p] .. offsets[p] + count[p], in the order of the list.
struct Graph {
  int32_t *count, *col;
  Places ahead, back;  // in the cutoff of the centre and in that of the neighbour
  real *r, *ux, *uy, *uz;
  Graph(Arena& arena, int64_t n_atoms, int64_t n_edges, bool two_cutoffs) {
    count = arena.take<int32_t>(n_atoms), col = arena.take<int32_t>(n_edges);
    ahead = back = places(arena, n_edges);
    if (two_cutoffs) back = places(arena, n_edges);
    r = arena.take<real>(n_edges), ux = arena.take<real>(n_edges);
    uy = arena.take<real>(n_edges), uz = arena.take<real>(n_edges);
  }
  static Places places(Arena& arena, int64_t n_edges) {
    return {arena.take<double>(n_edges), arena.take<int32_t>(n_edges), arena.take<real>(n_edges + 16)};
  }
};

// Where results gather: forces of each thread, virial and energy of each atom.
struct Sums {
  double *forces, *virial;
  int64_t n_atoms;
  Sums(Arena& arena, int64_t n_atoms_, int threads) : n_atoms(n_atoms_) {
    forces = arena.take<double>(size_t(threads) * n_atoms * 3), virial = arena.take<double>(n_atoms * 9);
  }
  double* own(int thread) { return forces + size_t(thread) * n_atoms * 3; }
};

// Edges of the atoms lo .. hi; CUTOFFS: reciprocal cutoffs (T, T), [centre][neighbour], or one number.
// PIECES: of the radial tables.
template <int TYPES, bool BY_TYPE, int PIECES>
static void find_edges(const Call& c, const Graph& g, const double* per_cutoff, int64_t lo, int64_t hi) {
  for (int64_t p = lo; p < hi; ++p) {
    const double *at = c.positions + 3 * p, *cell = c.cell + 9 * c.system[p];
    int64_t to = c.offsets[p];
    for (int64_t e = c.offsets[p]; e < c.offsets[p + 1]; ++e) {
      const int64_t q = c.neighbor[e], *s = c.shifts + 3 * e;
      const double *from = c.positions + 3 * q;
      const double a = double(s[0]), b = double(s[1]), d = double(s[2]);
      const double x = from[0] - at[0] + (a * cell[0] + b * cell[3] + d * cell[6]);
      const double y = from[1] - at[1] + (a * cell[1] + b * cell[4] + d * cell[7]);
      const double z = from[2] - at[2] + (a * cell[2] + b * cell[5] + d * cell[8]);
      const double r = std::sqrt(x * x + y * y + z * z);
      const double share = r * (BY_TYPE ? per_cutoff[c.types[p] * TYPES + c.types[q]] : per_cutoff[0]);
      const double back = BY_TYPE ? r * per_cutoff[c.types[q] * TYPES + c.types[p]] : share;
      if (share >= 1.0 && back >= 1.0 && r < INFINITY) continue;  // what is not finite goes on, to be seen
      const double inverse = 1.0 / r;
      g.col[to] = int32_t(q), g.ahead.set(to, share, PIECES);
      if (BY_TYPE) g.back.set(to, back, PIECES);
      g.r[to] = real(r), g.ux[to] = real(x * inverse), g.uy[to] = real(y * inverse), g.uz[to] = real(z * inverse);
      ++to;
    }
    g.count[p] = int32_t(to - c.offsets[p]);
  }
}

// Edges of one centre, filled up to whole vectors with harmless ones; turned round for those that start at it.
struct Centre {
  int n;
  size_t ld;
  real *ux, *uy, *uz, *r, *per_length, *gx, *gy, *gz;
  Centre(Arena& arena, int most) : n(0), ld(most) {
    for (real** each : {&ux, &uy, &uz, &r, &per_length, &gx, &gy, &gz}) *each = arena.take<real>(ld);
  }
  void take(const Graph& g, int64_t first, int count, real sign, real derivative) {
    n = count;
    const int full = (n + LANES - 1) / LANES * LANES;
    for (int e = 0; e < n; ++e) {
      ux[e] = sign * g.ux[first + e], uy[e] = sign * g.uy[first + e], uz[e] = sign * g.uz[first + e];
      r[e] = g.r[first + e], per_length[e] = derivative;
    }
    for (int e = n; e < full; ++e) ux[e] = 1, uy[e] = uz[e] = 0, r[e] = 1, per_length[e] = 0;
  }
  // Forces and virial from the derivatives G by distance (G[0], per unit of the radial coordinate) and, in gx, gy, gz,
  // by direction. sign 1: the edges of centre p; -1: those that start at p.
  void finish(const Graph& g, int64_t p, int64_t first, const real* G, double sign, double* forces, double* virial) {
    const int full = (n + LANES - 1) / LANES * LANES;
    vec v[9] = {};
    for (int e = 0; e < full; e += LANES) {
      const vec x = load(ux + e), y = load(uy + e), z = load(uz + e), length = load(r + e);
      const vec sx = load(gx + e), sy = load(gy + e), sz = load(gz + e);
      const vec inverse = real(1) / length, along = sx * x + sy * y + sz * z;
      const vec radial = load(G + e) * load(per_length + e) - along * inverse;
      const vec fx = radial * x + sx * inverse, fy = radial * y + sy * inverse, fz = radial * z + sz * inverse;
      store(gx + e, fx), store(gy + e, fy), store(gz + e, fz);
      if (e + LANES > n) break;
      add(v, length, x, y, z, fx, fy, fz);
    }
    double total[3] = {}, w[9];
    for (int k = 0; k < 9; ++k) w[k] = sum(v[k]);
    for (int e = n / LANES * LANES; e < n; ++e) {
      const real from[3] = {ux[e], uy[e], uz[e]}, to[3] = {gx[e], gy[e], gz[e]};
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) w[3 * a + b] += double(r[e] * from[a]) * to[b];
    }
    for (int e = 0; e < n; ++e) {
      double* f = forces + 3 * g.col[first + e];
      const double x = sign * gx[e], y = sign * gy[e], z = sign * gz[e];
      f[0] -= x, f[1] -= y, f[2] -= z;
      total[0] += x, total[1] += y, total[2] += z;
    }
    for (int k = 0; k < 3; ++k) forces[3 * p + k] += total[k];
    for (int k = 0; k < 9; ++k) virial[9 * p + k] -= w[k];
  }
  static void add(vec* v, vec length, vec x, vec y, vec z, vec fx, vec fy, vec fz) {
    const vec rx = length * x, ry = length * y, rz = length * z;
    v[0] += rx * fx, v[1] += rx * fy, v[2] += rx * fz;
    v[3] += ry * fx, v[4] += ry * fy, v[5] += ry * fz;
    v[6] += rz * fx, v[7] += rz * fy, v[8] += rz * fz;
  }
};

// Nuclear repulsion as shoal.nn.ZBL gives it: half a pair's energy to each end.
struct ZBL {
  const double* numbers;  // nuclear charge of each type
  int p;
  void of(const Call& c, const Graph& g, int64_t at, double* energy, double* forces, double* virial,
          const double* per_cutoff, int types) const {
    static const double part[4] = {0.02817, 0.28022, 0.50986, 0.18175}, decay[4] = {0.20162, 0.40290, 0.94229, 3.19980};
    const double zi = numbers[c.types[at]], weight = c.energy_weights ? c.energy_weights[at] : 1.0;
    for (int64_t e = c.offsets[at]; e < c.offsets[at] + g.count[at]; ++e) {
      const int64_t q = g.col[e];
      const double x = g.ahead.share[e];
      if (x >= 1.0) continue;
      const double zj = numbers[c.types[q]];
      const double inverse_cutoff = types ? per_cutoff[c.types[at] * types + c.types[q]] : per_cutoff[0];
      const double r = x / inverse_cutoff, a = (std::pow(zi, 0.23) + std::pow(zj, 0.23)) / 0.46850;
      double psi = 0, dpsi = 0;
      for (int k = 0; k < 4; ++k) {
        const double each = part[k] * std::exp(-decay[k] * a * r);
        psi += each, dpsi -= decay[k] * a * each;
      }
      double series = p * (p + 1) / 2.0, power = 1;
      for (int k = p - 2; k >= 0; --k) series = series * x + (k + 1) * (k + 2) / 2.0;
      for (int k = 1; k < p; ++k) power *= x;
      const double inside = 1 - x, u = inside * inside * inside * series;
      const double du = -0.5 * p * (p + 1) * (p + 2) * power * inside * inside * inverse_cutoff;
      const double front = 0.5 * 14.399645 * zi * zj / r;
      *energy += front * psi * u;
      if (!forces) continue;
      const double slope = weight * front * (dpsi * u + psi * du - psi * u / r);
      const double v[3] = {g.ux[e], g.uy[e], g.uz[e]};
      for (int k = 0; k < 3; ++k) {
        forces[3 * at + k] += slope * v[k], forces[3 * q + k] -= slope * v[k];
        for (int l = 0; l < 3; ++l) virial[9 * at + 3 * k + l] -= slope * r * v[k] * v[l];
      }
    }
  }
};

// Forces of the atoms lo .. hi from those of all threads.
static void join_forces(const Call& c, Sums& sums, int threads, int64_t lo, int64_t hi) {
  for (int64_t k = 3 * lo; k < 3 * hi; ++k) {
    double total = 0;
    for (int t = 0; t < threads; ++t) total += sums.own(t)[k];
    c.forces[k] = total;
  }
}

// Energies, virials and stresses of the systems. Whole eV, whose sums are exact, and what is left are summed apart.
static void join_systems(const Call& c, const Sums& sums) {
  double* whole = c.stress;  // not written yet: 9 numbers a system are more than the 1 needed
  for (int64_t s = 0; s < c.n_systems; ++s) c.energy[s] = 0, whole[9 * s] = 0;
  for (int64_t k = 0; k < 9 * c.n_systems; ++k) c.virial[k] = 0;
  for (int64_t p = 0; p < c.n_atoms; ++p) {
    const int64_t s = c.system[p];
    const double round = std::nearbyint(c.atomic_energy[p]);
    whole[9 * s] += round, c.energy[s] += c.atomic_energy[p] - round;
    if (c.gradients)
      for (int k = 0; k < 9; ++k) c.virial[9 * s + k] += sums.virial[9 * p + k];
  }
  for (int64_t s = 0; s < c.n_systems; ++s) {
    c.energy[s] += whole[9 * s];
    const double* h = c.cell + 9 * s;
    const double x = h[4] * h[8] - h[5] * h[7], y = h[5] * h[6] - h[3] * h[8], z = h[3] * h[7] - h[4] * h[6];
    const double volume = std::fabs(h[0] * x + h[1] * y + h[2] * z);
    double lengths = 1;
    for (int k = 0; k < 3; ++k)
      lengths *= std::sqrt(h[3 * k] * h[3 * k] + h[3 * k + 1] * h[3 * k + 1] + h[3 * k + 2] * h[3 * k + 2]);
    const bool flat = !(volume > 1e-6 * lengths);
    for (int k = 0; k < 9; ++k) c.stress[9 * s + k] = flat ? NAN : -c.virial[9 * s + k] / volume;
  }
}
