// What passes between a caller and a model's kernel. Threads: the most it may take. Without gradients energies only. A
// null pointer to a result: nobody asks for it.
struct Call {
  int64_t n_atoms, n_systems, n_edges, threads, gradients;
  const double *positions, *cell;                    // (N, 3), (S, 3, 3)
  const int64_t *offsets, *neighbor, *shifts;        // (N + 1), (E), (E, 3): rows of a full list, by centre
  const int64_t *types, *system;                     // (N)
  const double* energy_weights;                      // (N) or null
  const void* weights;                               // everything the model was trained to
  double *atomic_energy, *energy;                    // (N), (S)
  double *forces, *virial, *stress;                  // (N, 3), (S, 3, 3), (S, 3, 3)
  char* workspace;
  int64_t workspace_bytes;
};
