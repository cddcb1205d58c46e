// Radial weights of the edges of one centre, and their slopes: from a table, or from the network itself.

// Cubic pieces between knots at x = 0, 1/K, ..., 1; a row holds W values, then W slopes (per knot distance).
template <int W> struct Table {
  const real* rows;
  int K;
  struct Knot {
    const real* row;
    real value[4], slope[4];
  };
  Knot* knots;
  static size_t scratch(int n) { return n * sizeof(Knot); }
  Table(const real* rows_, int K_, void* memory) : rows(rows_), K(K_), knots((Knot*)memory) {}
  void prepare(int n, const double* x, bool) {
    for (int e = 0; e < n; ++e) {
      const double place = (x[e] < 1.0 ? x[e] : x[e] >= 1.0 ? 1.0 : x[e]) * K;
      const int k = place >= 0 ? std::min(int(place), K - 1) : 0;  // 0 for NaN, which t carries on
      const real t = real(place - k), s = 1 - t;
      Knot& knot = knots[e];
      knot.row = rows + (size_t)k * 2 * W;
      knot.value[0] = s * s * (1 + 2 * t), knot.value[1] = t * s * s;
      knot.value[2] = t * t * (3 - 2 * t), knot.value[3] = -t * t * s;
      knot.slope[0] = -6 * t * s, knot.slope[1] = s * (1 - 3 * t);
      knot.slope[2] = 6 * t * s, knot.slope[3] = t * (3 * t - 2);
    }
  }
  vec value(int e, int c) const {
    const Knot& k = knots[e];
    const real* p = k.row + c;
    return load(p) * k.value[0] + load(p + W) * k.value[1] + load(p + 2 * W) * k.value[2] + load(p + 3 * W) * k.value[3];
  }
  void both(int e, int c, vec& r, vec& slope) const {
    const Knot& k = knots[e];
    const real* p = k.row + c;
    vec v = load(p);
    r = v * k.value[0], slope = v * k.slope[0];
    v = load(p + W);
    r += v * k.value[1], slope += v * k.slope[1];
    v = load(p + 2 * W);
    r += v * k.value[2], slope += v * k.slope[2];
    v = load(p + 3 * W);
    r += v * k.value[3], slope += v * k.slope[3];
  }
  double per_share() const { return K; }  // d(place) / dx
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
  void prepare(int edges, const double* x, bool slopes) {
    n = edges;
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
