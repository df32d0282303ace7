"""How far two Hamiltonians of one structure are apart."""
