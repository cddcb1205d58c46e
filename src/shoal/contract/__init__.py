"""What potentials give and what is asked of them."""

from shoal.contract.capabilities import Capabilities as Capabilities
from shoal.contract.capabilities import Truncation as Truncation
from shoal.contract.quantities import DEFAULT_OUTPUTS as DEFAULT_OUTPUTS
from shoal.contract.quantities import QUANTITIES as QUANTITIES
from shoal.contract.quantities import Quantity as Quantity
from shoal.contract.quantities import check_outputs as check_outputs
