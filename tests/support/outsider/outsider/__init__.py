"""A solver, a format, an operator, a result and a command for moireio, from outside."""
