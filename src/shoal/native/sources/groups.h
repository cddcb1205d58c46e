// Edges grouped by a row that they belong to, in tasks of one row and at most MOST_EDGES. A task writes its row, or where
// a row has several, a part; parts are added in order. So nothing depends on threads.
constexpr int MOST_EDGES = 64;

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

template <class Scratch, class Work>
static void sweep(const Groups& groups, int64_t threads, real* out, int64_t width, Work work) {
  std::unique_ptr<real[]> parts(new real[groups.parts * width]);
  const int64_t n_tasks = int64_t(groups.tasks.size()), n_several = int64_t(groups.several.size());
#pragma omp parallel num_threads(int(std::min<int64_t>(threads, n_tasks / 8 + 1)))
  {
    std::unique_ptr<Scratch> scratch(new Scratch);
#pragma omp for schedule(dynamic, 4)
    for (int64_t k = 0; k < n_tasks; ++k) {
      const Task& task = groups.tasks[k];
      real* to = task.part < 0 ? out + task.row * width : parts.get() + task.part * width;
      work(*scratch, groups.edge.data() + task.first, task.count, task.row, to);
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
