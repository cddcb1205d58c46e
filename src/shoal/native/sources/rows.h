// What kernels of short-range potentials share: packed neighbour rows, images in place, sums over systems.
#define REAL double
#include "vectors.h"

constexpr double FAR_AWAY = 1e8;  // A, where the image is that fills rows up

// As Python lays it out: numbers and addresses of 8 bytes each.
struct Rows {
    int64_t n_atoms, n_systems, n_images;
    const int64_t *system_index, *starts;
    const int32_t *neighbor, *back, *owner;
    const double* shift;
};

struct alignas(32) Place {
    double x, y, z, weight;
};

// Where images are, the last one far from everything.
struct Images {
    std::vector<Place> places;
    std::vector<int32_t> type;
};

static inline Images& placed(const Rows& rows, const double* positions, const double* cell, const double* weights,
                             int threads) {
    static thread_local Images images;  // kept: fresh memory would cost more than filling it
    const int64_t n = rows.n_images;
    images.places.resize(n + 1);
    Place* places = images.places.data();
    places[n] = {FAR_AWAY, FAR_AWAY, FAR_AWAY, 0};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t m = 0; m < n; m++) {
        const int64_t i = rows.owner[m];
        const double *own = cell + 9 * rows.system_index[i], *shift = rows.shift + 3 * m, *r = positions + 3 * i;
        const auto moved = [&](int c) {
            return r[c] + (shift[0] * own[c] + shift[1] * own[3 + c] + shift[2] * own[6 + c]);
        };
        places[m] = {moved(0), moved(1), moved(2), weights ? weights[i] : 1};
    }
    return images;
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif

// As a copy, since the code for other widths is compiled too.
template <typename V>
static inline void put(vec& to, V v) {
    std::memcpy(&to, &v, std::min(sizeof(to), sizeof(v)));
}

// The places of LANES images, coordinate by coordinate: whole places are loaded and then transposed.
static inline void gather(const Place* places, const int32_t* number, vec& x, vec& y, vec& z, vec& weight) {
#ifdef SHUFFLES
    typedef double whole __attribute__((vector_size(32)));
    const auto at = [&](int l) { return *(const whole*)(places + number[l]); };
    if constexpr (LANES == 8) {
        const auto a = __builtin_shufflevector(at(0), at(4), 0, 1, 2, 3, 4, 5, 6, 7);
        const auto b = __builtin_shufflevector(at(1), at(5), 0, 1, 2, 3, 4, 5, 6, 7);
        const auto c = __builtin_shufflevector(at(2), at(6), 0, 1, 2, 3, 4, 5, 6, 7);
        const auto d = __builtin_shufflevector(at(3), at(7), 0, 1, 2, 3, 4, 5, 6, 7);
        const auto xz_ab = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
        const auto yw_ab = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
        const auto xz_cd = __builtin_shufflevector(c, d, 0, 8, 2, 10, 4, 12, 6, 14);
        const auto yw_cd = __builtin_shufflevector(c, d, 1, 9, 3, 11, 5, 13, 7, 15);
        const auto low = [](auto p, auto q) { return __builtin_shufflevector(p, q, 0, 1, 8, 9, 4, 5, 12, 13); };
        const auto high = [](auto p, auto q) { return __builtin_shufflevector(p, q, 2, 3, 10, 11, 6, 7, 14, 15); };
        put(x, low(xz_ab, xz_cd));
        put(y, low(yw_ab, yw_cd));
        put(z, high(xz_ab, xz_cd));
        put(weight, high(yw_ab, yw_cd));
        return;
    }
    if constexpr (LANES == 4) {
        const auto a = at(0), b = at(1), c = at(2), d = at(3);
        const auto xz_ab = __builtin_shufflevector(a, b, 0, 4, 2, 6), xz_cd = __builtin_shufflevector(c, d, 0, 4, 2, 6);
        const auto yw_ab = __builtin_shufflevector(a, b, 1, 5, 3, 7), yw_cd = __builtin_shufflevector(c, d, 1, 5, 3, 7);
        put(x, __builtin_shufflevector(xz_ab, xz_cd, 0, 1, 4, 5));
        put(y, __builtin_shufflevector(yw_ab, yw_cd, 0, 1, 4, 5));
        put(z, __builtin_shufflevector(xz_ab, xz_cd, 2, 3, 6, 7));
        put(weight, __builtin_shufflevector(yw_ab, yw_cd, 2, 3, 6, 7));
        return;
    }
#endif
    for (int l = 0; l < LANES; l++) {
        const Place& place = places[number[l]];
        x[l] = place.x, y[l] = place.y, z[l] = place.z, weight[l] = place.weight;
    }
}

static inline vec root(vec v) {
    for (int l = 0; l < LANES; l++) v[l] = std::sqrt(v[l]);
    return v;
}

// Energies (S) and, unless null, virials (S, 9) from those of atoms; whole eV, whose sums are exact, and the rest are
// summed apart.
static inline void sum_systems(const Rows& rows, const double* atomic, const double* atomic_virial, int threads,
                               double* energy, double* virial) {
    std::vector<int64_t> first(rows.n_systems + 1, 0);
    for (int64_t i = 0; i < rows.n_atoms; i++) first[rows.system_index[i] + 1]++;
    for (int64_t s = 0; s < rows.n_systems; s++) first[s + 1] += first[s];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t s = 0; s < rows.n_systems; s++) {
        double whole = 0, rest = 0, sums[9] = {};
        for (int64_t i = first[s]; i < first[s + 1]; i++) {
            const double rounded = std::nearbyint(atomic[i]);
            whole += rounded;
            rest += atomic[i] - rounded;
            for (int k = 0; virial && k < 9; k++) sums[k] += atomic_virial[9 * i + k];
        }
        energy[s] = whole + rest;
        if (virial) std::copy(sums, sums + 9, virial + 9 * s);
    }
}

// Threads worth starting.
static inline int worth(int threads, int64_t n_atoms) { return int(std::min<int64_t>(threads, 1 + n_atoms / 128)); }
