"""Writing model files: packages and compiled models."""

from shoal.deploy.compile import compile_model as compile_model
from shoal.deploy.package import package as package
from shoal.deploy.package import package_potential as package_potential
