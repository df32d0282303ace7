"""Levels at many k points from the states at a few of them, the anchors.

The cell-periodic parts of some bands at the anchors span those at the k points between them, up to
an error that falls exponentially with the number of anchors (Shirley, Phys. Rev. B 54, 16464
(1996)). In the space that they span, H and S are small matrices, analytic in k.
"""
