"""Torch's checkpoints: damage is found, and nothing of them runs."""

import os
import pathlib
import zipfile

import numpy as np
import pytest
import torch

from moireio.errors import DamagedError, MissingFileError, MoireioError
from moireio.formats.deeph.checkpoint import read_state

WEIGHTS = {
    "embedding.weight": torch.arange(600.0),
    "lin_edge.weight": torch.ones(3, 5),
    "counts": torch.arange(4),
}


def save(path, **changes):
    """A checkpoint with some weights changed."""
    torch.save({"epoch": 3, "state_dict": WEIGHTS | changes}, path)
    return str(path)


def test_weights_come_back(tmp_path):
    state = read_state(save(tmp_path / "a.pkl"))
    assert state.keys() == WEIGHTS.keys()
    assert all(torch.equal(state[name], value) for name, value in WEIGHTS.items())


def test_every_changed_byte_of_a_member_is_found(tmp_path):
    """Torch itself reads most of these: it does not compare the CRC-32."""
    good = pathlib.Path(save(tmp_path / "a.pkl")).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pkl") as file:
        members = file.infolist()
        starts = {
            m.filename: m.header_offset
            + 30
            + int.from_bytes(good[m.header_offset + 26 : m.header_offset + 28], "little")
            + int.from_bytes(good[m.header_offset + 28 : m.header_offset + 30], "little")
            for m in members
        }
    accepted_by_torch = 0
    rng = np.random.default_rng(0)
    for member in members:
        if member.file_size == 0:
            continue
        for offset in rng.integers(member.file_size, size=6):
            raw = bytearray(good)
            raw[starts[member.filename] + int(offset)] ^= 1 << rng.integers(8)
            (tmp_path / "b.pkl").write_bytes(raw)
            with pytest.raises(
                DamagedError, match=r"b\.pkl: its member .* does not fit its CRC-32"
            ):
                read_state(str(tmp_path / "b.pkl"))
            try:
                torch.load(tmp_path / "b.pkl", weights_only=True)
                accepted_by_torch += 1
            except Exception:  # torch raises whatever the bytes make it
                continue
    assert accepted_by_torch > 10


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_cut_short(tmp_path, kept):
    good = pathlib.Path(save(tmp_path / "a.pkl")).read_bytes()
    (tmp_path / "a.pkl").write_bytes(good[: int(kept * len(good))])
    with pytest.raises(DamagedError, match="is cut short or damaged"):
        read_state(str(tmp_path / "a.pkl"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    weight = WEIGHTS["embedding.weight"].clone()
    weight[17] = value
    path = save(tmp_path / "a.pkl", **{"embedding.weight": weight})
    with pytest.raises(DamagedError, match=r"weight 'embedding\.weight' has numbers that are not"):
        read_state(path)


class Program:
    """An object that writes a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (
            {"state_dict": {"embed.weight": torch.zeros(2)}},
            "another program: it holds embed.weight",
        ),
        ({"model": {}, "epoch": 3}, "another program: it holds model, epoch"),
        ([torch.zeros(2)], "another program: it holds list"),
        ({"state_dict": [1, 2]}, "another program: it holds state_dict"),
        (
            {"state_dict": WEIGHTS, "args": pathlib.PurePosixPath("x")},
            "it holds objects of pathlib.",
        ),
        ({"state_dict": Program()}, r"it holds objects of (posix|nt)\.system"),
    ],
)
def test_checkpoints_of_other_programs(tmp_path, monkeypatch, checkpoint, message):
    """Called that; nothing of theirs runs, and torch's advice to let it is not passed on."""
    monkeypatch.chdir(tmp_path)
    torch.save(checkpoint, tmp_path / "a.pkl")
    with pytest.raises(MoireioError, match=message) as error:
        read_state(str(tmp_path / "a.pkl"))
    assert "weights_only" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_tensors_that_claim_more_than_is_stored(tmp_path):
    """Numbers that all lie at one place: 4 bytes that stand for 4 TB."""
    path = save(tmp_path / "a.pkl", **{"embedding.weight": torch.zeros(1).expand(10**12)})
    with pytest.raises(
        DamagedError, match="claims 1000000000000 numbers, of which the file holds 1"
    ):
        read_state(path)


def test_what_is_no_zip_of_torch(tmp_path):
    with pytest.raises(MissingFileError):
        read_state(str(tmp_path / "absent.pkl"))
    old = tmp_path / "old.pkl"
    torch.save({"state_dict": WEIGHTS}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(MoireioError, match=r"before torch 1\.6 has no checksums"):
        read_state(str(old))
    with zipfile.ZipFile(tmp_path / "a.pkl", "w") as file:
        file.writestr("x.txt", "nothing")
    with pytest.raises(MoireioError, match=r"torch's zip has a member data\.pkl .*x\.txt"):
        read_state(str(tmp_path / "a.pkl"))


def test_members_that_unpack_to_more_than_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pkl", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\x80\x02}q\x00.")
        file.writestr("a/data/0", bytes(100 << 20))
    with pytest.raises(DamagedError, match="stand for 104857606 bytes, too many for a file of"):
        read_state(str(tmp_path / "a.pkl"))
