"""Structures in and out: ASE atoms, and every file ASE reads."""

from shoal.io.atoms import atoms_to_state as atoms_to_state
from shoal.io.atoms import state_to_atoms as state_to_atoms
from shoal.io.checks import check_structure as check_structure
from shoal.io.labels import LabelKeys as LabelKeys
from shoal.io.labels import Labels as Labels
from shoal.io.labels import read_labels as read_labels
from shoal.io.read import count_frames as count_frames
from shoal.io.read import expand as expand
from shoal.io.read import read as read
