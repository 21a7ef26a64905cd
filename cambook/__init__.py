"""cambook: Class Activation Mapping, derived, built and measured."""

__version__ = "0.1.0"
