"""Reduced models: H(k) and S(k) of some bands near a k point as small matrices of polynomials."""

import os
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from moireio.errors import MoireioError, unreadable
from moireio.runtime.files import write_whole
from moireio.runtime.memory import usable_memory
from moireio.spectrum.anchors.anchor import CLEAR
from moireio.spectrum.anchors.continuity import Place, follow
from moireio.spectrum.anchors.reduced import RitzLevels
from moireio.spectrum.states import multiplet_bounds

FORMAT = "moireio reduced model 1"
GAUGE = "positions: H_ij(k) = sum_R H_ij(R) exp(2 pi i k.(R + s_j - s_i)), s fractional"
BEYOND = 1e-9  # fractional coordinates, by which a k point may lie outside


def whole_multiplets(place: Place, first: int, bands: tuple[int, int]) -> tuple[int, int]:
    """Return a range of bands, extended to whole multiplets: states of a part turn to the rest.

    Parameters
    ----------
    place : Place
        Levels at a k point.
    first : int
        Number of the first of them.
    bands : tuple of two int
        First and last band (inclusive).

    Returns
    -------
    first, last : int
        Inclusive.
    """
    begin, end = bands[0] - first, bands[1] - first
    found = multiplet_bounds(place.levels.energies, begin, end, CLEAR, True, True)
    return bands if found is None else (first + found[0], first + found[1] - 1)


@dataclass(frozen=True, eq=False)
class ReducedModel:
    """Some bands near a k point: H(k) = Σ_t H_t (k − k₀)^powers_t, and S(k) likewise.

    The basis is m cell-periodic functions that do not depend on k (like those of Luttinger and
    Kohn, Phys. Rev. 97, 869 (1955)), in the gauge with positions. It spans the states of the bands
    everywhere in the model's region, and a little more. L(k) measures what H(k) takes out of the
    basis: c†L c is zero for states, and some eV² for combinations that are none. L/`lifting` is
    part of H, so that these lie far from the bands, or, where they are nearly states, are known
    by c†L c.

    Parameters
    ----------
    k0 : (3,) array
        Fractional coordinates.
    axes : (d,) array of int
        Periodic axes, from 0.
    powers : (t, d) array of int
        Powers of the components of k − k₀ along these axes.
    h, s, leak : (t, m, m) arrays
        Coefficients of V†H(k)V + L(k)/`lifting` (eV), of V†S(k)V and of L(k) (eV²), for
        fractional k.
    radius : float
        Largest ``|k − k₀|`` along each axis, fractional coordinates.
    error : float
        Error of the wanted levels, eV: twice the largest that was found.
    bands : tuple of two int
        First and last band (inclusive, from 0) that were wanted.
    first : int
        Band of the first of the model's levels at k₀.
    lifting : float
        Energy by which L is divided, eV.
    width : float
        √(c†L c) of a state, at most, eV.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹ with the 2π.
    spin : {"none", "collinear", "spinor"}
        Whether a band holds two electrons or one.
    channel : int
        Spin channel.
    fermi : float, optional
        Fermi level, eV.
    anchors : (a, 3) array
        k points whose states the basis was made of.
    v : (n, m) array, optional
        The basis functions, in the order of the rows of H(k).
    places : (n, 3) array, optional
        Fractional positions of the atoms of these rows.
    """

    k0: npt.NDArray[np.float64]
    axes: npt.NDArray[np.int64]
    powers: npt.NDArray[np.int64]
    h: npt.NDArray[np.complex128]
    s: npt.NDArray[np.complex128]
    leak: npt.NDArray[np.complex128]
    radius: float
    error: float
    bands: tuple[int, int]
    first: int
    lifting: float
    width: float
    reciprocal: npt.NDArray[np.float64]
    spin: str = "none"
    channel: int = 0
    fermi: float | None = None
    anchors: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    v: npt.NDArray[np.complex128] | None = None
    places: npt.NDArray[np.float64] | None = None

    def _at(self, k: npt.ArrayLike, coefficients: npt.NDArray) -> npt.NDArray[np.complex128]:
        """Return a sum of powers of k − k₀."""
        k = np.asarray(k, dtype=float)
        if k.shape != (3,) or not np.isfinite(k).all():
            raise MoireioError("a k point is three numbers")
        offset = k - self.k0
        beyond = np.abs(offset)
        beyond[self.axes] -= self.radius
        if beyond.max() > BEYOND:
            place, centre = (" ".join(f"{v:.6g}" for v in point) for point in (k, self.k0))
            raise MoireioError(
                f"k = {place} lies outside the reduced model",
                remedy=f"choose k within {self.radius:.6g} of {centre} along each periodic axis",
            )
        terms = np.prod(offset[self.axes] ** self.powers, axis=1)
        return np.asarray(np.tensordot(terms, coefficients, axes=1))

    def place(self, k: npt.ArrayLike) -> Place:
        """Return all levels of the model that are levels of H and S.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates, within `radius` of `k0` along each periodic axis.

        Returns
        -------
        Place
            Those with √(c†L c) below `width`; band numbers are not known.
        """
        s = self.overlap(k)
        energies, states = eigh(self.hamiltonian(k), s, check_finite=False)
        leak = np.einsum("ij,ij->j", states.conj(), self._at(k, self.leak) @ states).real
        kept = leak < self.width**2
        levels = RitzLevels(energies[kept], states[:, kept], np.zeros((0, 0), complex))
        return Place.of(np.asarray(k, dtype=float), levels, s)

    @cached_property
    def _middle(self) -> Place:
        """The levels at k₀."""
        return self.place(self.k0)

    def part(self, there: Place) -> slice | None:
        """Return which levels at a k point are the wanted bands, by continuity from k₀.

        Parameters
        ----------
        there : Place
            All levels at the k point.

        Returns
        -------
        slice or None
            None where they do not continue.
        """
        here = self._middle
        found: int | None = self.first
        if not (here.complete and there.complete):
            group = whole_multiplets(here, self.first, self.bands)
            found = follow(here, there, self.first, group, self.place)
        if found is None:
            return None
        start, stop = self.bands[0] - found, self.bands[1] + 1 - found
        return slice(start, stop) if start >= 0 and stop <= len(there.levels) else None

    def hamiltonian(self, k: npt.ArrayLike) -> npt.NDArray[np.complex128]:
        """Return V†H(k)V + L(k)/`lifting`.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates, within `radius` of `k0` along each periodic axis.

        Returns
        -------
        (m, m) array
            eV.
        """
        return self._at(k, self.h)

    def overlap(self, k: npt.ArrayLike) -> npt.NDArray[np.complex128]:
        """Return V†S(k)V.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates, within `radius` of `k0` along each periodic axis.

        Returns
        -------
        (m, m) array
            Positive definite.
        """
        return self._at(k, self.s)

    def eigenpairs(
        self, k: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128]]:
        """Return the levels that were wanted, and their states.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates, within `radius` of `k0` along each periodic axis.

        Returns
        -------
        energies : (nb,) array
            eV, ascending.
        states : (m, nb) array
            S-orthonormal combinations of the basis.
        """
        there = self.place(k)
        part = self.part(there)
        if part is None:
            raise MoireioError(
                "the bands of the reduced model do not continue to k = "
                + " ".join(f"{v:.6g}" for v in there.k)
            )
        return there.levels.energies[part], there.levels.vectors[:, part]

    def levels(self, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the levels that were wanted.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates, within `radius` of `k0` along each periodic axis.

        Returns
        -------
        (nb,) array
            eV, ascending.
        """
        return self.eigenpairs(k)[0]

    def states(self, k: npt.ArrayLike) -> npt.NDArray[np.complex128]:
        """Return the states of the levels that were wanted, as coefficients of the orbitals.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates, within `radius` of `k0` along each periodic axis.

        Returns
        -------
        (n, nb) array
            S-orthonormal, in the order of the rows of H(k) and in its phases exp(2πi k·R).

        Raises
        ------
        MoireioError
            If the model was made without its basis.
        """
        if self.v is None or self.places is None:
            raise MoireioError("the reduced model has no basis functions", remedy="keep `states`")
        phases = np.exp(2j * np.pi * (self.places @ np.asarray(k, dtype=float)))
        return np.asarray(phases[:, None] * (self.v @ self.eigenpairs(k)[1]))

    def write(self, path: str) -> None:
        """Write the model as an .npz file of numpy arrays.

        Parameters
        ----------
        path : str
            The file; with the arrays that the manual describes.
        """
        arrays: dict[str, Any] = {
            "format": FORMAT,
            "gauge": GAUGE,
            "k0": self.k0,
            "axes": self.axes,
            "powers": self.powers,
            "H": self.h,
            "S": self.s,
            "L": self.leak,
            "radius": self.radius,
            "error_eV": self.error,
            "bands": self.bands,
            "first": self.first,
            "lifting_eV": self.lifting,
            "width_eV": self.width,
            "reciprocal": self.reciprocal,
            "spin": self.spin,
            "channel": self.channel,
            "fermi_eV": np.nan if self.fermi is None else self.fermi,
            "anchors": self.anchors,
        }
        if self.v is not None:
            arrays |= {"V": self.v, "places": self.places}
        with write_whole(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "ReducedModel":
        """Read a model.

        Parameters
        ----------
        path : str
            File that `write`, or ``band --reduced``, made.

        Returns
        -------
        ReducedModel
            As it was written.

        Raises
        ------
        MoireioError
            If the file cannot be read, is no reduced model, or is damaged.
        """
        name = os.fspath(path)
        try:
            with zipfile.ZipFile(name) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > usable_memory():
                raise MoireioError(f"has arrays of {size / 1e9:.1f} GB", path=name)
            with np.load(name, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            return cls._of(arrays, name)
        except MoireioError:
            raise
        except OSError as error:
            raise unreadable(error, name) from error
        except (
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            MemoryError,
            zipfile.BadZipFile,
        ) as error:
            raise MoireioError(
                "is no reduced model, or damaged",
                path=name,
                remedy="make one with band and `reduced`",
            ) from error

    @classmethod
    def _of(cls, arrays: dict[str, npt.NDArray], path: str) -> "ReducedModel":
        """Return the model that arrays hold."""
        if str(arrays["format"]) != FORMAT:
            raise MoireioError(
                f"has the format {str(arrays['format'])[:60]!r}",
                path=path,
                remedy=f"expected {FORMAT!r}",
            )
        axes, powers, k0, bands = (arrays[key] for key in ("axes", "powers", "k0", "bands"))
        h, s, leak = (arrays[key] for key in ("H", "S", "L"))
        numbers = [arrays[f"{key}_eV"] for key in ("error", "lifting", "width")]
        numbers += [arrays["radius"], k0, h, s, leak]
        sound = (
            k0.shape == (3,)
            and bands.shape == (2,)
            and axes.ndim == 1
            and h.ndim == 3
            and powers.shape == (len(h), len(axes))
            and h.shape == s.shape == leak.shape == (len(h), h.shape[1], h.shape[1])
            and 0 <= bands[0] <= bands[1]
            and bands[1] - bands[0] < h.shape[1]
            and set(axes.tolist()) <= {0, 1, 2}
            and (powers >= 0).all()
            and all(np.isfinite(a).all() for a in numbers)
        )
        if not sound:
            raise MoireioError("is damaged: its arrays do not belong together", path=path)
        fermi = float(arrays["fermi_eV"])
        return cls(
            k0,
            axes,
            powers,
            h,
            s,
            leak,
            float(arrays["radius"]),
            float(arrays["error_eV"]),
            (int(bands[0]), int(bands[1])),
            int(arrays["first"]),
            float(arrays["lifting_eV"]),
            float(arrays["width_eV"]),
            arrays["reciprocal"],
            str(arrays["spin"]),
            int(arrays["channel"]),
            None if np.isnan(fermi) else fermi,
            arrays["anchors"],
            arrays.get("V"),
            arrays.get("places"),
        )
