"""Neighbour lists of many systems at once."""

from shoal.neighbors.build import BACKENDS as BACKENDS
from shoal.neighbors.build import neighbor_list as neighbor_list
from shoal.neighbors.neighbor_list import NeighborList as NeighborList
