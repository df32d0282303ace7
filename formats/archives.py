"""Tar archives of a calculation's files, compressed or not: unpacked while they are read."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MoireioError, first_line
from moireio.formats.registry import Format, detect_format, named_format
from moireio.formats.structures.text import plain_name
from moireio.formats.text.streams import first_bytes, opened
from moireio.runtime.workdirs import work_folder

MOST_MEMBERS = 200_000
SIGNATURE, SIGNATURE_AT = b"ustar", 257
#: The file that stands for a calculation, of formats of which several files are recognised.
LEADING = {"wanniertools": "wt.in", "rescu": ".h5"}


@dataclass(frozen=True)
class Unpacked:
    """A calculation in an archive.

    Parameters
    ----------
    archive : str
        The archive.
    folder : str
        Where its files are for now.
    source : str
        The file or folder among them that is the calculation.
    format : Format
        Its format.
    """

    archive: str
    folder: str
    source: str
    format: Format

    def named(self, text: str) -> str:
        """Return a text in which files have the archive's name instead of the folder's.

        Parameters
        ----------
        text : str
            A message or a path.

        Returns
        -------
        str
            With ``run.tar.gz/x.out`` for the file ``x.out`` of ``run.tar.gz``.
        """
        return text.replace(self.folder, self.archive)

    @contextmanager
    def opened(self, read: Callable[..., Calculation]) -> Iterator[Calculation]:
        """Open the calculation; notes and errors name the archive.

        Parameters
        ----------
        read : callable
            The format's reader, of a path and a `label`.

        Yields
        ------
        Calculation
            Open for reading; errors in the body are taken to be of its files, too.
        """
        try:
            with read(self.source, label=self.named(self.source)) as calculation:
                calculation.notes[:] = map(self.named, calculation.notes)
                calculation.files = (self.archive,)
                yield calculation
        except MoireioError as error:
            error.what = self.named(error.what)
            error.path = None if error.path is None else self.named(error.path)
            error.remedy = None if error.remedy is None else self.named(error.remedy)
            raise


def is_archive(path: str) -> bool:
    """Return whether a file is a tar archive, compressed or not.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By its first bytes.
    """
    head = first_bytes(path, SIGNATURE_AT + len(SIGNATURE))
    return head[SIGNATURE_AT:] == SIGNATURE


def needs_unpacking(path: str, name: str | None, companions: Sequence[str]) -> bool:
    """Return whether a file is an archive that no format reads as it is.

    Parameters
    ----------
    path : str
        Any path.
    name : str, optional
        The format that is asked for.
    companions : sequence of str
        Further files of the calculation.

    Returns
    -------
    bool
        False for CP2K's matrices alone, whose output is beside the archive or given.
    """
    if not is_archive(path):
        return False
    row = detect_format(path) if name is None else named_format(name)
    return row is None or not row.detect(path) or not (companions or not is_whole(path))


def is_whole(path: str) -> bool:
    """Return whether an archive of matrices has the program's output too.

    Parameters
    ----------
    path : str
        The archive.

    Returns
    -------
    bool
        False where outputs are beside the archive, without looking into it.
    """
    beside = os.listdir(os.path.dirname(path) or ".")
    if any(plain_name(name).endswith(".out") for name in beside):
        return False
    with opened(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                return any(plain_name(member.name).endswith(".out") for member in archive)
        except tarfile.TarError:
            return False  # said where it is read


@contextmanager
def unpacked(path: str, name: str | None = None) -> Iterator[Unpacked]:
    """Unpack an archive and find the calculation in it.

    Parameters
    ----------
    path : str
        The archive.
    name : str, optional
        The format that is asked for; by default it is recognised.

    Yields
    ------
    Unpacked
        The files are removed in the end.

    Raises
    ------
    MoireioError
        If there is no calculation in it, or there are several.
    DamagedError
        If it is cut short, or names files outside of itself.
    """
    with work_folder("moireio-archive-") as folder:
        _unpack(path, folder)
        found = [one for one in _calculations(folder) if name in (None, one[1].name)]
        names = {os.path.basename(source): (source, row) for source, row in found}
        for row in {row.name: row for _, row in found}.values():
            leading = [file for file in names if file.endswith(LEADING.get(row.name, "/"))]
            if len(leading) == 1 and all(one is row for _, one in found):
                found = [names[leading[0]]]
        if len(found) != 1:
            shown = ", ".join(os.path.relpath(source, folder) for source, _ in found[:6])
            what = "none is" if name is None else f"none is of {name}"
            raise MoireioError(
                f"holds {len(found)} calculations: {shown}"
                if found
                else f"of its files {what} known",
                path=path,
                remedy="unpack it, and name one" if found else "unpack it, and name its format",
            )
        source, row = found[0]
        if row.name == "moireio":
            raise MoireioError(
                f"holds the block file {os.path.relpath(source, folder)}",
                path=path,
                remedy="unpack it",
            )
        yield Unpacked(path, folder, source, row)


def _calculations(folder: str) -> list[tuple[str, Format]]:
    """Return the calculations in a folder: folders as a whole, else files in them."""
    found: list[tuple[str, Format]] = []
    for place, folders, files in os.walk(folder):
        row = detect_format(place)
        below = [detect_format(os.path.join(place, name)) for name in folders]
        if row is not None and row not in below:  # CP2K's is known by what is in folders, too
            found.append((place, row))
            folders.clear()
            continue
        folders.sort()
        for name in sorted(files):
            path = os.path.join(place, name)
            row = detect_format(path)
            if row is not None:
                found.append((path, row))
    return found


def _unpack(path: str, folder: str) -> None:
    """Write the files of an archive; links and the like are left out."""
    free = shutil.disk_usage(folder).free
    with opened(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for count, member in enumerate(archive):
                    free -= member.size
                    if count >= MOST_MEMBERS or free < 0:
                        raise MoireioError(
                            f"is larger than the free space in {os.path.dirname(folder)}",
                            path=path,
                            remedy="unpack it elsewhere, or set TMPDIR",
                        )
                    if member.isfile():
                        _write(archive, member, os.path.join(folder, _inside(member.name, path)))
            while stream.read(1 << 20):  # to the checksum of its compression
                pass
        except tarfile.TarError as error:
            raise DamagedError(
                f"is an archive that cannot be read: {first_line(error)}",
                path=path,
                remedy="it is damaged or cut short; make it again",
            ) from error


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with open(target, "wb") as out:
        shutil.copyfileobj(content, out, 1 << 20)
    if os.path.getsize(target) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")


def _inside(name: str, path: str) -> str:
    """Return the place of a member below the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or name.startswith("/") or not parts or "\0" in name:
        raise DamagedError(f"names a file outside of itself: {name!r}", path=path)
    return os.path.join(*parts)
