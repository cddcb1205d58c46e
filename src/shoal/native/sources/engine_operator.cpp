// The operator by which engines of metatomic call a generated kernel: energies forward, gradients in positions and cells
// backward. A model brings its kernel along as libraries for several instruction sets; the best that runs is loaded once.
// NAMESPACE and VERSION (of the kernels' interface) are given by the compiler's flags.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "call.h"

namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A loaded library.
struct Kernel {
  int64_t (*evaluate)(const Call*);
  int64_t bytes_of_weights;
  std::mutex guard;
  std::vector<Tensor> idle;  // workspaces

  explicit Kernel(void* library) {
    auto number = [&](const char* name) { return ((int64_t(*)())symbol(library, name))(); };
    TORCH_CHECK(number("interface") == VERSION, "the model's kernel and its operator are of different versions of Shoal");
    evaluate = (int64_t(*)(const Call*))symbol(library, "evaluate");
    bytes_of_weights = number("bytes_of_weights");
  }
  static void* symbol(void* library, const char* name) {
    void* found = dlsym(library, name);
    TORCH_CHECK(found, "the model's kernel is damaged: it lacks ", name);
    return found;
  }
  // Fills in threads and workspace.
  void operator()(Call call) {
    call.threads = at::get_num_threads();
    Tensor workspace = at::empty({0}, at::kByte);
    {
      std::lock_guard<std::mutex> lock(guard);
      if (!idle.empty()) workspace = idle.back(), idle.pop_back();
    }
    int64_t refused;
    for (;;) {
      call.workspace = (char*)workspace.data_ptr(), call.workspace_bytes = workspace.numel();
      if ((refused = evaluate(&call)) >= 0) break;
      workspace = at::empty({-refused - refused / 8}, at::kByte);
    }
    TORCH_CHECK_VALUE(refused != 1, "atom types are out of range: the model does not know an element of the system");
    TORCH_CHECK_VALUE(!refused, "the neighbor list names atoms that are not in the systems");
    std::lock_guard<std::mutex> lock(guard);
    idle.push_back(workspace);
  }
};

bool runs(const std::string& target) {
  if (target == "plain") return true;
#if defined(__x86_64__)
  if (target == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  if (target == "avx2")
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#elif defined(__aarch64__)
  if (target == "neon") return true;
#endif
  return false;
}

void* load(const Tensor& library) {
  std::string path = (std::filesystem::temp_directory_path() / "shoal-kernel-XXXXXX").string();
  const int file = mkstemp(path.data());
  TORCH_CHECK(file >= 0, "cannot write the model's kernel to ", path, "; set TMPDIR");
  const char* from = (const char*)library.data_ptr();
  int64_t left = library.numel();
  while (left > 0) {
    const int64_t written = write(file, from, size_t(left));
    if (written <= 0) break;
    from += written, left -= written;
  }
  close(file);
  void* loaded = left ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char* why = left ? "no space left" : loaded ? "" : dlerror();
  const std::string said = why ? why : "";
  unlink(path.c_str());
  TORCH_CHECK(loaded, "the model's kernel does not load here: ", said, "; set TMPDIR to a folder that libraries may be in");
  return loaded;
}

// By the word for its text; `targets` name the instruction sets of the libraries, the widest first.
Kernel& kernel_of(const std::string& word, at::TensorList libraries, const std::vector<std::string>& targets) {
  static std::mutex guard;
  static std::map<std::string, std::unique_ptr<Kernel>> known;
  std::lock_guard<std::mutex> lock(guard);
  auto& kernel = known[word];
  if (!kernel) {
    TORCH_CHECK_VALUE(libraries.size() == targets.size(), "every library of a kernel has one target");
    size_t best = 0;
    while (best < targets.size() && !runs(targets[best])) ++best;
    TORCH_CHECK(best < targets.size(), "the model's kernel was built for other processors: export it again on this one");
    kernel = std::make_unique<Kernel>(load(libraries[best].contiguous()));
  }
  return *kernel;
}

// What the kernel reads, in its forms: rows of neighbours by centre, sorted in linear time.
struct Graph {
  Tensor positions, cell, offsets, neighbor, shifts, types, system, weights;

  static Graph of(const Tensor& positions, const Tensor& cell, const Tensor& edge_index, const Tensor& edge_cell_shift,
                  const Tensor& atom_types, const Tensor& system_index, const Tensor& weights) {
    TORCH_CHECK_VALUE(positions.dim() == 2 && edge_index.dim() == 2, "positions and edges must have two dimensions");
    const int64_t n_atoms = positions.size(0), n_edges = edge_index.size(1);
    TORCH_CHECK_VALUE(positions.scalar_type() == at::kDouble && cell.scalar_type() == at::kDouble,
                      "positions and cells must be float64");
    const bool fits = positions.size(1) == 3 && cell.dim() == 3 && cell.size(1) == 3 &&
                      cell.size(2) == 3 && edge_index.size(0) == 2 &&
                      edge_cell_shift.dim() == 2 && edge_cell_shift.size(0) == n_edges && edge_cell_shift.size(1) == 3 &&
                      atom_types.dim() == 1 && atom_types.size(0) == n_atoms && system_index.dim() == 1 &&
                      system_index.size(0) == n_atoms;
    TORCH_CHECK_VALUE(fits, "positions, cells, edges, shifts, types and systems do not fit together");
    const Tensor index = edge_index.contiguous(), given = edge_cell_shift.contiguous();
    const Tensor offsets = at::zeros({n_atoms + 1}, at::kLong), neighbor = at::empty({n_edges}, at::kLong);
    const Tensor shifts = at::empty({n_edges, 3}, at::kLong);
    const int64_t *centre = index.data_ptr<int64_t>(), *other = centre + n_edges, *from = given.data_ptr<int64_t>();
    int64_t *start = offsets.data_ptr<int64_t>(), *to = neighbor.data_ptr<int64_t>(), *shift = shifts.data_ptr<int64_t>();
    for (int64_t e = 0; e < n_edges; ++e) {
      TORCH_CHECK_VALUE(centre[e] >= 0 && centre[e] < n_atoms, "the neighbor list names atoms that are not in the systems");
      ++start[centre[e] + 1];
    }
    for (int64_t p = 0; p < n_atoms; ++p) start[p + 1] += start[p];
    std::vector<int64_t> next(start, start + n_atoms);
    for (int64_t e = 0; e < n_edges; ++e) {
      const int64_t place = next[centre[e]]++;
      to[place] = other[e];
      for (int k = 0; k < 3; ++k) shift[3 * place + k] = from[3 * e + k];
    }
    return {positions.contiguous(), cell.contiguous(), offsets, neighbor, shifts, atom_types.contiguous(),
            system_index.contiguous(), weights.contiguous()};
  }

  // Energies (N,); with `forces` (N, 3) and `virial` (S, 3, 3) also these, of the atoms weighted with energy_weights.
  Tensor evaluate(Kernel& kernel, const Tensor& energy_weights = {}, const Tensor& forces = {},
                  const Tensor& virial = {}) const {
    const int64_t n_atoms = positions.size(0), n_systems = cell.size(0);
    TORCH_CHECK(int64_t(weights.nbytes()) == kernel.bytes_of_weights, "the model's kernel and weights do not belong together");
    const Tensor atomic = at::empty({n_atoms}, at::kDouble);
    auto numbers = [](const Tensor& t) { return t.defined() ? t.data_ptr<double>() : nullptr; };
    auto whole = [](const Tensor& t) { return t.data_ptr<int64_t>(); };
    Call call{};
    call.n_atoms = n_atoms, call.n_systems = n_systems, call.n_edges = neighbor.size(0), call.gradients = forces.defined();
    call.positions = numbers(positions), call.cell = numbers(cell), call.offsets = whole(offsets);
    call.neighbor = whole(neighbor), call.shifts = whole(shifts), call.types = whole(types), call.system = whole(system);
    call.energy_weights = numbers(energy_weights), call.weights = weights.data_ptr();
    call.atomic_energy = numbers(atomic), call.forces = numbers(forces), call.virial = numbers(virial);
    kernel(call);
    return atomic;
  }
};

// Gradients in positions and cells of the weighted energies. They have no derivatives themselves: who asks for these is
// told so, which is why positions and cells are among the arguments.
struct Gradients : torch::autograd::Function<Gradients> {
  static variable_list forward(AutogradContext*, const Tensor& energy_weights, const Tensor&, const Tensor&,
                               const Graph& graph, Kernel* kernel, bool of_cells) {
    const int64_t n_atoms = graph.positions.size(0), n_systems = graph.cell.size(0);
    const Tensor forces = at::empty({n_atoms, 3}, at::kDouble), virial = at::empty({n_systems, 3, 3}, at::kDouble);
    graph.evaluate(*kernel, energy_weights.contiguous(), forces, virial);
    if (!of_cells) return {forces.neg()};
    return {forces.neg(), in_cells(graph, forces, virial)};
  }
  // With r' = r (1 + strain): dE/d(strain) = sum r (dE/dr)^T + cell^T dE/d(cell), of which all but the last is known.
  static Tensor in_cells(const Graph& graph, const Tensor& forces, const Tensor& virial) {
    const Tensor left = virial.neg();
    double* sums = left.data_ptr<double>();
    const double *place = graph.positions.data_ptr<double>(), *force = forces.data_ptr<double>();
    const int64_t* system = graph.system.data_ptr<int64_t>();
    const double* origin = place;  // the first atom of a system: its forces add up to nothing
    for (int64_t p = 0; p < graph.positions.size(0); ++p) {
      if (p == 0 || system[p] != system[p - 1]) origin = place + 3 * p;
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) sums[9 * system[p] + 3 * a + b] += (place[3 * p + a] - origin[a]) * force[3 * p + b];
    }
    return at::matmul(at::linalg_pinv(graph.cell.mT()), left);  // rows of axes that are not periodic are zero
  }
  static variable_list backward(AutogradContext*, variable_list) {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "the native kernel has first derivatives only; for second ones export the model "
                                       "with shoal export --portable");
  }
};

struct Energies : torch::autograd::Function<Energies> {
  static Tensor forward(AutogradContext* context, const Tensor& positions, const Tensor& cell, const Tensor& edge_index,
                        const Tensor& edge_cell_shift, const Tensor& atom_types, const Tensor& system_index,
                        const Tensor& weights, Kernel* kernel) {
    const Graph g = Graph::of(positions, cell, edge_index, edge_cell_shift, atom_types, system_index, weights);
    context->save_for_backward({positions, cell});
    context->saved_data["rows"] = std::vector<Tensor>{g.offsets, g.neighbor, g.shifts, g.types, g.system, g.weights};
    context->saved_data["kernel"] = int64_t(kernel);
    return g.evaluate(*kernel);
  }
  static variable_list backward(AutogradContext* context, variable_list gradient) {
    const auto saved = context->get_saved_variables();
    const auto rows = context->saved_data["rows"].toTensorVector();
    const Tensor positions = saved[0].detach().contiguous(), cell = saved[1].detach().contiguous();
    const Graph g{positions, cell, rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
    auto kernel = (Kernel*)context->saved_data["kernel"].toInt();
    const auto found = Gradients::apply(gradient[0], saved[0], saved[1], g, kernel, context->needs_input_grad(1));
    return {found[0], found.size() > 1 ? found[1] : Tensor(), {}, {}, {}, {}, {}, {}};
  }
};

Tensor with_gradients(const Tensor& positions, const Tensor& cell, const Tensor& edge_index,
                      const Tensor& edge_cell_shift, const Tensor& atom_types, const Tensor& system_index,
                      const Tensor& weights, at::TensorList libraries, std::vector<std::string> targets,
                      std::string word) {
  Kernel& kernel = kernel_of(word, libraries, targets);
  return Energies::apply(positions, cell, edge_index, edge_cell_shift, atom_types, system_index, weights, &kernel);
}

Tensor without(const Tensor& positions, const Tensor& cell, const Tensor& edge_index, const Tensor& edge_cell_shift,
               const Tensor& atom_types, const Tensor& system_index, const Tensor& weights, at::TensorList libraries,
               std::vector<std::string> targets, std::string word) {
  Kernel& kernel = kernel_of(word, libraries, targets);
  return Graph::of(positions, cell, edge_index, edge_cell_shift, atom_types, system_index, weights).evaluate(kernel);
}

// Once a process: every model comes with a copy of this library.
const auto registered = [] {
  std::vector<torch::Library> made;
  if (c10::Dispatcher::singleton().findSchema({NAMESPACE "::atomic_energies", ""})) return made;
  made.emplace_back(torch::Library::DEF, NAMESPACE, std::nullopt, __FILE__, __LINE__);
  made.back().def(
      "atomic_energies(Tensor positions, Tensor cell, Tensor edge_index, Tensor edge_cell_shift, Tensor atom_types, "
      "Tensor system_index, Tensor weights, Tensor[] libraries, str[] targets, str kernel) -> Tensor");
  made.emplace_back(torch::Library::IMPL, NAMESPACE, c10::DispatchKey::CPU, __FILE__, __LINE__);
  made.back().impl("atomic_energies", without);
  made.emplace_back(torch::Library::IMPL, NAMESPACE, c10::DispatchKey::AutogradCPU, __FILE__, __LINE__);
  made.back().impl("atomic_energies", with_gradients);
  return made;
}();
}  // namespace
