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

// the first n lanes of a vector, zeros behind them
static inline vec before(vec a, int n) {
  static const struct Numbers {
    real of[LANES];
    Numbers() {
      for (int k = 0; k < LANES; ++k) of[k] = real(k);
    }
  } lane;
  return load(lane.of) < splat(real(n)) ? a : vec{};
}

// sums over the lanes of four vectors at once
typedef real quad __attribute__((vector_size(4 * sizeof(real))));
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE __builtin_shufflevector
template <int L, class V> struct Lanes;
template <class V> struct Lanes<2, V> {
  static quad sums(V a, V b, V c, V d) { return quad{a[0] + a[1], b[0] + b[1], c[0] + c[1], d[0] + d[1]}; }
};
template <class V> struct Lanes<4, V> {
  static quad sums(V a, V b, V c, V d) {
    const V ab = SHUFFLE(a, b, 0, 4, 2, 6) + SHUFFLE(a, b, 1, 5, 3, 7);
    const V cd = SHUFFLE(c, d, 0, 4, 2, 6) + SHUFFLE(c, d, 1, 5, 3, 7);
    return quad(SHUFFLE(ab, cd, 0, 1, 4, 5) + SHUFFLE(ab, cd, 2, 3, 6, 7));
  }
};
template <class V> struct Lanes<8, V> {
  static quad sums(V a, V b, V c, V d) {
    const V ab = SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    const V cd = SHUFFLE(c, d, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(c, d, 4, 5, 6, 7, 12, 13, 14, 15);
    // of each half of a, b and c, d what is left are pairs: a c | b d
    const V pairs = SHUFFLE(ab, cd, 0, 2, 8, 10, 4, 6, 12, 14) + SHUFFLE(ab, cd, 1, 3, 9, 11, 5, 7, 13, 15);
    const V all = pairs + SHUFFLE(pairs, pairs, 1, 0, 3, 2, 5, 4, 7, 6);
    return SHUFFLE(all, all, 0, 4, 2, 6);
  }
};
template <class V> struct Lanes<16, V> {
  static quad sums(V a, V b, V c, V d) {
#define LOW 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
    const V ab = SHUFFLE(a, b, LOW) + SHUFFLE(a, b, HIGH), cd = SHUFFLE(c, d, LOW) + SHUFFLE(c, d, HIGH);
#undef LOW
#undef HIGH
    const V four = SHUFFLE(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                   SHUFFLE(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    const V two = four + SHUFFLE(four, four, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    const V one = two + SHUFFLE(two, two, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    return SHUFFLE(one, one, 0, 4, 8, 12);
  }
};
static inline quad sums_of(vec a, vec b, vec c, vec d) { return Lanes<LANES, vec>::sums(a, b, c, d); }
#else
static inline real slow_sum(vec a) {
  real total = 0;
  for (int n = 0; n < LANES; ++n) total += a[n];
  return total;
}
static inline quad sums_of(vec a, vec b, vec c, vec d) {
  return quad{slow_sum(a), slow_sum(b), slow_sum(c), slow_sum(d)};
}
#endif
static inline real sum(vec a) { return sums_of(a, vec{}, vec{}, vec{})[0]; }
