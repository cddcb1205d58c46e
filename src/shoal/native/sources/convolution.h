// The convolution of a batch and its derivatives by features, radial weights and harmonics, all given edge by edge.
// Edges are taken in tasks of one row and at most MOST_EDGES: of one centre for sums, of one source for gradients.
// A task writes its row, or where a row has several, a part; parts are added in order. So nothing depends on threads.
constexpr int MOST_EDGES = 64, LD = MOST_EDGES + 16;

struct Call {
  int64_t n_centres, n_sources, n_edges, threads;
  const int64_t *centre, *source;
  // g: gradient in the sums; _t: tangents
  const real *g, *x, *radial, *harmonics, *x_t, *radial_t, *harmonics_t;
  // to_harmonics may be null
  real *sums, *to_x, *to_radial, *to_harmonics;
};

struct Task {
  int64_t row, first;
  int count;
  int64_t part;  // -1: the row itself
};

struct Groups {
  std::vector<int64_t> edge, starts;  // edges by row, in their order
  std::vector<Task> tasks;
  std::vector<int64_t> several;  // first task of each row that has more than one
  int64_t parts = 0;
  bool valid = true;
  Groups(const int64_t* index, int64_t n_edges, int64_t rows) : edge(n_edges), starts(rows + 1) {
    for (int64_t e = 0; e < n_edges; ++e) {
      if (index[e] < 0 || index[e] >= rows) {
        valid = false;
        return;
      }
      ++starts[index[e] + 1];
    }
    for (int64_t row = 0; row < rows; ++row) starts[row + 1] += starts[row];
    std::vector<int64_t> next(starts.begin(), starts.end() - 1);
    for (int64_t e = 0; e < n_edges; ++e) edge[next[index[e]]++] = e;
    tasks.reserve(rows + n_edges / MOST_EDGES);
    for (int64_t row = 0; row < rows; ++row) {
      const bool many = starts[row + 1] - starts[row] > MOST_EDGES;
      if (many) several.push_back(int64_t(tasks.size()));
      int64_t first = starts[row];
      do {
        const int count = int(std::min<int64_t>(MOST_EDGES, starts[row + 1] - first));
        tasks.push_back({row, first, count, many ? parts++ : -1});
        first += count;
      } while (first < starts[row + 1]);
    }
  }
};

template <class Layer> struct Edges {
  real Y[Layer::HARMONICS * LD] = {}, T[(Layer::ANGLES + 1) * LD], T_t[(Layer::ANGLES + 1) * LD];
  real G[Layer::HARMONICS * LD];
  const real *near[MOST_EDGES], *near_t[MOST_EDGES], *radial[MOST_EDGES], *radial_t[MOST_EDGES];
  real* to_radial[MOST_EDGES];

  void angles(const real* harmonics, const int64_t* edge, int n, real* t) {
    for (int e = 0; e < n; ++e)
      for (int b = 1; b < Layer::HARMONICS; ++b) Y[b * LD + e] = harmonics[edge[e] * Layer::HARMONICS + b];
    Layer::angles((n + LANES - 1) / LANES * LANES, LD, Y, t);
  }
  void rows(const Call& c, const int64_t* edge, int n, const int64_t* index, const real* values, int width) {
    for (int e = 0; e < n; ++e) {
      near[e] = values + index[edge[e]] * width;
      radial[e] = c.radial + edge[e] * Layer::WEIGHTS;
    }
    angles(c.harmonics, edge, n, T);
  }
  void tangents(const Call& c, const int64_t* edge, int n) {
    for (int e = 0; e < n; ++e) radial_t[e] = c.radial_t + edge[e] * Layer::WEIGHTS;
    angles(c.harmonics_t, edge, n, T_t);
  }
};

struct Rows {
  const real* const* at;
  vec value(int e, int k) const { return load(at[e] + k); }
};

template <class Layer, class Work>
static void sweep(const Groups& groups, const Call& c, real* out, int64_t width, Work work) {
  std::unique_ptr<real[]> parts(new real[groups.parts * width]);
  const int64_t n_tasks = int64_t(groups.tasks.size()), n_several = int64_t(groups.several.size());
#pragma omp parallel num_threads(int(std::min<int64_t>(c.threads, n_tasks / 8 + 1)))
  {
    std::unique_ptr<Edges<Layer>> edges(new Edges<Layer>);
#pragma omp for schedule(dynamic, 4)
    for (int64_t k = 0; k < n_tasks; ++k) {
      const Task& task = groups.tasks[k];
      real* to = task.part < 0 ? out + task.row * width : parts.get() + task.part * width;
      work(*edges, groups.edge.data() + task.first, task.count, task.row, to);
    }
#pragma omp for
    for (int64_t k = 0; k < n_several; ++k) {
      const Task* task = groups.tasks.data() + groups.several[k];
      const int64_t row = task->row;
      real* to = out + row * width;
      std::memset(to, 0, sizeof(real) * width);
      for (; task != groups.tasks.data() + n_tasks && task->row == row; ++task)
        for (int64_t j = 0; j < width; ++j) to[j] += parts[task->part * width + j];
    }
  }
}

// each returns whether all indices are within their rows
template <class Layer> static bool forward(const Call& c) {
  const Groups groups(c.centre, c.n_edges, c.n_centres);
  if (!groups.valid) return false;
  sweep<Layer>(groups, c, c.sums, Layer::SUMS, [&](Edges<Layer>& s, const int64_t* edge, int n, int64_t, real* to) {
    s.rows(c, edge, n, c.source, c.x, Layer::X);
    Layer::forward(n, LD, s.near, Rows{s.radial}, s.T, to);
  });
  return true;
}

template <class Layer> static bool forward_tangent(const Call& c) {
  const Groups groups(c.centre, c.n_edges, c.n_centres);
  if (!groups.valid) return false;
  sweep<Layer>(groups, c, c.sums, Layer::SUMS, [&](Edges<Layer>& s, const int64_t* edge, int n, int64_t, real* to) {
    s.rows(c, edge, n, c.source, c.x, Layer::X);
    s.tangents(c, edge, n);
    for (int e = 0; e < n; ++e) s.near_t[e] = c.x_t + c.source[edge[e]] * Layer::X;
    Layer::forward_tangent(n, LD, s.near, s.near_t, s.radial, s.radial_t, s.T, s.T_t, to);
  });
  return true;
}

template <class Layer, bool TANGENT> static bool backward(const Call& c) {
  const Groups groups(c.source, c.n_edges, c.n_sources);
  if (!groups.valid) return false;
  sweep<Layer>(groups, c, c.to_x, Layer::X, [&](Edges<Layer>& s, const int64_t* edge, int n, int64_t row, real* to) {
    s.rows(c, edge, n, c.centre, c.g, Layer::SUMS);
    for (int e = 0; e < n; ++e) s.to_radial[e] = c.to_radial + edge[e] * Layer::WEIGHTS;
    real* G = c.to_harmonics ? s.G : nullptr;
    if (G) std::memset(G, 0, sizeof s.G);
    const real *x = c.x + row * Layer::X, *x_t = c.x_t + row * Layer::X;
    if constexpr (TANGENT) {
      s.tangents(c, edge, n);
      Layer::backward_tangent(n, LD, x, x_t, s.near, s.radial, s.radial_t, s.T, s.T_t, to, s.to_radial, G);
    } else {
      Layer::backward(n, LD, x, s.near, s.radial, s.T, to, s.to_radial, G);
    }
    if (G)
      for (int e = 0; e < n; ++e)
        for (int b = 0; b < Layer::HARMONICS; ++b) c.to_harmonics[edge[e] * Layer::HARMONICS + b] = G[b * LD + e];
  });
  return true;
}
