"""NequIP as one C++ kernel for the CPU: generated, built, called."""

from shoal.architectures.native.kernel import QUANTITIES as QUANTITIES
from shoal.architectures.native.kernel import Kernel as Kernel
from shoal.architectures.native.plan import ModelPlan as ModelPlan
from shoal.architectures.native.plan import plan_of as plan_of
from shoal.architectures.native.source import source_of as source_of
