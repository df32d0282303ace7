"""RESCU."""
