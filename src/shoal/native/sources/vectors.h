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
