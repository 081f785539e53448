"""The lockfile held against the registry: what it binds, what it should bind, what has changed. Decisions only."""
