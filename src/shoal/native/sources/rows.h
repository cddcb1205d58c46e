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

// Where images are, the last one far from everything.
struct Images {
    std::vector<double> x, y, z, weight;
    std::vector<int32_t> type;
};

static inline Images& placed(const Rows& rows, const double* positions, const double* cell, int threads) {
    static thread_local Images images;  // kept: fresh memory would cost more than filling it
    const int64_t n = rows.n_images;
    for (auto* column : {&images.x, &images.y, &images.z}) {
        column->resize(n + 1);
        (*column)[n] = FAR_AWAY;
    }
    double* columns[3] = {images.x.data(), images.y.data(), images.z.data()};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t m = 0; m < n; m++) {
        const int64_t i = rows.owner[m];
        const double *own = cell + 9 * rows.system_index[i], *shift = rows.shift + 3 * m;
        for (int c = 0; c < 3; c++)
            columns[c][m] = positions[3 * i + c] + (shift[0] * own[c] + shift[1] * own[3 + c] + shift[2] * own[6 + c]);
    }
    return images;
}

// Energies (S) and virials (S, 9) from those of atoms; whole eV, whose sums are exact, and the rest are summed apart.
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
            for (int k = 0; k < 9; k++) sums[k] += atomic_virial[9 * i + k];
        }
        energy[s] = whole + rest;
        std::copy(sums, sums + 9, virial + 9 * s);
    }
}

// Threads worth starting.
static inline int worth(int threads, int64_t n_atoms) { return int(std::min<int64_t>(threads, 1 + n_atoms / 128)); }
