// Lennard-Jones energies, forces and virials over packed neighbour rows; every pair is met from both its atoms.
// MODE says how they end at the cutoff: 0 cut off, 1 shifted, 2 switched off.
#include "rows.h"

namespace {

struct Parameters {
    double cutoff, switch_start;
    int64_t n_types;
    const double *epsilon, *sigma;  // (T, T)
};

template <bool typed, bool weighted, bool strained>
void sum_rows(const Rows& rows, const Parameters& p, const double* positions, const int64_t* types,
              const double* weights, const Images& images, int threads, double* atomic, double* forces,
              double* virial) {
    const double reach = p.cutoff * p.cutoff, width = 1 / (p.cutoff - p.switch_start);
    const int64_t n_pairs = p.n_types * p.n_types;
    std::vector<double> four(n_pairs), squares(n_pairs), ends(n_pairs);  // 4 epsilon, sigma^2, phi(cutoff)
    for (int64_t k = 0; k < n_pairs; k++) {
        four[k] = 4 * p.epsilon[k];
        squares[k] = p.sigma[k] * p.sigma[k];
        const double s6 = std::pow(squares[k] / reach, 3);
        ends[k] = four[k] * (s6 * s6 - s6);
    }
    const Place* places = images.places.data();
    const int32_t* type = images.type.data();
    const vec zero{}, reaches = splat(reach);
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads)
    for (int64_t i = 0; i < rows.n_atoms; i++) {
        const double *r = positions + 3 * i, own = weighted ? weights[i] : 1.0;
        const int64_t first = typed ? types[i] * p.n_types : 0;
        vec four_i = splat(four[first]), square_i = splat(squares[first]), end_i = splat(ends[first]);
        vec energy{}, fx{}, fy{}, fz{}, xx{}, xy{}, xz{}, yy{}, yz{}, zz{};
        for (int64_t k = rows.starts[i]; k < rows.starts[i + 1]; k += LANES) {
            const int32_t* number = rows.neighbor + k;
            vec dx, dy, dz, weight;
            gather(places, number, dx, dy, dz, weight);
            dx -= r[0], dy -= r[1], dz -= r[2];
            if (typed)
                for (int l = 0; l < LANES; l++) {
                    const int64_t pair = first + type[number[l]];
                    four_i[l] = four[pair], square_i[l] = squares[pair], end_i[l] = ends[pair];
                }
            const vec squared = dx * dx + dy * dy + dz * dz, inverse = 1 / squared;
            const vec a = square_i * inverse, s6 = a * a * a;
            vec phi = four_i * (s6 * s6 - s6);
            vec slope = -3 * four_i * (2 * s6 * s6 - s6) * inverse;  // d phi / d squared
            if (MODE == 1) phi -= end_i;
            if (MODE == 2) {
                const vec length = root(squared), u = (length - p.switch_start) * width;
                const vec w = u < 0 ? zero : u, v = w > 1 ? zero + 1 : w;
                const vec factor = 1 - v * v * v * (10 - 15 * v + 6 * v * v);
                slope = slope * factor - phi * 15 * v * v * (1 - v) * (1 - v) * width / length;
                phi *= factor;
            }
            const auto beyond = squared >= reaches;  // NaN is not, and stays NaN
            phi = beyond ? zero : phi;
            slope = beyond ? zero : slope;
            energy += phi;
            const vec gx = slope * dx, gy = slope * dy, gz = slope * dz;
            if (weighted) {
                fx += (own + weight) * gx;
                fy += (own + weight) * gy;
                fz += (own + weight) * gz;
            } else {
                fx += gx;
                fy += gy;
                fz += gz;
            }
            if (!strained) continue;
            xx += gx * dx;
            xy += gx * dy;
            xz += gx * dz;
            yy += gy * dy;
            yz += gy * dz;
            zz += gz * dz;
        }
        const quad all = sums_of(energy, fx, fy, fz);
        atomic[i] = 0.5 * all[0];
        for (int k = 0; k < 3; k++) forces[3 * i + k] = (weighted ? 1 : 2) * all[1 + k];
        if (!strained) continue;
        const quad four_of = sums_of(xx, xy, xz, yy), two_of = sums_of(yz, zz, zero, zero);
        const double outer[6] = {four_of[0], four_of[1], four_of[2], four_of[3], two_of[0], two_of[1]};
        constexpr int place[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};
        for (int k = 0; k < 9; k++) virial[9 * i + k] = -own * outer[place[k]];
    }
}

}  // namespace

EXPORT void lennard_jones(const Rows* rows, const double* positions, const double* cell, const int64_t* types,
                          const double* weights, int64_t n_types, const double* epsilon, const double* sigma,
                          double cutoff, double switch_start, int threads, double* energy, double* forces,
                          double* virial, double* atomic) {
    static thread_local std::vector<double> scratch;
    if (virial) scratch.resize(9 * rows->n_atoms);
    double* atomic_virial = virial ? scratch.data() : nullptr;
    threads = worth(threads, rows->n_atoms);
    const Parameters p{cutoff, switch_start, n_types, epsilon, sigma};
    Images& images = placed(*rows, positions, cell, weights, threads);
    const bool typed = n_types > 1 || weights;
    if (typed) {
        images.type.assign(rows->n_images + 1, 0);
        for (int64_t m = 0; m < rows->n_images; m++) images.type[m] = int32_t(types[rows->owner[m]]);
    }
    const auto of = [&](auto strained) {
        if (weights) return sum_rows<true, true, strained>;
        return typed ? sum_rows<true, false, strained> : sum_rows<false, false, strained>;
    };
    const auto run = virial ? of(std::true_type{}) : of(std::false_type{});
    run(*rows, p, positions, types, weights, images, threads, atomic, forces, atomic_virial);
    sum_systems(*rows, atomic, atomic_virial, threads, energy, virial);
}
