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

// Waking a thread takes tens of microseconds, the work of so many radial weights.
constexpr int64_t WEIGHTS_OF_A_THREAD = 60000;

// The call with room for results that nobody asked for, and with as many threads as are worth waking.
static Call completed(Call c, int64_t weights_of_an_edge, Arena& arena) {
  c.threads = std::max<int64_t>(1, std::min(c.threads, c.n_edges * weights_of_an_edge / WEIGHTS_OF_A_THREAD));
  if (!c.atomic_energy) c.atomic_energy = arena.take<double>(c.n_atoms);
  if (!c.energy) c.energy = arena.take<double>(c.n_systems);
  if (!c.forces) c.forces = arena.take<double>(3 * c.n_atoms);
  if (!c.virial) c.virial = arena.take<double>(9 * c.n_systems);
  if (!c.stress) c.stress = arena.take<double>(9 * c.n_systems);
  return c;
}

constexpr int FILL = 16;  // a multiple of LANES
static int64_t filled(int64_t n) { return (n + FILL - 1) / FILL * FILL; }

static int most_neighbors(int64_t n_atoms, const int64_t* offsets) {
  int64_t most = 1;
  for (int64_t p = 0; p < n_atoms; ++p) most = std::max(most, offsets[p + 1] - offsets[p]);
  return int(filled(most));
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

// Edges within reach, those of atom p at start[p] .. start[p] + count[p], in the order of the list. Behind them whole
// vectors are filled up with harmless ones.
struct Graph {
  int64_t* start;
  int32_t *count, *col;
  Places ahead, back;  // in the cutoff of the centre and in that of the neighbour
  real *r, *ux, *uy, *uz;
  real *fx, *fy, *fz;  // gradients in the edge vectors, gathered from layer to layer
  Graph(Arena& arena, const Call& c, bool two_cutoffs) {
    const int64_t n_edges = c.n_edges + (FILL - 1) * c.n_atoms;
    start = arena.take<int64_t>(c.n_atoms), count = arena.take<int32_t>(c.n_atoms), col = arena.take<int32_t>(n_edges);
    ahead = back = places(arena, n_edges);
    if (two_cutoffs) back = places(arena, n_edges);
    for (real** each : {&r, &ux, &uy, &uz, &fx, &fy, &fz}) *each = arena.take<real>(n_edges);
  }
  static Places places(Arena& arena, int64_t n_edges) {
    return {arena.take<double>(n_edges), arena.take<int32_t>(n_edges), arena.take<real>(n_edges)};
  }
  void begin(const Call& c) const {
    int64_t next = 0;
    for (int64_t p = 0; p < c.n_atoms; ++p) start[p] = next, next += filled(c.offsets[p + 1] - c.offsets[p]);
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

// Edges of one centre, or turned round (sign -1) those that start at it.
struct Centre {
  int n, full;  // full: with those that fill up
  size_t ld;
  real sign;
  const real *ux, *uy, *uz, *r;
  real *per_length, *gx, *gy, *gz;
  double *x, *y, *z, *per_cutoff, *per_back;  // while edges are found
  Centre(Arena& arena, int most) : n(0), full(0), ld(most) {
    for (real** each : {&per_length, &gx, &gy, &gz}) *each = arena.take<real>(ld);
    for (double** each : {&x, &y, &z, &per_cutoff, &per_back}) *each = arena.take<double>(ld);
  }
  void take(const Graph& g, int64_t p, real sign_) {
    const int64_t first = g.start[p];
    n = g.count[p], full = (n + LANES - 1) / LANES * LANES, sign = sign_;
    ux = g.ux + first, uy = g.uy + first, uz = g.uz + first, r = g.r + first;
  }
  // of the radial coordinate by the distance, where all edges have the same
  void derivative(real value) {
    for (size_t e = 0; e < ld; ++e) per_length[e] = value;
  }
  // Gradients in the edge vectors from the derivatives G by distance (G[0], per unit of the radial coordinate) and, in
  // gx, gy, gz, by direction; FIRST: no layer has left any yet.
  template <bool FIRST> void gather(const Graph& g, int64_t p, const real* G) const {
    const int64_t first = g.start[p];
    real *fx = g.fx + first, *fy = g.fy + first, *fz = g.fz + first;
    for (int e = 0; e < full; e += LANES) {
      const vec a = load(ux + e), b = load(uy + e), c = load(uz + e), inverse = real(1) / load(r + e);
      const vec sx = load(gx + e), sy = load(gy + e), sz = load(gz + e);
      const vec along = sx * a + sy * b + sz * c, radial = load(G + e) * load(per_length + e) - sign * along * inverse;
      const vec across = inverse * sign;
      const vec tx = radial * a + sx * across, ty = radial * b + sy * across, tz = radial * c + sz * across;
      store(fx + e, FIRST ? tx : load(fx + e) + tx);
      store(fy + e, FIRST ? ty : load(fy + e) + ty);
      store(fz + e, FIRST ? tz : load(fz + e) + tz);
    }
  }
  // What the gradients in the edge vectors of centre p mean for forces and virial.
  void finish(const Graph& g, int64_t p, double* forces, double* virial) const {
    const int64_t first = g.start[p];
    const real *fx = g.fx + first, *fy = g.fy + first, *fz = g.fz + first;
    vec v[9] = {};
    double here[3] = {};  // exactly what the neighbours get, so that forces sum to zero
    for (int e = 0; e < full; e += LANES) {
      const vec length = load(r + e), a = length * load(ux + e), b = length * load(uy + e), c = length * load(uz + e);
      const vec f[3] = {before(load(fx + e), n - e), before(load(fy + e), n - e), before(load(fz + e), n - e)};
      for (int k = 0; k < 3; ++k) v[k] += a * f[k], v[3 + k] += b * f[k], v[6 + k] += c * f[k];
    }
    for (int e = 0; e < n; ++e) {
      double* f = forces + 3 * g.col[first + e];
      f[0] -= fx[e], f[1] -= fy[e], f[2] -= fz[e];
      here[0] += fx[e], here[1] += fy[e], here[2] += fz[e];
    }
    const quad low = sums_of(v[0], v[1], v[2], v[3]), high = sums_of(v[4], v[5], v[6], v[7]);
    for (int k = 0; k < 3; ++k) forces[3 * p + k] += here[k];
    for (int k = 0; k < 4; ++k) virial[9 * p + k] -= low[k], virial[9 * p + 4 + k] -= high[k];
    virial[9 * p + 8] -= sum(v[8]);
  }
};

// Edges of the atoms lo .. hi; per_cutoff: reciprocal cutoffs (T, T), [centre][neighbour], or one number.
// PIECES: of the radial tables.
template <int TYPES, bool BY_TYPE, int PIECES>
static void find_edges(const Call& c, const Graph& g, const Centre& s, const double* per_cutoff, int64_t lo,
                       int64_t hi) {
  for (int64_t p = lo; p < hi; ++p) {
    const double *at = c.positions + 3 * p, *cell = c.cell + 9 * c.system[p];
    const int64_t *neighbor = c.neighbor + c.offsets[p], *shift = c.shifts + 3 * c.offsets[p];
    const int n = int(c.offsets[p + 1] - c.offsets[p]);
    const int64_t first = g.start[p];
    for (int e = 0; e < n; ++e) {
      const double* from = c.positions + 3 * neighbor[e];
      const double i = double(shift[3 * e]), j = double(shift[3 * e + 1]), k = double(shift[3 * e + 2]);
      s.x[e] = from[0] - at[0] + (i * cell[0] + j * cell[3] + k * cell[6]);
      s.y[e] = from[1] - at[1] + (i * cell[1] + j * cell[4] + k * cell[7]);
      s.z[e] = from[2] - at[2] + (i * cell[2] + j * cell[5] + k * cell[8]);
      if (!BY_TYPE) continue;
      const int64_t here = c.types[p], there = c.types[neighbor[e]];
      s.per_cutoff[e] = per_cutoff[here * TYPES + there], s.per_back[e] = per_cutoff[there * TYPES + here];
    }
    const Places ahead = g.ahead.from(first), back = g.back.from(first);
    real *r = g.r + first, *ux = g.ux + first, *uy = g.uy + first, *uz = g.uz + first;
    int32_t* col = g.col + first;
    bool all = true;
#pragma GCC ivdep
    for (int e = 0; e < n; ++e) {
      const double x = s.x[e], y = s.y[e], z = s.z[e], length = std::sqrt(x * x + y * y + z * z), inverse = 1.0 / length;
      const double share = length * (BY_TYPE ? s.per_cutoff[e] : per_cutoff[0]);
      const double other = BY_TYPE ? length * s.per_back[e] : share;
      r[e] = real(length), ux[e] = real(x * inverse), uy[e] = real(y * inverse), uz[e] = real(z * inverse);
      col[e] = int32_t(neighbor[e]);
      ahead.set(e, share, PIECES);
      if (BY_TYPE) back.set(e, other, PIECES);
      all &= !((share >= 1.0) & (other >= 1.0) & (length < INFINITY));  // what is not finite goes on, to be seen
    }
    int to = n;
    if (!all) {
      to = 0;
      for (int e = 0; e < n; ++e) {
        const double other = BY_TYPE ? back.share[e] : ahead.share[e];
        if (ahead.share[e] >= 1.0 && other >= 1.0 && ahead.share[e] < INFINITY) continue;
        r[to] = r[e], ux[to] = ux[e], uy[to] = uy[e], uz[to] = uz[e], col[to] = col[e];
        ahead.move(e, to);
        if (BY_TYPE) back.move(e, to);
        ++to;
      }
    }
    g.count[p] = to;
    for (int e = to; e < int(filled(to)); ++e) {
      r[e] = ux[e] = 1, uy[e] = uz[e] = 0, col[e] = int32_t(p);
      ahead.set(e, 1.0, PIECES);
      if (BY_TYPE) back.set(e, 1.0, PIECES);
    }
  }
}

// Nuclear repulsion as shoal.nn.ZBL gives it: half a pair's energy to each end.
struct ZBL {
  const double* numbers;  // nuclear charge of each type
  int p;
  void of(const Call& c, const Graph& g, int64_t at, double* energy, double* forces, double* virial,
          const double* per_cutoff, int types) const {
    static const double part[4] = {0.02817, 0.28022, 0.50986, 0.18175}, decay[4] = {0.20162, 0.40290, 0.94229, 3.19980};
    const double zi = numbers[c.types[at]], weight = c.energy_weights ? c.energy_weights[at] : 1.0;
    for (int64_t e = g.start[at]; e < g.start[at] + g.count[at]; ++e) {
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
