"""Tenuto itself, measured in the same way on every engine."""
