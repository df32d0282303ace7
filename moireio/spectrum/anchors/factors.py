"""Factors of the anchor that was solved last."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt


class LastFactors:
    """(H − σS)⁻¹ at the anchor that was solved last, as long as its factors are kept.

    Parameters
    ----------
    respond : callable, optional
        Returns products with vectors, by the factors that a solver had last, or None.
    free : callable, optional
        Frees these factors.

    Attributes
    ----------
    k : (3,) array or None
        Where, fractional coordinates; None where there are no factors.
    are_kept : bool
        Whether factors are kept for corrections at other k points.
    has_room : callable
        Returns whether memory suffices for that.
    """

    def __init__(
        self,
        respond: Callable[[npt.NDArray], npt.NDArray | None] | None = None,
        free: Callable[[], None] | None = None,
    ) -> None:
        self._respond, self._free = respond, free
        self.k: npt.NDArray[np.float64] | None = None
        self.are_kept = True
        self.has_room: Callable[[], bool] = lambda: True

    def __call__(self, vectors: npt.NDArray) -> npt.NDArray | None:
        """Return (H − σS)⁻¹ times some vectors.

        Parameters
        ----------
        vectors : (n, c) array
            In the phases of H(k).

        Returns
        -------
        (n, c) array or None
            In the precision of the factors; None where there are none.
        """
        if self._respond is None or self.k is None:
            return None
        found = self._respond(vectors)
        if found is None:
            self.k = None
        return found

    @property
    def are_given(self) -> bool:
        """Whether a solver gives factors at all."""
        return self._respond is not None

    def free(self) -> None:
        """Free the factors."""
        self.k = None
        if self._free is not None:
            self._free()

    def keep_or_free(self) -> None:
        """Free the factors unless they are to be kept and there is memory for it."""
        if not (self.are_kept and self.has_room()):
            self.free()
