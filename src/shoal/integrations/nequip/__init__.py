"""What nequip's models and files mean, and their way into packages."""

from shoal.integrations.nequip.importing import import_nequip as import_nequip
