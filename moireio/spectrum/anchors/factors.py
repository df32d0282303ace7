"""Factors of anchors, by which the space of their states is corrected."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

MUCH_NEARER = 0.4  # distances in k; at 14,092 orbitals Γ's factors do better half-way to M than M's

Respond = Callable[[npt.NDArray], "npt.NDArray | None"]


class AnchorFactors:
    """(H − σS)⁻¹ at anchors, as long as factors are kept.

    Parameters
    ----------
    respond : callable, optional
        Returns products with vectors, by the factors that a solver had last, or None.
    keep : callable, optional
        Returns the same for later, and the bytes that these factors take; the solver makes new ones
        beside them. None where there are none.
    free : callable, optional
        Frees the factors that the solver had last.

    Attributes
    ----------
    are_kept : bool
        Whether factors are kept for corrections at other k points.
    has_room : callable
        Returns whether memory suffices for as many bytes more, beside those of a number of factors.
    """

    def __init__(
        self,
        respond: Respond | None = None,
        keep: Callable[[], tuple[Respond, float] | None] | None = None,
        free: Callable[[], None] | None = None,
    ) -> None:
        self._respond, self._keep, self._free = respond, keep, free
        self._kept: list[tuple[npt.NDArray[np.float64], Respond]] = []
        self.are_kept = True
        self.has_room: Callable[[float, int], bool] = lambda more, count: True

    def __call__(self, vectors: npt.NDArray) -> npt.NDArray | None:
        """Return (H − σS)⁻¹ times some vectors, by the factors of the anchor solved last.

        Parameters
        ----------
        vectors : (n, c) array
            In the phases of H(k).

        Returns
        -------
        (n, c) array or None
            In the precision of the factors; None where there are none.
        """
        return None if self._respond is None else self._respond(vectors)

    @property
    def are_given(self) -> bool:
        """Whether a solver gives factors at all."""
        return self._respond is not None

    def nearest(
        self, k: npt.NDArray[np.float64], reciprocal: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], Respond] | None:
        """Return the kept factors that are most useful at a k.

        Those of the anchor that was solved last (of corners, that with most of the path beside it,
        such as Γ), unless another one is much nearer.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.
        reciprocal : (3, 3) array
            Reciprocal cell, one vector a row.

        Returns
        -------
        place : (3,) array
            k of that anchor, in the zone around the k given.
        respond : callable
            From vectors, in the phases of H at that place, to (H − σS)⁻¹ times these.
            Instead of both None where no factors are kept.
        """
        places = [(own + np.round(k - own), respond) for own, respond in self._kept]
        away = [float(np.linalg.norm((place - k) @ reciprocal)) for place, _ in places]
        if not places:
            return None
        nearest = int(np.argmin(away))
        return places[nearest if away[nearest] < MUCH_NEARER * away[-1] else -1]

    def free(self) -> None:
        """Free all factors."""
        self._kept.clear()
        self.free_last()

    def free_last(self) -> None:
        """Free those that the solver had last."""
        if self._free is not None:
            self._free()

    def keep_or_free(self, k: npt.NDArray[np.float64]) -> None:
        """Keep the factors of the anchor solved last, or free them.

        Where memory is short older ones are freed first.

        Parameters
        ----------
        k : (3,) array
            That of this anchor, fractional.
        """
        found = self._keep() if self.are_kept and self._keep is not None else None
        if found is None:
            self.free_last()
            return
        respond, size = found
        self._kept.append((k, respond))
        del respond, found
        while self._kept and not self.has_room(size, len(self._kept)):
            del self._kept[0]
