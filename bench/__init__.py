"""Measurements: commands that print a number with its date and machine. Nothing here is part of the package."""
