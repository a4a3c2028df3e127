import pytest

from scaler import CompoundCoefficients, measure_cost, scale
from search_spaces import InputError, load_architecture
from tests.conftest import golden

PAPER = CompoundCoefficients(alpha=1.2, beta=1.1, gamma=1.15)


@pytest.mark.parametrize("row", golden("compound_phi.csv"), ids=lambda row: f"phi={row[0]}")
def test_pure_phi_reproduces_the_measured_table(row):
    phi, resolution, params, flops, stem, channels, layers, head = row
    member = scale(load_architecture("efficientnet_b0"), phi=float(phi), coefficients=PAPER)
    assert member.resolution == int(resolution)
    assert (member.stem.channels, member.head.channels) == (int(stem), int(head))
    assert [stage.channels for stage in member.stages] == [int(c) for c in channels.split()]
    assert [stage.layers for stage in member.stages] == [int(n) for n in layers.split()]
    cost = measure_cost(member)
    assert (cost.params, cost.flops) == (int(params), int(flops))


def test_phi_zero_is_the_baseline_itself(small):
    assert scale(small, phi=0, coefficients=PAPER) == small


def test_cost_rises_with_phi(small):
    phis = [-2, -1, 0, 0.5, 1, 2, 3, 4]
    flops = [measure_cost(scale(small, phi=p, coefficients=PAPER)).flops for p in phis]
    assert flops == sorted(flops)
    assert flops[0] < flops[2] < flops[-1]


def test_growth_of_the_papers_coefficients_is_near_two():
    assert CompoundCoefficients().growth == pytest.approx(1.9203, abs=1e-4)


@pytest.mark.parametrize("phi", [float("nan"), float("inf"), 65])
def test_phi_out_of_range_is_refused(small, phi):
    with pytest.raises(InputError, match="phi must be a number between -64 and 64"):
        scale(small, phi=phi, coefficients=PAPER)


def test_phi_beyond_what_can_be_built_is_refused(small):
    with pytest.raises(InputError, match="phi 20 would grow FLOPs over 10,000 times"):
        scale(small, phi=20, coefficients=PAPER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha: 0.9", "alpha: .*greater than or equal to 1, but got 0.9"),
        ("alpha: .nan", "alpha: .*finite"),
        ("version: 2", r"c\.yaml: a coefficients file of version 2 cannot be read, only one of"),
        ("version: one\nalpha: 1.2", "of version 'one' cannot be read"),
        ("alfa: 1.2", "unknown key 'alfa'; did you mean 'alpha'"),
    ],
)
def test_a_wrong_coefficients_file_is_refused(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        CompoundCoefficients.from_file(path)


@pytest.mark.parametrize("version", ["", "version: 1\n"])
def test_a_coefficients_file_of_this_version_or_of_none_is_read(tmp_path, version):
    path = tmp_path / "c.yaml"
    path.write_text(f"{version}alpha: 1.4\nbeta: 1.0\ngamma: 1.2\n")
    assert CompoundCoefficients.from_file(path).alpha == 1.4
