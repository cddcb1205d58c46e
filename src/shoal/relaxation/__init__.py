"""Relaxation: optimizers and the cell filters that say which degrees of freedom move."""
