// Neighbour lists of many systems in one call.
//
// Of each system the images of its atoms that can be within reach of its cell are sorted into a grid along the cell's
// axes, the last axis innermost, so that what is near an atom are a few runs of memory. Images are numbered by (atom,
// shift), and an atom looks only at those behind itself: every pair is found once, in order of (centre, neighbour,
// shift), and written into the rows of both its atoms; so each direction knows where the other is.
#ifdef __clang__
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")  // distances at the cutoff must be those of other programs, to the last bit
#endif
#include "vectors.h"
#include "call.h"

namespace {

constexpr int FARTHEST = 1 << 30;  // cells an atom may be outside its own
constexpr int64_t MOST_IMAGES = INT32_MAX;
constexpr int CHUNK = 128;  // atoms a thread takes at once where many share one system
constexpr int BLOCK = 256;

struct Pair {
    int32_t i, j, shift[3], rank_i, rank_j;  // ranks: places in the rows of i and j
};

struct Image {
    int32_t atom, shift[3];
};

// The images of one system in order of (atom, shift), and again in order of grid cells.
struct Grid {
    std::vector<double> u, wrapped;  // fractional and Cartesian positions in the cell
    std::vector<Image> images;
    std::vector<int32_t> home, bin, start, number;  // number: of the image, by place in the grid
    std::vector<double> placed, x, y, z;            // placed: by image; x, y, z: by place in the grid
    double low[3], scale[3], reach[3];
    int size[3];
    double lower, upper;  // squared distances that are surely within, and perhaps

    int along(int k, double u_k) const {
        const double t = (u_k - low[k]) * scale[k];
        return !(t > 0) ? 0 : t < size[k] ? int(t) : size[k] - 1;
    }
};

struct System {
    const double *positions, *cell;
    const uint8_t* pbc;
    int64_t first, n;
};

double norm(double x, double y, double z) { return std::sqrt(x * x + y * y + z * z); }

void cross(const double* a, const double* b, double* c) {
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

void normalize(double* a) {
    const double length = norm(a[0], a[1], a[2]);
    for (int k = 0; k < 3; k++) a[k] /= length;
}

// The cell with open axes as unit vectors normal to all others, inverted: columns of `inverse` give u_k = r . column k.
void axes(const System& system, double basis[9], double inverse[9]) {
    int open[3], periodic[3], n_open = 0, n_periodic = 0;
    std::copy(system.cell, system.cell + 9, basis);
    for (int k = 0; k < 3; k++) (system.pbc[k] ? periodic[n_periodic++] : open[n_open++]) = k;
    if (n_open == 3) {
        for (int k = 0; k < 9; k++) basis[k] = k % 4 == 0;
    } else if (n_open == 2) {
        const double* a = basis + 3 * periodic[0];
        double *b = basis + 3 * open[0], *c = basis + 3 * open[1], other[3] = {0, 0, 0};
        const double size[3] = {std::abs(a[0]), std::abs(a[1]), std::abs(a[2])};
        other[std::min_element(size, size + 3) - size] = 1;
        cross(a, other, b);
        normalize(b);
        cross(a, b, c);
        normalize(c);
    } else if (n_open == 1) {
        double* normal = basis + 3 * open[0];
        cross(basis + 3 * periodic[0], basis + 3 * periodic[1], normal);
        normalize(normal);
    }
    double rows[9];
    for (int k = 0; k < 3; k++) cross(basis + 3 * ((k + 1) % 3), basis + 3 * ((k + 2) % 3), rows + 3 * k);
    const double volume = basis[0] * rows[0] + basis[1] * rows[1] + basis[2] * rows[2];
    for (int k = 0; k < 3; k++)
        for (int c = 0; c < 3; c++) inverse[3 * c + k] = rows[3 * k + c] / volume;
}

enum Status { DONE = 0, TOO_FAR = 1, TOO_MANY = 2, NO_MEMORY = 3 };

// Positions wrapped along periodic axes; `wraps` (n, 3): cells between an atom and its wrapped place.
Status wrap(const System& system, const double* inverse, Grid& grid, int32_t* wraps, double& largest) {
    grid.u.resize(3 * system.n);
    grid.wrapped.resize(3 * system.n);
    for (int64_t i = 0; i < system.n; i++) {
        const double* r = system.positions + 3 * i;
        double* x = &grid.wrapped[3 * i];
        largest = std::max(largest, std::abs(r[0]) + std::abs(r[1]) + std::abs(r[2]));
        for (int c = 0; c < 3; c++) x[c] = r[c];
        for (int k = 0; k < 3; k++) {
            wraps[3 * i + k] = 0;
            if (!system.pbc[k]) continue;
            const double cells = std::floor(r[0] * inverse[k] + r[1] * inverse[3 + k] + r[2] * inverse[6 + k]);
            if (!(std::abs(cells) < FARTHEST)) return TOO_FAR;
            wraps[3 * i + k] = int32_t(cells);
            for (int c = 0; c < 3; c++) x[c] -= cells * system.cell[3 * k + c];
        }
        for (int k = 0; k < 3; k++)
            grid.u[3 * i + k] = x[0] * inverse[k] + x[1] * inverse[3 + k] + x[2] * inverse[6 + k];
    }
    return DONE;
}

// Images in order of (atom, shift).
Status reflect(const System& system, const double* low, const double* high, Grid& grid) {
    int64_t count = 0;
    const auto range = [&](int64_t i, int k, int& first, int& last) {
        first = system.pbc[k] ? int(std::ceil(low[k] - grid.u[3 * i + k])) : 0;
        last = system.pbc[k] ? int(std::floor(high[k] - grid.u[3 * i + k])) : 0;
    };
    for (int k = 0; k < 3; k++)
        if (system.pbc[k] && high[k] - low[k] > 1e6) return TOO_MANY;
    for (int64_t i = 0; i < system.n; i++) {
        int64_t own = 1;
        for (int k = 0, first, last; k < 3; k++) {
            range(i, k, first, last);
            own *= last - first + 1;
        }
        count += own;
        if (count > MOST_IMAGES) return TOO_MANY;
    }
    grid.images.resize(count);
    grid.placed.resize(3 * count);
    grid.bin.resize(count);
    grid.home.resize(system.n);
    const double* cell = system.cell;
    int64_t at = 0;
    for (int64_t i = 0; i < system.n; i++) {
        int first[3], last[3];
        for (int k = 0; k < 3; k++) range(i, k, first[k], last[k]);
        for (int a = first[0]; a <= last[0]; a++)
            for (int b = first[1]; b <= last[1]; b++)
                for (int c = first[2]; c <= last[2]; c++, at++) {
                    if (a == 0 && b == 0 && c == 0) grid.home[i] = int32_t(at);
                    grid.images[at] = {int32_t(i), {a, b, c}};
                    for (int d = 0; d < 3; d++)
                        grid.placed[3 * at + d] =
                            grid.wrapped[3 * i + d] + (a * cell[d] + b * cell[3 + d] + c * cell[6 + d]);
                }
    }
    return DONE;
}

// Images sorted by grid cell; there are no more cells than a few for each image, however far apart these are.
void sort_into_cells(const double* high, Grid& grid) {
    const int64_t count = int64_t(grid.images.size());
    double wanted[3];
    const double fineness[3] = {1.0, 1.0, 4.0};
    for (int k = 0; k < 3; k++) {
        const double span = high[k] - grid.low[k];
        wanted[k] = span < 1e300 ? std::min(std::max(1.0, fineness[k] * span / grid.reach[k]), 1e9) : 1.0;
    }
    while (wanted[0] * wanted[1] * wanted[2] > 4.0 * double(count) + 64) {
        double& most = *std::max_element(wanted, wanted + 3);
        most = std::max(1.0, 0.5 * most);
    }
    for (int k = 0; k < 3; k++) {
        grid.size[k] = int(wanted[k]);
        const double span = high[k] - grid.low[k];
        grid.scale[k] = span > 0 && span < 1e300 ? grid.size[k] / span : 0.0;
    }
    const int64_t cells = int64_t(grid.size[0]) * grid.size[1] * grid.size[2];
    grid.start.assign(cells + 1, 0);
    for (int64_t m = 0; m < count; m++) {
        const Image& image = grid.images[m];
        const double* u = &grid.u[3 * image.atom];
        const int a = grid.along(0, u[0] + image.shift[0]), b = grid.along(1, u[1] + image.shift[1]);
        grid.bin[m] = (a * grid.size[1] + b) * grid.size[2] + grid.along(2, u[2] + image.shift[2]);
        grid.start[grid.bin[m] + 1]++;
    }
    for (int64_t cell = 0; cell < cells; cell++) grid.start[cell + 1] += grid.start[cell];
    for (auto* column : {&grid.x, &grid.y, &grid.z}) column->resize(count);
    grid.number.resize(count);
    for (int64_t m = 0; m < count; m++) {
        const int32_t place = grid.start[grid.bin[m]]++;
        grid.number[place] = int32_t(m);
        grid.x[place] = grid.placed[3 * m];
        grid.y[place] = grid.placed[3 * m + 1];
        grid.z[place] = grid.placed[3 * m + 2];
    }
    for (int64_t cell = cells; cell > 0; cell--) grid.start[cell] = grid.start[cell - 1];
    grid.start[0] = 0;
}

Status prepare(const System& system, double cutoff, Grid& grid, int32_t* wraps) {
    double basis[9], inverse[9], low[3], high[3], largest = 0;
    axes(system, basis, inverse);
    if (const Status failed = wrap(system, inverse, grid, wraps, largest)) return failed;
    const double doubt = 1e-14 * (largest + cutoff);  // by which rounding may change a distance
    for (int k = 0; k < 3; k++) {
        grid.reach[k] =
            (cutoff + doubt) * norm(inverse[k], inverse[3 + k], inverse[6 + k]) * (1 + 1e-9) + 1e-12;
        low[k] = high[k] = system.n ? grid.u[k] : 0;
        for (int64_t i = 1; i < system.n; i++) {
            low[k] = std::min(low[k], grid.u[3 * i + k]);
            high[k] = std::max(high[k], grid.u[3 * i + k]);
        }
        if (system.pbc[k]) {
            low[k] -= grid.reach[k];
            high[k] += grid.reach[k];
        } else {
            grid.reach[k] += 1e-13 * largest;
        }
        grid.low[k] = low[k];
    }
    const double width = 2 * cutoff * doubt + doubt * doubt;
    grid.lower = cutoff * cutoff - width;
    grid.upper = cutoff * cutoff + width;
    if (const Status failed = reflect(system, low, high, grid)) return failed;
    sort_into_cells(high, grid);
    return DONE;
}

// r_j - r_i + shift @ cell of the given positions, in the order that NeighborList.edge_vectors adds.
bool within(const System& system, int64_t i, const Image& image, const int32_t* wraps, double cutoff) {
    const double *a = system.positions + 3 * i, *b = system.positions + 3 * image.atom;
    const int32_t *wraps_i = wraps + 3 * i, *wraps_j = wraps + 3 * int64_t(image.atom);
    double squared = 0;
    for (int c = 0; c < 3; c++) {
        double translation = 0;
        for (int k = 0; k < 3; k++)
            translation += double(int64_t(image.shift[k]) + wraps_i[k] - wraps_j[k]) * system.cell[3 * k + c];
        const double d = b[c] - a[c] + translation;
        squared += d * d;
    }
    return squared < cutoff * cutoff;
}

struct Near {
    std::vector<int32_t> number;
    std::vector<double> squared;
};

void sort(int32_t* numbers, int64_t n) {
    if (n > 64) return std::sort(numbers, numbers + n);
    for (int64_t m = 1; m < n; m++) {
        const int32_t number = numbers[m];
        int64_t at = m;
        for (; at > 0 && numbers[at - 1] > number; at--) numbers[at] = numbers[at - 1];
        numbers[at] = number;
    }
}

void find(const System& system, const Grid& grid, const int32_t* wraps, double cutoff, int64_t begin, int64_t end,
          Near& near, std::vector<Pair>& pairs) {
    double squared[BLOCK];
    for (int64_t i = begin; i < end; i++) {
        const int32_t home = grid.home[i];
        const double *u = &grid.u[3 * i], *r = &grid.wrapped[3 * i];
        int first[3], last[3];
        for (int k = 0; k < 3; k++) {
            first[k] = grid.along(k, u[k] - grid.reach[k]);
            last[k] = grid.along(k, u[k] + grid.reach[k]);
        }
        int64_t found = 0;
        for (int a = first[0]; a <= last[0]; a++)
            for (int b = first[1]; b <= last[1]; b++) {
                const int64_t row = (int64_t(a) * grid.size[1] + b) * grid.size[2];
                const int32_t run_end = grid.start[row + last[2] + 1];
                for (int32_t from = grid.start[row + first[2]]; from < run_end; from += BLOCK) {
                    const int n = std::min(BLOCK, run_end - from);
                    const double *x = &grid.x[from], *y = &grid.y[from], *z = &grid.z[from];
                    for (int m = 0; m < n; m++) {
                        const double dx = x[m] - r[0], dy = y[m] - r[1], dz = z[m] - r[2];
                        squared[m] = dx * dx + dy * dy + dz * dz;
                    }
                    if (int64_t(near.number.size()) < found + n) {
                        near.number.resize(2 * (found + BLOCK));
                        near.squared.resize(2 * (found + BLOCK));
                    }
                    const int32_t* number = &grid.number[from];
                    for (int m = 0; m < n; m++) {
                        near.number[found] = number[m];
                        near.squared[found] = squared[m];
                        found += (squared[m] <= grid.upper) & (number[m] > home);
                    }
                }
            }
        int64_t kept = 0;
        for (int64_t m = 0; m < found; m++) {
            const int32_t number = near.number[m];
            near.number[kept] = number;
            kept += near.squared[m] < grid.lower || within(system, i, grid.images[number], wraps, cutoff);
        }
        sort(near.number.data(), kept);
        for (int64_t m = 0; m < kept; m++) {
            const Image& image = grid.images[near.number[m]];
            pairs.push_back({int32_t(i), image.atom, {image.shift[0], image.shift[1], image.shift[2]}, 0, 0});
        }
    }
}

// Pairs of some atoms of a system: some of what one thread found.
struct Part {
    int64_t system, begin, end;
    int thread = 0;
    size_t from = 0, to = 0;
};

struct Search {
    std::vector<System> systems;
    std::vector<Part> parts;
    std::vector<std::vector<Pair>> found;
    std::vector<int32_t> wraps;
    std::vector<int64_t> offsets;
};

Status find(Search& search, Part& part, const Grid& grid, double cutoff, Near& near) {
    const System& system = search.systems[part.system];
    part.thread = omp_get_thread_num();
    std::vector<Pair>& pairs = search.found[part.thread];
    part.from = pairs.size();
    find(system, grid, &search.wraps[3 * system.first], cutoff, part.begin, part.end, near, pairs);
    part.to = pairs.size();
    return DONE;
}

// Places in the rows of both atoms, rows in order of (neighbour, shift); `counts`: of the system's atoms, zero before.
void rank(std::vector<Pair>& pairs, const Part& part, int64_t* counts) {
    for (size_t at = part.from; at < part.to;) {
        const int32_t i = pairs[at].i, j = pairs[at].j;
        size_t end = at + 1;
        while (end < part.to && pairs[end].i == i && pairs[end].j == j) end++;
        const int32_t same = int32_t(end - at);
        const int32_t row_i = int32_t(counts[i]) + (i == j ? same : 0), row_j = int32_t(counts[j]);
        for (int32_t t = 0; t < same; t++) {
            pairs[at + t].rank_i = row_i + t;
            pairs[at + t].rank_j = row_j + same - 1 - t;
        }
        counts[i] += same;
        counts[j] += same;
        at = end;
    }
}

// Null where `failure`, [status, system], says that a system cannot be done; `offsets` (N + 1) are filled in.
std::unique_ptr<Search> all_pairs(int64_t n_systems, const int64_t* atoms, const double* positions, const double* cell,
                                  const uint8_t* pbc, double cutoff, int threads, int64_t* offsets, int64_t* failure) {
    auto search = std::make_unique<Search>();
    const int64_t n_atoms = atoms[n_systems];
    threads = int(std::min<int64_t>(threads, 1 + n_atoms / CHUNK));
    search->found.resize(threads);
    search->wraps.resize(3 * n_atoms);
    std::vector<int64_t> large, small;
    for (int64_t s = 0; s < n_systems; s++) {
        const int64_t first = atoms[s], n = atoms[s + 1] - first;
        search->systems.push_back({positions + 3 * first, cell + 9 * s, pbc + 3 * s, first, n});
        const bool shared = threads > 1 && n > 2 * CHUNK && 2 * threads * n > n_atoms;
        (shared ? large : small).push_back(int64_t(search->parts.size()));
        for (int64_t begin = 0; begin == 0 || begin < n; begin += shared ? CHUNK : n + 1)
            search->parts.push_back({s, begin, shared ? std::min(n, begin + CHUNK) : n});
    }
    std::fill(offsets, offsets + n_atoms + 1, 0);
    failure[0] = DONE;
    const auto attempt = [&](int64_t s, const auto& work) {  // no exception may leave a parallel region
        Status status;
        try {
            status = work();
        } catch (const std::bad_alloc&) {
            status = NO_MEMORY;
        }
        if (status == DONE) return true;
#pragma omp critical
        if (failure[0] == DONE || s < failure[1]) failure[0] = status, failure[1] = s;
        return false;
    };
    for (const int64_t begin : large) {
        Grid grid;
        const int64_t s = search->parts[begin].system;
        const System& system = search->systems[s];
        int32_t* wraps = &search->wraps[3 * system.first];
        if (!attempt(s, [&] { return prepare(system, cutoff, grid, wraps); })) continue;
        const int64_t end = begin + (system.n + CHUNK - 1) / CHUNK;
#pragma omp parallel num_threads(threads)
        {
            Near near;
#pragma omp for schedule(dynamic)
            for (int64_t p = begin; p < end; p++)
                attempt(s, [&] { return find(*search, search->parts[p], grid, cutoff, near); });
        }
        for (int64_t p = begin; p < end; p++) {
            const Part& part = search->parts[p];
            rank(search->found[part.thread], part, offsets + 1 + system.first);
        }
    }
#pragma omp parallel num_threads(threads) if (small.size() > 1)
    {
        Grid grid;
        Near near;
#pragma omp for schedule(dynamic)
        for (int64_t k = 0; k < int64_t(small.size()); k++) {
            Part& part = search->parts[small[k]];
            const System& system = search->systems[part.system];
            const bool done = attempt(part.system, [&] {
                const Status status = prepare(system, cutoff, grid, &search->wraps[3 * system.first]);
                return status ? status : find(*search, part, grid, cutoff, near);
            });
            if (done) rank(search->found[part.thread], part, offsets + 1 + system.first);
        }
    }
    if (failure[0] != DONE) return nullptr;
    for (int64_t i = 0; i < n_atoms; i++) offsets[i + 1] += offsets[i];
    return search;
}

// The rows of what was found: neighbours (E), shifts (E, 3) and, where wanted, centres and the reverse of each (E).
void rows(const Search& search, const int64_t* offsets, int threads, int64_t* centre, int64_t* other, int64_t* shifts,
          int64_t* reverse) {
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (search.parts.size() > 1)
    for (int64_t p = 0; p < int64_t(search.parts.size()); p++) {
        const Part& part = search.parts[p];
        const int64_t first = search.systems[part.system].first;
        const std::vector<Pair>& pairs = search.found[part.thread];
        for (size_t at = part.from; at < part.to; at++) {
            const Pair& pair = pairs[at];
            const int64_t i = first + pair.i, j = first + pair.j;
            const int64_t there = offsets[i] + pair.rank_i, back = offsets[j] + pair.rank_j;
            other[there] = j;
            other[back] = i;
            if (centre) centre[there] = i, centre[back] = j;
            if (reverse) reverse[there] = back, reverse[back] = there;
            for (int k = 0; k < 3; k++) {
                const int64_t shift = int64_t(pair.shift[k]) + search.wraps[3 * i + k] - search.wraps[3 * j + k];
                shifts[3 * there + k] = shift;
                shifts[3 * back + k] = -shift;
            }
        }
    }
}

// Whether all is finite and the periodic rows of every cell span something: 1e-6 of the product of their lengths.
bool sound(int64_t n_systems, const int64_t* atoms, const double* positions, const double* cell, const uint8_t* pbc) {
    double zero = 0;  // times what is not finite is NaN
    for (int64_t k = 0; k < 3 * atoms[n_systems]; k++) zero += 0 * positions[k];
    for (int64_t k = 0; k < 9 * n_systems; k++) zero += 0 * cell[k];
    if (zero != 0) return false;
    for (int64_t s = 0; s < n_systems; s++) {
        double rows[9], lengths = 1, normal[3];
        int n = 0;
        for (int k = 0; k < 3; k++) {
            if (!pbc[3 * s + k]) continue;
            const double* row = cell + 9 * s + 3 * k;
            lengths *= norm(row[0], row[1], row[2]);
            std::copy(row, row + 3, rows + 3 * n++);
        }
        double spanned = lengths;
        if (n > 1) {
            cross(rows, rows + 3, normal);
            spanned = n == 2 ? norm(normal[0], normal[1], normal[2])
                             : std::abs(normal[0] * rows[6] + normal[1] * rows[7] + normal[2] * rows[8]);
        }
        if (n && !(spanned > 1e-6 * lengths)) return false;
    }
    return true;
}

}  // namespace

// Finds all pairs. `offsets` (N + 1) are filled in; a handle for `neighbors_fill` is returned, null where `failure`,
// [status, system], says that a system cannot be done.
EXPORT void* neighbors_search(int64_t n_systems, const int64_t* atoms, const double* positions, const double* cell,
                              const uint8_t* pbc, double cutoff, int threads, int64_t* offsets, int64_t* failure) {
    try {
        auto search = all_pairs(n_systems, atoms, positions, cell, pbc, cutoff, threads, offsets, failure);
        if (search) search->offsets.assign(offsets, offsets + atoms[n_systems] + 1);
        return search.release();
    } catch (const std::bad_alloc&) {  // no exception may leave C
        failure[0] = NO_MEMORY, failure[1] = 0;
        return nullptr;
    }
}

// Writes what was found, edge_index (2, E), shifts (E, 3) and reverse (E), and lets it go.
EXPORT void neighbors_fill(void* handle, int threads, int64_t* edge_index, int64_t* shifts, int64_t* reverse) {
    const std::unique_ptr<Search> search(static_cast<Search*>(handle));
    const std::vector<int64_t>& offsets = search->offsets;
    rows(*search, offsets.data(), threads, edge_index, edge_index + offsets.back(), shifts, reverse);
}

// Whether positions, cells and periodicity can be listed at all.
EXPORT int64_t geometry_sound(int64_t n_systems, const int64_t* atoms, const double* positions, const double* cell,
                              const uint8_t* pbc) {
    return sound(n_systems, atoms, positions, cell, pbc);
}

// Positions to results: the pairs are listed and handed to a model's kernel, with what else `call` says. What the
// kernel returns, or UNLISTED where some system cannot be listed.
EXPORT int64_t neighbors_evaluate(int64_t (*evaluate)(const Call*), const Call* call, const int64_t* atoms,
                                  const uint8_t* pbc, double cutoff, int threads) {
    constexpr int64_t BAD_LIST = 2, UNLISTED = 3;
    Call c = *call;
    if (atoms[0] != 0 || atoms[c.n_systems] != c.n_atoms) return BAD_LIST;
    for (int64_t s = 0; s < c.n_systems; s++)
        if (atoms[s] > atoms[s + 1]) return BAD_LIST;
    if (!sound(c.n_systems, atoms, c.positions, c.cell, pbc)) return UNLISTED;
    try {
        std::vector<int64_t> offsets(c.n_atoms + 1);
        int64_t failure[2];
        const auto search =
            all_pairs(c.n_systems, atoms, c.positions, c.cell, pbc, cutoff, threads, offsets.data(), failure);
        if (!search) return UNLISTED;
        c.n_edges = offsets.back();
        const std::unique_ptr<int64_t[]> edges(new int64_t[4 * c.n_edges + 1]);
        rows(*search, offsets.data(), threads, nullptr, edges.get(), edges.get() + c.n_edges, nullptr);
        c.offsets = offsets.data(), c.neighbor = edges.get(), c.shifts = edges.get() + c.n_edges;
        return evaluate(&c);
    } catch (const std::bad_alloc&) {  // no exception may leave C
        return UNLISTED;
    }
}
