"""The router: alias to routes, failover, streaming, map."""
