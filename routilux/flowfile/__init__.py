"""Flows as files that people write: TOML, YAML and JSON."""
