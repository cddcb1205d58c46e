// Lennard-Jones energies, forces and virials over packed neighbour rows; every pair is met from both its atoms.
// MODE says how they end at the cutoff: 0 cut off, 1 shifted, 2 switched off.
#include "rows.h"

namespace {

struct Parameters {
    double cutoff, switch_start;
    int64_t n_types;
    const double *epsilon, *sigma;  // (T, T)
};

template <bool typed, bool weighted>
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
    const double *x = images.x.data(), *y = images.y.data(), *z = images.z.data(), *weight = images.weight.data();
    const int32_t* type = images.type.data();
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads)
    for (int64_t i = 0; i < rows.n_atoms; i++) {
        const double xi = positions[3 * i], yi = positions[3 * i + 1], zi = positions[3 * i + 2];
        const double own = weighted ? weights[i] : 1.0;
        const int64_t first = typed ? types[i] * p.n_types : 0;
        const double *four_i = &four[first], *square_i = &squares[first], *end_i = &ends[first];
        const int32_t* neighbor = rows.neighbor;
        double energy = 0, fx = 0, fy = 0, fz = 0, xx = 0, xy = 0, xz = 0, yy = 0, yz = 0, zz = 0;
#pragma omp simd reduction(+ : energy, fx, fy, fz, xx, xy, xz, yy, yz, zz)
        for (int64_t k = rows.starts[i]; k < rows.starts[i + 1]; k++) {
            const int32_t m = neighbor[k], t = typed ? type[m] : 0;
            const double dx = x[m] - xi, dy = y[m] - yi, dz = z[m] - zi;
            const double squared = dx * dx + dy * dy + dz * dz, inverse = 1 / squared;
            const double a = square_i[t] * inverse, s6 = a * a * a;
            double phi = four_i[t] * (s6 * s6 - s6);
            double slope = -3 * four_i[t] * (2 * s6 * s6 - s6) * inverse;  // d phi / d squared
            if (MODE == 1) phi -= end_i[t];
            if (MODE == 2) {
                const double r = std::sqrt(squared), u = (r - p.switch_start) * width;
                const double v = u < 0 ? 0 : u > 1 ? 1 : u;
                const double factor = 1 - v * v * v * (10 - 15 * v + 6 * v * v);
                slope = slope * factor - phi * 15 * v * v * (1 - v) * (1 - v) * width / r;
                phi *= factor;
            }
            const bool beyond = squared >= reach;  // NaN is not, and stays NaN
            phi = beyond ? 0 : phi;
            slope = beyond ? 0 : slope;
            energy += phi;
            const double both = (weighted ? own + weight[m] : 2.0) * slope;
            fx += both * dx;
            fy += both * dy;
            fz += both * dz;
            xx += slope * dx * dx;
            xy += slope * dx * dy;
            xz += slope * dx * dz;
            yy += slope * dy * dy;
            yz += slope * dy * dz;
            zz += slope * dz * dz;
        }
        atomic[i] = 0.5 * energy;
        forces[3 * i] = fx;
        forces[3 * i + 1] = fy;
        forces[3 * i + 2] = fz;
        const double outer[9] = {xx, xy, xz, xy, yy, yz, xz, yz, zz};
        for (int k = 0; k < 9; k++) virial[9 * i + k] = -own * outer[k];
    }
}

}  // namespace

EXPORT void lennard_jones(const Rows* rows, const double* positions, const double* cell, const int64_t* types,
                          const double* weights, int64_t n_types, const double* epsilon, const double* sigma,
                          double cutoff, double switch_start, int threads, double* energy, double* forces,
                          double* virial, double* atomic) {
    static thread_local std::vector<double> scratch;
    scratch.resize(9 * rows->n_atoms);
    double* atomic_virial = scratch.data();
    threads = worth(threads, rows->n_atoms);
    const Parameters p{cutoff, switch_start, n_types, epsilon, sigma};
    Images& images = placed(*rows, positions, cell, threads);
    const bool typed = n_types > 1 || weights;
    if (typed) {
        images.type.assign(rows->n_images + 1, 0);
        for (int64_t m = 0; m < rows->n_images; m++) images.type[m] = int32_t(types[rows->owner[m]]);
    }
    if (weights) {
        images.weight.assign(rows->n_images + 1, 0);
        for (int64_t m = 0; m < rows->n_images; m++) images.weight[m] = weights[rows->owner[m]];
    }
    const auto run = weights ? sum_rows<true, true> : typed ? sum_rows<true, false> : sum_rows<false, false>;
    run(*rows, p, positions, types, weights, images, threads, atomic, forces, atomic_virial);
    sum_systems(*rows, atomic, atomic_virial, threads, energy, virial);
}
