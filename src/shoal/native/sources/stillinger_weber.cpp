// Stillinger-Weber energies, forces and virials over packed neighbour rows. The gradient of an atom's energy in its
// edges is kept for edges within the cutoff, so that the force on an atom is a sum over its own row and its reverse.
#include "rows.h"

namespace {

struct Parameters {
    double epsilon, sigma, cutoff, lambda, gamma, a, b;
};

struct Edge {
    int64_t place;
    double d[3], u[3], r, pair_decay, decay, slope;  // slope: d log(decay) / dr
};

struct Scratch {
    std::vector<double> gradient, virial;
    std::vector<uint8_t> near;
};

struct Distances {
    std::vector<double> x, y, z, r;
    std::vector<Edge> edges;
    std::vector<double> gradient;
};

// Edges of atom i within the cutoff.
void find(const Rows& rows, const Parameters& p, const double* r, int64_t i, const Images& images, uint8_t* near,
          Distances& own) {
    const int64_t begin = rows.starts[i], n = rows.starts[i + 1] - begin;
    for (auto* column : {&own.x, &own.y, &own.z, &own.r}) column->resize(n);
    double *dx = own.x.data(), *dy = own.y.data(), *dz = own.z.data(), *length = own.r.data();
    for (int64_t k = 0; k < n; k += LANES) {
        vec x, y, z, weight;
        gather(images.places.data(), rows.neighbor + begin + k, x, y, z, weight);
        x -= r[0], y -= r[1], z -= r[2];
        store(dx + k, x);
        store(dy + k, y);
        store(dz + k, z);
        store(length + k, root(x * x + y * y + z * z));
    }
    own.edges.clear();
    for (int64_t k = 0; k < n; k++) {
        near[begin + k] = !(length[k] >= p.cutoff);  // NaN is near, and stays NaN
        if (!near[begin + k]) continue;
        const double inverse = 1 / length[k], q = 1 / (length[k] - p.cutoff);
        own.edges.push_back({begin + k,
                             {dx[k], dy[k], dz[k]},
                             {dx[k] * inverse, dy[k] * inverse, dz[k] * inverse},
                             length[k],
                             std::exp(p.sigma * q),
                             std::exp(p.gamma * p.sigma * q),
                             -p.gamma * p.sigma * q * q});
    }
}

// Energy of an atom; `gradient` (edges, 3): of it in the edges.
double energy_of(const Parameters& p, const std::vector<Edge>& edges, double* gradient) {
    const int64_t n = int64_t(edges.size());
    double energy = 0;
    for (int64_t k = 0; k < n; k++) {
        const Edge& edge = edges[k];
        const double ratio = p.sigma / edge.r, strength = p.b * ratio * ratio * ratio * ratio;
        energy += 0.5 * p.a * (strength - 1) * edge.pair_decay;
        const double along =
            0.5 * p.a * edge.pair_decay * (-4 * strength / edge.r + (strength - 1) * edge.slope / p.gamma);
        for (int c = 0; c < 3; c++) gradient[3 * k + c] = along * edge.u[c];
    }
    for (int64_t k = 0; k < n; k++)
        for (int64_t l = k + 1; l < n; l++) {
            const Edge &a = edges[k], &b = edges[l];
            const double cosine = a.u[0] * b.u[0] + a.u[1] * b.u[1] + a.u[2] * b.u[2], bend = cosine + 1.0 / 3;
            const double strength = p.lambda * a.decay * b.decay, angle = strength * bend * bend;
            energy += angle;
            const double turn = 2 * strength * bend, turn_a = turn / a.r, turn_b = turn / b.r;
            for (int c = 0; c < 3; c++) {
                gradient[3 * k + c] += turn_a * (b.u[c] - cosine * a.u[c]) + angle * a.slope * a.u[c];
                gradient[3 * l + c] += turn_b * (a.u[c] - cosine * b.u[c]) + angle * b.slope * b.u[c];
            }
        }
    return p.epsilon * energy;
}

}  // namespace

EXPORT void stillinger_weber(const Rows* rows, const double* positions, const double* cell, const double* weights,
                             const double* parameters, int threads, double* energy, double* forces, double* virial,
                             double* atomic) {
    static thread_local Scratch kept;
    Scratch& scratch = kept;  // of the calling thread, in every thread
    const Parameters& p = *reinterpret_cast<const Parameters*>(parameters);
    const int64_t n_atoms = rows->n_atoms, n_places = rows->starts[n_atoms];
    threads = worth(threads, n_atoms);
    scratch.gradient.resize(3 * n_places);
    scratch.near.resize(n_places);
    scratch.virial.resize(9 * n_atoms);
    const Images& images = placed(*rows, positions, cell, nullptr, threads);
#pragma omp parallel num_threads(threads)
    {
        Distances own;
#pragma omp for schedule(dynamic, 64)
        for (int64_t i = 0; i < n_atoms; i++) {
            find(*rows, p, positions + 3 * i, i, images, scratch.near.data(), own);
            own.gradient.resize(3 * own.edges.size());
            atomic[i] = energy_of(p, own.edges, own.gradient.data());
            const double scale = p.epsilon * (weights ? weights[i] : 1.0);
            double force[3] = {}, outer[9] = {};
            for (size_t k = 0; k < own.edges.size(); k++) {
                const Edge& edge = own.edges[k];
                double* kept_gradient = &scratch.gradient[3 * edge.place];
                for (int c = 0; c < 3; c++) {
                    kept_gradient[c] = scale * own.gradient[3 * k + c];
                    force[c] += kept_gradient[c];
                }
                for (int a = 0; virial && a < 3; a++)
                    for (int b = 0; b < 3; b++) outer[3 * a + b] -= edge.d[a] * kept_gradient[b];
            }
            std::copy(force, force + 3, forces + 3 * i);
            std::copy(outer, outer + 9, &scratch.virial[9 * i]);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n_atoms; i++)
            for (int64_t k = rows->starts[i]; k < rows->starts[i + 1]; k++) {
                const int64_t back = rows->back[k];
                if (!(scratch.near[k] && scratch.near[back])) continue;
                for (int c = 0; c < 3; c++) forces[3 * i + c] -= scratch.gradient[3 * back + c];
            }
    }
    sum_systems(*rows, atomic, scratch.virial.data(), threads, energy, virial);
}
