// Matrix products of a few rows. Each row is summed in the same order whatever the rows beside it.
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int TILE_ROWS = 6, TILE_VECTORS = 2;
#else
constexpr int TILE_ROWS = 6, TILE_VECTORS = 4;
#endif

template <int R, int V>
static inline void tile(const real* const* x, real* const* y, int from, int K, const real* w, int N, bool add) {
  vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = add ? load(y[r] + from + v * LANES) : vec{};
  for (int k = 0; k < K; ++k) {
    vec weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load(w + (size_t)k * N + from + v * LANES);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += weight[v] * x[r][k];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(y[r] + from + v * LANES, sum[r][v]);
}

template <int V>
static inline void columns(int rows, const real* const* x, real* const* y, int from, int K, const real* w, int N,
                           bool add) {
  int r = 0;
  for (; r + TILE_ROWS <= rows; r += TILE_ROWS) tile<TILE_ROWS, V>(x + r, y + r, from, K, w, N, add);
  switch (rows - r) {
    case 5: tile<5, V>(x + r, y + r, from, K, w, N, add); break;
    case 4: tile<4, V>(x + r, y + r, from, K, w, N, add); break;
    case 3: tile<3, V>(x + r, y + r, from, K, w, N, add); break;
    case 2: tile<2, V>(x + r, y + r, from, K, w, N, add); break;
    case 1: tile<1, V>(x + r, y + r, from, K, w, N, add); break;
  }
}

// y[r] (N) = x[r] (K) w (K, N), or += with `add`; N a multiple of LANES
static void product(int rows, const real* const* x, real* const* y, int K, const real* w, int N, bool add) {
  int from = 0;
  for (; from + TILE_VECTORS * LANES <= N; from += TILE_VECTORS * LANES)
    columns<TILE_VECTORS>(rows, x, y, from, K, w, N, add);
  for (; from + 2 * LANES <= N; from += 2 * LANES) columns<2>(rows, x, y, from, K, w, N, add);
  for (; from + LANES <= N; from += LANES) columns<1>(rows, x, y, from, K, w, N, add);
}

// the components of one irrep of a block of atoms: `dim` rows of K side by side for each atom
static void mix(int atoms, int dim, const real* x, size_t x_stride, int K, const real* w, real* y, size_t y_stride,
                int N, bool add) {
  const real* from[BLOCK * MAX_DIM];
  real* to[BLOCK * MAX_DIM];
  for (int a = 0; a < atoms; ++a)
    for (int m = 0; m < dim; ++m) {
      from[a * dim + m] = x + a * x_stride + m * K;
      to[a * dim + m] = y + a * y_stride + m * N;
    }
  product(atoms * dim, from, to, K, w, N, add);
}

// the same with a matrix for each type, `size` numbers apart
static void mix_by_type(int atoms, const int64_t* types, int dim, const real* x, size_t x_stride, int K, const real* w,
                        size_t size, real* y, size_t y_stride, int N, bool add) {
  for (int a = 0; a < atoms;) {
    int end = a + 1;
    while (end < atoms && types[end] == types[a]) ++end;
    mix(end - a, dim, x + a * x_stride, x_stride, K, w + types[a] * size, y + a * y_stride, y_stride, N, add);
    a = end;
  }
}
