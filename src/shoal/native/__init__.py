"""C++ kernels: from text to a shared library for an instruction set, kept by the hash of what it is made of."""

from shoal.native.build import build as build
from shoal.native.build import compiler as compiler
from shoal.native.build import kernel as kernel
from shoal.native.build import load as load
from shoal.native.build import load_bytes as load_bytes
from shoal.native.build import shipped as shipped
from shoal.native.pointers import function as function
from shoal.native.pointers import pointer as pointer
from shoal.native.pointers import pointers as pointers
from shoal.native.pointers import threads_for as threads_for
from shoal.native.targets import TARGETS as TARGETS
from shoal.native.targets import Target as Target
from shoal.native.targets import machine as machine
from shoal.native.targets import machine_targets as machine_targets
from shoal.native.targets import runnable_targets as runnable_targets
