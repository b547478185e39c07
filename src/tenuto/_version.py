"""The version of Tenuto: the one place it is written, read by the package build as well."""

__version__ = "0.1.0"
