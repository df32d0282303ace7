"""Names of groups of bands, and the bands that they are."""

import pytest
from toymodels import haldane, of_both_spins

import moireio
from moireio.errors import MoireioError
from moireio.topology.bandgroups import (
    BandGroup,
    parse_group,
    resolve_groups,
)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("3:7", 3, 7),
        ("4:4", 4, 4),
        ("v1", 10, 10),
        ("v1:v3", 8, 10),
        ("v3:v1", 8, 10),
        ("c1:c2", 11, 12),
        ("V2:C2", 9, 12),
        ("4", 9, 12),
        ("2", 10, 11),
    ],
)
def test_bands_by_name(text, first, last):
    group = parse_group(text).resolve(10, 16)
    assert group == BandGroup(first, last)
    assert group.count == last - first + 1
    assert group.band_range == (first - 1, last - 1)


def test_numbers_need_no_filling():
    assert parse_group("2:5").resolve(None, 5) == BandGroup(2, 5)
    with pytest.raises(MoireioError, match="number of filled bands is unknown"):
        parse_group("v1").resolve(None, 5)


@pytest.mark.parametrize("text", ["", "0", "a", "7:3", "1:v2", "1:2:3", "v0", "-1:2", "v", "1:"])
def test_other_names_are_refused(text):
    with pytest.raises(MoireioError, match="names no bands"):
        parse_group(text)


@pytest.mark.parametrize("text", ["3:17", "v11", "c7", "v1:c7"])
def test_bands_that_are_not_there(text):
    with pytest.raises(MoireioError, match="there are 16 bands"):
        parse_group(text).resolve(10, 16)


def test_a_default_is_shortened_to_the_bands_that_are_there():
    near = parse_group("v4:c4", shortened=True)
    assert near.resolve(10, 16) == BandGroup(7, 14)
    assert near.resolve(1, 2) == BandGroup(1, 2)
    with pytest.raises(MoireioError, match=r"there are 2 bands, 0 of them filled \(name others"):
        parse_group("v4:v1", shortened=True).resolve(0, 2)


def test_half_a_band():
    with pytest.raises(MoireioError, match=r"7\.5 bands are filled"):
        parse_group("v1").resolve(7.5, 16)
    assert parse_group("1:8").resolve(7.5, 16) == BandGroup(1, 8)


def test_groups_of_a_file(made):
    with moireio.open(made["gr_ab"]) as file:
        assert resolve_groups(file, ()) == [BandGroup(1, 8)]
        named = tuple(map(parse_group, ("v1:v2", "c1", "1:3")))
        assert resolve_groups(file, named) == [
            BandGroup(7, 8),
            BandGroup(9, 9),
            BandGroup(1, 3),
        ]


def test_the_option():
    import click
    from click.testing import CliRunner

    from moireio.tools.band_group_options import band_groups_option

    @click.command()
    @band_groups_option("all")
    def command(bands, energy):
        click.echo(f"{' '.join(map(str, bands))} {energy}")

    run = CliRunner().invoke
    assert run(command, ["--bands", "v1:v2", "--bands", "4", "--energy", "1"]).output == (
        "v1:v2 4 1.0\n"
    )
    refused = run(command, ["--bands", "5:3"])
    assert refused.exit_code == 2
    assert "'5:3' names no bands (expected A:B" in refused.output


@pytest.mark.parametrize(
    ("exchange", "electrons", "filled"),
    [(7.0, 2, (2, 0)), (7.0, 1, (1, 0)), (7.0, 3, (2, 1)), (-7.0, 1, (0, 1)), (0.3, 2, (1, 1))],
)
def test_groups_of_magnets(tmp_path, exchange, electrons, filled):
    layer = haldane(M=0.2)
    path = of_both_spins(layer, layer, exchange, electrons).write(tmp_path / "x.h5")
    with moireio.open(path) as file:
        groups = resolve_groups(file, (), by_spin=True)
        named = [BandGroup(1, n, channel) for channel, n in enumerate(filled) if n]
        assert groups == ([BandGroup(1, 1)] if filled == (1, 1) else named)
        if filled != (1, 1):
            with pytest.raises(MoireioError, match=f"spin up has {filled[0]} filled bands"):
                resolve_groups(file, (parse_group("v1"),))
        assert resolve_groups(file, (parse_group("1:2"),)) == [BandGroup(1, 2)]
