"""The lockfile: read in every form, edited in place, written as a whole.

reading > budgets > profiles, providers, packages > constraints > shape > lines      text into values
upgrade > edit > document, digest                                           text into text
writing                                                                     the file on disk
"""

from llmring.lockfile.budgets import Budget
from llmring.lockfile.profiles import Binding, Order, Profile
from llmring.lockfile.providers import Kind, LimitGroup, ProviderSettings
from llmring.lockfile.reading import Extended, Lockfile, Resolution, parse_lockfile, read_lockfile

__all__ = [
    "Binding",
    "Budget",
    "Extended",
    "Kind",
    "LimitGroup",
    "Lockfile",
    "Order",
    "Profile",
    "ProviderSettings",
    "Resolution",
    "parse_lockfile",
    "read_lockfile",
]
