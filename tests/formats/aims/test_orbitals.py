"""The list of FHI-aims's orbitals."""

from moireio.formats.aims import orbitals


def test_stars_beyond_atom_999(tmp_path):
    """FHI-aims prints *** for atoms whose number has four digits."""
    rows = ["", "  fn.   type   at.   n   l   m"]
    for atom in range(1, 1003):
        number = f"{atom:3d}" if atom < 1000 else "***"
        rows.append(f"{atom:5d} atomic   {number}   1   0   0")
        if atom % 2:
            rows += [f"{atom:5d} atomic   {number}   2   1 {m:3d}" for m in (-1, 0, 1)]
    path = tmp_path / "basis-indices.out"
    path.write_text("\n".join(rows) + "\n")
    shells = orbitals.read_orbitals(str(path), ["C", "H"] * 501)
    assert shells == [(0, 1), (0,)] * 501
