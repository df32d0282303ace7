"""Damaged files of SIESTA: one line, or a calculation."""

import gzip
import shutil
import sys
from pathlib import Path

import pytest
from siesta_files import ion_plain, ion_xml, random_hsx

from moireio.formats.siesta.beside import read_ion, read_orbital_index, read_vectors
from moireio.formats.siesta.files import read

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_bytes, damage_text, survives

TRIALS = 200


@pytest.mark.parametrize(
    ("spin", "old"), [("collinear", False), ("spinor", False), ("collinear", True)]
)
def test_hsx(tmp_path, spin, old):
    path = tmp_path / "x.HSX"
    random_hsx(path, spin=spin, old=old)
    refused = survives(path, path.read_bytes(), damage_bytes, lambda: read(str(path)), TRIALS // 2)
    assert refused > TRIALS / 6


def test_tshs(shared, tmp_path):
    folder = shared / "foreign" / "siesta_graphene_tshs"
    shutil.copy(folder / "electrode.ORB_INDX.gz", tmp_path / "x.ORB_INDX.gz")
    path = tmp_path / "x.TSHS"
    whole = (folder / "electrode.TSHS").read_bytes()
    assert survives(path, whole, damage_bytes, lambda: read(str(path))) > TRIALS / 3


def test_netcdf(shared, tmp_path):
    path = tmp_path / "x.nc"
    whole = (shared / "foreign" / "sisl_nc_spinorbit" / "graphene.nc").read_bytes()
    assert survives(path, whole, damage_bytes, lambda: read(str(path))) > TRIALS / 10


@pytest.mark.parametrize(
    ("name", "read_one"), [("ORB_INDX", read_orbital_index), ("XV", read_vectors)]
)
def test_files_beside(shared, tmp_path, name, read_one):
    place = next((shared / "foreign" / "siesta_graphene_tshs").glob(f"electrode.{name}*"))
    whole = place.read_bytes()
    whole = gzip.decompress(whole) if place.suffix == ".gz" else whole
    path = tmp_path / name
    assert survives(path, whole, damage_text, lambda: read_one(str(path)), 60) > 0


@pytest.mark.parametrize(("name", "make"), [("Si.ion", ion_plain), ("Si.ion.xml", ion_xml)])
def test_ion_files(tmp_path, name, make):
    path = tmp_path / name
    assert survives(path, make().encode(), damage_text, lambda: read_ion(str(path)), 60) > 6
