// Vectors of numbers as the compiler's own vector types: AVX-512, AVX2, NEON or SSE by what it builds for.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>
#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num() { return 0; }
static inline int omp_get_num_threads() { return 1; }
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))
#ifndef REAL
#define REAL float
#endif
typedef REAL real;
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
constexpr int LANES = VECTOR_BYTES / int(sizeof(real));
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef real vec_u __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real))));
static inline vec load(const real* p) { return *(const vec_u*)p; }
static inline void store(real* p, vec v) { *(vec_u*)p = v; }
static inline vec splat(real x) { return vec{} + x; }

// sums over the lanes of four vectors at once
typedef real quad __attribute__((vector_size(4 * sizeof(real))));
#if !defined(__clang__) && __GNUC__ < 12
static inline quad shuffled(quad a, quad b, int i, int j, int k, int l) {
  auto at = [&](int n) { return n < 4 ? a[n] : b[n - 4]; };
  return quad{at(i), at(j), at(k), at(l)};
}
#define SHUFFLE(a, b, i, j, k, l) shuffled(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#endif
static inline quad folded(vec v) {
  quad parts[LANES / 4];
  std::memcpy(parts, &v, sizeof v);
  quad sum = parts[0];
  for (int n = 1; n < LANES / 4; ++n) sum += parts[n];
  return sum;
}
static inline quad sums_of(vec a, vec b, vec c, vec d) {
  const quad p = folded(a), q = folded(b), r = folded(c), s = folded(d);
  const quad pq = SHUFFLE(p, q, 0, 4, 2, 6) + SHUFFLE(p, q, 1, 5, 3, 7);
  const quad rs = SHUFFLE(r, s, 0, 4, 2, 6) + SHUFFLE(r, s, 1, 5, 3, 7);
  return SHUFFLE(pq, rs, 0, 1, 4, 5) + SHUFFLE(pq, rs, 2, 3, 6, 7);
}
static inline real sum(vec a) {
  const quad q = folded(a);
  return (q[0] + q[2]) + (q[1] + q[3]);
}
