"""The provider side: codecs (one wire format each), budgets, breakers, and the worker that owns them."""
