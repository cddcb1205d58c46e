// Radial weights of the edges of one centre, and their slopes: from a table, or from the network itself.

// Where edges are as shares of the cutoff: x = (knot + 1 - rest) / K.
struct Places {
  double* share;
  int32_t* knot;
  real* rest;
  Places from(int64_t first) const { return {share + first, knot + first, rest + first}; }
  void set(int64_t e, double x, int K) const {
    share[e] = x;
    const double place = (x >= 1.0 ? 1.0 : x) * K;
    const int below = place >= 0 ? std::min(int(place), K - 1) : 0;  // 0 for NaN, which rest carries on
    knot[e] = below;
    rest[e] = (x > 0) & (x < INFINITY) ? real(below + 1 - place) : real(NAN);  // atoms in one place have no direction
  }
  void move(int64_t e, int64_t to) const { share[to] = share[e], knot[to] = knot[e], rest[to] = rest[e]; }
};

// Cubic pieces between knots at x = 0, 1/K, ..., 1: four rows of W coefficients, of powers 0 to 3 of `rest`, so that
// the last piece ends at exactly 0.
template <int W> struct Table {
  const real* rows;
  int K;
  const int32_t* knot;
  const real* rest;
  static size_t scratch(int) { return 0; }
  Table(const real* rows_, int K_, int, void*) : rows(rows_), K(K_) {}
  void prepare(int, const Places& places, int64_t first, bool) { knot = places.knot + first, rest = places.rest + first; }
  const real* row(int e, int c) const { return rows + (size_t)knot[e] * (4 * W) + c; }
  vec value(int e, int c) const {
    const real *p = row(e, c), s = rest[e];
    return load(p) + s * (load(p + W) + s * (load(p + 2 * W) + s * load(p + 3 * W)));
  }
  void both(int e, int c, vec& r, vec& slope) const {
    const real *p = row(e, c), s = rest[e];
    const vec a = load(p + 3 * W), b = a * s + load(p + 2 * W), d = b * s + load(p + W);
    r = d * s + load(p), slope = (a * s + b) * s + d;
  }
  double per_share() const { return -K; }  // d(rest) / dx
};

// What a network of bases sees of a distance: (2 / r_c^2) u(x) / x sin(pi order x), u the polynomial envelope.
struct Basis {
  int count, p;
  double scale;
  const double* orders;
  void at(double x, real* values, real* slopes) const {
    const double inside = x < 1.0 ? 1.0 - x : x >= 1.0 ? 0.0 : x;
    double series = p * (p + 1) / 2.0, power = 1;
    for (int k = p - 2; k >= 0; --k) series = series * x + (k + 1) * (k + 2) / 2.0;
    for (int k = 1; k < p; ++k) power *= x;
    const double u = inside * inside * inside * series;
    const double du = -0.5 * p * (p + 1) * (p + 2) * power * inside * inside;
    for (int n = 0; n < count; ++n) {
      const double pi_n = 3.14159265358979323846 * orders[n], s = std::sin(pi_n * x), c = std::cos(pi_n * x);
      values[n] = real(scale * u / x * s);
      if (slopes) slopes[n] = real(scale * ((du - u / x) / x * s + u / x * pi_n * c));
    }
  }
};

// The network: matrices between `sizes`, SiLU between them; slopes go along as a second set of rows.
template <int W> struct Network {
  Basis basis;
  int layers;
  const int* sizes;  // multiples of LANES; sizes[layers] = W
  const real* const* weights;
  int n;
  real *a, *b, *out;
  const real** from;
  real** to;
  static int widest(int layers, const int* sizes) { return *std::max_element(sizes, sizes + layers); }
  static size_t scratch(int n, int layers, const int* sizes) {
    return 2 * n * ((2 * widest(layers, sizes) + W) * sizeof(real) + 2 * sizeof(real*)) + 256;
  }
  Network(Basis basis_, int layers_, const int* sizes_, const real* const* weights_, int most, void* memory)
      : basis(basis_), layers(layers_), sizes(sizes_), weights(weights_), n(0) {
    const size_t wide = widest(layers, sizes);
    from = (const real**)memory, to = (real**)(from + 2 * most);
    a = (real*)(to + 2 * most), b = a + 2 * most * wide, out = b + 2 * most * wide;
  }
  void prepare(int edges, const Places& places, int64_t first, bool slopes) {
    n = edges;
    const double* x = places.share + first;
    const int rows = slopes ? 2 * n : n;
    std::memset(a, 0, sizeof(real) * rows * sizes[0]);
    for (int e = 0; e < n; ++e)
      basis.at(x[e], a + (size_t)e * sizes[0], slopes ? a + (size_t)(n + e) * sizes[0] : nullptr);
    for (int l = 0; l < layers; ++l) {
      real* next = l + 1 == layers ? out : b;
      for (int r = 0; r < rows; ++r) from[r] = a + (size_t)r * sizes[l], to[r] = next + (size_t)r * sizes[l + 1];
      product(rows, from, to, sizes[l], weights[l], sizes[l + 1], false);
      if (l + 1 == layers) break;
      const size_t count = (size_t)n * sizes[l + 1];
      for (size_t k = 0; k < count; k += LANES) {
        const vec h = load(b + k);
        if (slopes) store(b + count + k, load(b + count + k) * Silu::slope(h));
        store(b + k, Silu::value(h));
      }
      std::swap(a, b);
    }
  }
  vec value(int e, int c) const { return load(out + (size_t)e * W + c); }
  void both(int e, int c, vec& r, vec& slope) const {
    r = value(e, c), slope = load(out + (size_t)(n + e) * W + c);
  }
  double per_share() const { return 1; }
};
