// What is made of a neighbour list: the part within a shorter cutoff, systems of several lists put together, and packed
// rows of images. Lists are CSR: edges offsets[i] to offsets[i + 1] are centred on atom i.
#ifdef __clang__
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")  // distances at the cutoff must be those of other programs, to the last bit
#endif
#include "vectors.h"

// Marks edges shorter than the cutoff: `places` (E) becomes 0, for others -1; `counts` (N + 1) the new offsets.
EXPORT void within_count(int64_t n_atoms, const int64_t* offsets, const int64_t* other, const int64_t* shifts,
                         const double* positions, const double* cell, const int64_t* system_index, double cutoff,
                         int threads, int64_t* places, int64_t* counts) {
    counts[0] = 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n_atoms; i++) {
        const double *r = positions + 3 * i, *own = cell + 9 * system_index[i];
        int64_t near = 0;
        for (int64_t e = offsets[i]; e < offsets[i + 1]; e++) {
            const double* there = positions + 3 * other[e];
            double squared = 0;
            for (int c = 0; c < 3; c++) {
                double translation = 0;
                for (int k = 0; k < 3; k++) translation += double(shifts[3 * e + k]) * own[3 * k + c];
                const double d = there[c] - r[c] + translation;
                squared += d * d;
            }
            places[e] = squared < cutoff * cutoff ? 0 : -1;
            near += places[e] + 1;
        }
        counts[i + 1] = near;
    }
    for (int64_t i = 0; i < n_atoms; i++) counts[i + 1] += counts[i];
}

// Writes the marked edges; `places` become their new numbers. `reverse` may be null, then so is `new_reverse`.
EXPORT void within_fill(int64_t n_atoms, const int64_t* offsets, const int64_t* other, const int64_t* shifts,
                        const int64_t* reverse, const int64_t* new_offsets, int threads, int64_t* places,
                        int64_t* edge_index, int64_t* new_shifts, int64_t* new_reverse) {
    const int64_t n_edges = new_offsets[n_atoms];
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n_atoms; i++) {
            int64_t at = new_offsets[i];
            for (int64_t e = offsets[i]; e < offsets[i + 1]; e++) {
                if (places[e] < 0) continue;
                edge_index[at] = i;
                edge_index[n_edges + at] = other[e];
                std::copy(shifts + 3 * e, shifts + 3 * e + 3, new_shifts + 3 * at);
                places[e] = at++;
            }
        }
        if (reverse) {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n_atoms; i++) {
                int64_t at = new_offsets[i];
                for (int64_t e = offsets[i]; at < new_offsets[i + 1]; e++)
                    if (places[e] == at) new_reverse[at++] = places[reverse[e]];
            }
        }
    }
}

// Copies systems of several lists. `lists` (L, 5): addresses of centre, neighbour, shifts, offsets, reverse; `blocks`
// (B, 4): a list, its first atom there, its atoms, its first atom here; `first_edges` (B) here. `offsets` (N + 1).
EXPORT void copy_blocks(int64_t n_blocks, const int64_t* blocks, const int64_t* first_edges, const int64_t* lists,
                        int64_t n_edges, int threads, int64_t* edge_index, int64_t* shifts, int64_t* offsets,
                        int64_t* reverse) {
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
    for (int64_t b = 0; b < n_blocks; b++) {
        const int64_t* block = blocks + 4 * b;
        const int64_t* list = lists + 5 * block[0];
        const auto column = [&](int k) { return reinterpret_cast<const int64_t*>(list[k]); };
        const int64_t *there = column(3) + block[1], n_atoms = block[2], atoms = block[3] - block[1];
        const int64_t from = there[0], to = there[n_atoms], here = first_edges[b], edges = here - from;
        for (int64_t e = from; e < to; e++) {
            edge_index[e + edges] = column(0)[e] + atoms;
            edge_index[n_edges + e + edges] = column(1)[e] + atoms;
            reverse[e + edges] = column(4)[e] + edges;
        }
        std::copy(column(2) + 3 * from, column(2) + 3 * to, shifts + 3 * here);
        for (int64_t i = 1; i <= n_atoms; i++) offsets[block[3] + i] = there[i] + edges;
    }
}

// An atom's images are where its neighbours see it: the shifts of its own row, negated. `image` (E) becomes the image
// among its atom's, `images` (N + 1) the first image of each atom, `starts` (N + 1) rows of multiples of `lanes`.
EXPORT void pack_count(int64_t n_atoms, const int64_t* offsets, const int64_t* shifts, int64_t lanes, int threads,
                       int32_t* image, int64_t* images, int64_t* starts) {
    images[0] = starts[0] = 0;
#pragma omp parallel num_threads(threads)
    {
        std::vector<int32_t> table;
        std::vector<int64_t> distinct;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n_atoms; i++) {
            const int64_t n = offsets[i + 1] - offsets[i];
            size_t size = 16;
            while (size < size_t(2 * n)) size *= 2;
            table.assign(size, -1);
            distinct.clear();
            for (int64_t e = offsets[i]; e < offsets[i + 1]; e++) {
                const int64_t* shift = shifts + 3 * e;
                size_t slot = size_t(shift[0]) * 73856093u ^ size_t(shift[1]) * 19349663u ^ size_t(shift[2]) * 83492791u;
                for (slot &= size - 1; table[slot] >= 0; slot = (slot + 1) & (size - 1)) {
                    const int64_t* known = shifts + 3 * distinct[table[slot]];
                    if (shift[0] == known[0] && shift[1] == known[1] && shift[2] == known[2]) break;
                }
                if (table[slot] < 0) {
                    table[slot] = int32_t(distinct.size());
                    distinct.push_back(e);
                }
                image[e] = table[slot];
            }
            images[i + 1] = int64_t(distinct.size());
            starts[i + 1] = (n + lanes - 1) / lanes * lanes;
        }
    }
    for (int64_t i = 0; i < n_atoms; i++) {
        images[i + 1] += images[i];
        starts[i + 1] += starts[i];
    }
}

// Rows of image numbers, filled up with the number of images, and the place of each edge's reverse in them; of each
// image its atom and shift.
EXPORT void pack_fill(int64_t n_atoms, const int64_t* offsets, const int64_t* other, const int64_t* shifts,
                      const int64_t* reverse, const int32_t* image, const int64_t* images, const int64_t* starts,
                      int threads, int32_t* neighbor, int32_t* back, int32_t* owner, double* shift) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n_atoms; i++) {
        const int64_t n = offsets[i + 1] - offsets[i];
        for (int64_t e = offsets[i]; e < offsets[i + 1]; e++) {
            const int64_t j = other[e], there = starts[j] + reverse[e] - offsets[j], m = images[i] + image[e];
            neighbor[there] = int32_t(m);
            back[there] = int32_t(starts[i] + e - offsets[i]);
            owner[m] = int32_t(i);
            for (int k = 0; k < 3; k++) shift[3 * m + k] = double(-shifts[3 * e + k]);
        }
        for (int64_t at = starts[i] + n; at < starts[i + 1]; at++) {
            neighbor[at] = int32_t(images[n_atoms]);
            back[at] = int32_t(at);
        }
    }
}
