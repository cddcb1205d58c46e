// Rows out[e] = sum_j factors[e, j] table[piece[e], j], j < 4, and its gradients in table and factors.
#include "vectors.h"
#include "groups.h"

EXPORT void interpolate(int64_t n_edges, int64_t width, int64_t threads, const int64_t* piece, const real* table,
                        const real* factors, real* out) {
#pragma omp parallel for num_threads(int(std::min<int64_t>(threads, n_edges / 64 + 1)))
  for (int64_t e = 0; e < n_edges; ++e) {
    const real *a = table + 4 * width * piece[e], *b = a + width, *c = b + width, *d = c + width;
    const real *f = factors + 4 * e, p = f[0], q = f[1], r = f[2], s = f[3];
    real* to = out + e * width;
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) to[k] = p * a[k] + q * b[k] + r * c[k] + s * d[k];
  }
}

EXPORT void interpolate_factors(int64_t n_edges, int64_t width, int64_t threads, const int64_t* piece,
                                const real* table, const real* g, real* out) {
#pragma omp parallel for num_threads(int(std::min<int64_t>(threads, n_edges / 64 + 1)))
  for (int64_t e = 0; e < n_edges; ++e) {
    const real *a = table + 4 * width * piece[e], *b = a + width, *c = b + width, *d = c + width, *from = g + e * width;
    real p = 0, q = 0, r = 0, s = 0;
#pragma omp simd reduction(+ : p, q, r, s)
    for (int64_t k = 0; k < width; ++k) p += from[k] * a[k], q += from[k] * b[k], r += from[k] * c[k], s += from[k] * d[k];
    real* to = out + 4 * e;
    to[0] = p, to[1] = q, to[2] = r, to[3] = s;
  }
}

struct Nothing {};

EXPORT void interpolate_table(int64_t pieces, int64_t n_edges, int64_t width, int64_t threads, const int64_t* piece,
                              const real* factors, const real* g, real* out) {
  const Groups groups(piece, n_edges, pieces);
  if (!groups.valid) return;
  sweep<Nothing>(groups, threads, out, 4 * width, [&](Nothing&, const int64_t* edge, int n, int64_t, real* to) {
    std::memset(to, 0, sizeof(real) * 4 * width);
    real *a = to, *b = a + width, *c = b + width, *d = c + width;
    for (int e = 0; e < n; ++e) {
      const real *f = factors + 4 * edge[e], p = f[0], q = f[1], r = f[2], s = f[3], *from = g + edge[e] * width;
#pragma omp simd
      for (int64_t k = 0; k < width; ++k) a[k] += p * from[k], b[k] += q * from[k], c[k] += r * from[k], d[k] += s * from[k];
    }
  });
}
