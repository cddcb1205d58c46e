"""The packed state of many structures, and the map from species to a model's types."""

from shoal.state.checks import DEGENERATE as DEGENERATE
from shoal.state.checks import check_geometry as check_geometry
from shoal.state.operations import concatenate as concatenate
from shoal.state.operations import select as select
from shoal.state.operations import split as split
from shoal.state.sim_state import SimState as SimState
from shoal.state.sim_state import Source as Source
from shoal.state.type_map import TypeMap as TypeMap
