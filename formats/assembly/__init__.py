"""How matrices of other programs become operators of a calculation, and the way back."""
