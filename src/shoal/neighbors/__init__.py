"""Neighbour lists of many systems at once."""

from shoal.neighbors.build import BACKENDS as BACKENDS
from shoal.neighbors.build import neighbor_list as neighbor_list
from shoal.neighbors.neighbor_list import NeighborList as NeighborList
from shoal.neighbors.neighbor_list import carried as carried
from shoal.neighbors.neighbor_list import edge_vectors as edge_vectors
from shoal.neighbors.neighbor_list import used_skin as used_skin
from shoal.neighbors.padded import PaddedNeighbors as PaddedNeighbors
from shoal.neighbors.padded import padded as padded
from shoal.neighbors.refresh import joined as joined
from shoal.neighbors.refresh import refreshed as refreshed
from shoal.neighbors.refresh import taken as taken
