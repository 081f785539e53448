"""JSON schemas as each provider takes them."""
