"""What OpenMX's files beside a calculation say."""

import shutil

from moireio.formats.openmx.runs import settings_of, unconverged


def test_convergence_and_settings(data, tmp_path):
    for suffix in ("scfout", "dat", "out"):
        shutil.copy(data / f"gr_ab.{suffix}", tmp_path)
    path = str(tmp_path / "gr_ab.scfout")
    assert unconverged(path) is None
    assert settings_of(path)["scf.XcType"] == "gga-pbe"
    # blocks/NAME.h5 of a dataset
    (tmp_path / "blocks").mkdir()
    (tmp_path / "gr_ab").mkdir()
    shutil.move(tmp_path / "gr_ab.out", tmp_path / "gr_ab" / "gr_ab.out")
    shutil.move(tmp_path / "gr_ab.dat", tmp_path / "gr_ab" / "gr_ab.dat")
    block = tmp_path / "blocks" / "gr_ab.h5"
    block.write_bytes(b"")
    assert unconverged(str(block)) is None
    file = tmp_path / "gr_ab" / "gr_ab.out"
    lines = file.read_text().splitlines()
    steps = [n for n, line in enumerate(lines) if line.strip().startswith("SCF=")]
    cut = lines[: steps[4]] + lines[steps[-1] + 1 :]
    file.write_text("\n".join(cut))
    value, limit, text = unconverged(str(block))
    assert value > limit > 0
    assert "after 4 steps" in text
    assert settings_of(str(tmp_path / "absent.h5")) == {}
