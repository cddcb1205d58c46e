// What a kernel is called with; `real` is the type of its weights.
struct Call {
  int64_t n_atoms, n_systems, n_edges, threads, gradients;
  const double *positions, *cell;                    // (N, 3), (S, 3, 3)
  const int64_t *offsets, *neighbor, *shifts;        // (N + 1), (E), (E, 3): rows of a full list, by centre
  const int64_t *types, *system;                     // (N)
  const double* energy_weights;                      // (N) or null
  const real* weights;                               // everything the model was trained to
  double *atomic_energy, *energy;                    // (N), (S)
  double *forces, *virial, *stress;                  // (N, 3), (S, 3, 3), (S, 3, 3)
  char* workspace;
  int64_t workspace_bytes;
};
