"""Every error Shoal raises on purpose; each names what is at fault and what to do."""


class ShoalError(Exception):
    """Base of all errors that Shoal raises on purpose."""


class InputError(ShoalError, ValueError):
    """A structure, state or argument that cannot be used as given."""


class UnsupportedSpeciesError(InputError):
    """An element or type label that the model does not know."""


class UnsupportedSystemError(InputError):
    """A structure that a method cannot move, such as a slab under a barostat."""


class UnsupportedRequestError(ShoalError):
    """A quantity or form of it that this potential cannot give."""


class ModelFileError(ShoalError):
    """A model file that is damaged, foreign, or made for another machine."""


class CompileError(ShoalError):
    """A model that could not be compiled here; eager use of its package still works."""


class ConfigError(ShoalError, ValueError):
    """A training configuration with an unknown key or a value that does not fit."""


class DataError(ShoalError, ValueError):
    """Training data that is empty, lacks labels, holds NaN, or does not fit the model."""


class QualityError(ShoalError):
    """A model that misses a limit it was asked to meet."""


class MissingDependencyError(ShoalError, ImportError):
    """An optional package that the requested feature needs."""


class ShoalWarning(UserWarning):
    """Category of every warning that Shoal issues."""
