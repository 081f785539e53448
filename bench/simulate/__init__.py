"""The router against simulated providers on virtual time; see __main__.py."""
