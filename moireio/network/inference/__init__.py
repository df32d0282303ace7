"""Prediction of Hamiltonians in bounded memory."""
