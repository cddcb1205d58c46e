"""What potentials give and what is asked of them."""

from shoal.contract.capabilities import BOTH as BOTH
from shoal.contract.capabilities import Capabilities as Capabilities
from shoal.contract.capabilities import Support as Support
from shoal.contract.capabilities import Truncation as Truncation
from shoal.contract.quantities import DEFAULT_OUTPUTS as DEFAULT_OUTPUTS
from shoal.contract.quantities import GRADIENTS as GRADIENTS
from shoal.contract.quantities import QUANTITIES as QUANTITIES
from shoal.contract.quantities import STANDARD as STANDARD
from shoal.contract.quantities import Layout as Layout
from shoal.contract.quantities import Quantity as Quantity
from shoal.contract.quantities import Standard as Standard
from shoal.contract.quantities import check_outputs as check_outputs
from shoal.contract.quantities import current_name as current_name
from shoal.contract.quantities import standard as standard
from shoal.contract.request import OutputRequest as OutputRequest
from shoal.contract.request import Requests as Requests
from shoal.contract.request import SampleKind as SampleKind
from shoal.contract.units import unit_factor as unit_factor
