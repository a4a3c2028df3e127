import math

import pytest

from experiments import load_trials
from experiments.config.sections import CoefficientsSection
from experiments.report.report import coefficients_text, write_report
from experiments.steps.coefficients import coefficient_grid, grown_members, run_coefficients
from scaler import measure_cost, scale
from search_spaces import InputError, load_space

SIZES = {"num_classes": 10, "in_channels": 1}
TRIPLED = CoefficientsSection(step=0.2, target_ratio=3.0, flops_tolerance=0.05, leaders=2, seeds=2)


def test_grid_holds_every_point_near_two_and_no_other():
    grid = coefficient_grid(step=0.1, tolerance=0.05)
    points = {(c.alpha, c.beta, c.gamma) for c in grid}
    by_hand = {
        (a / 10, b / 10, g / 10)
        for a in range(10, 21)
        for b in range(10, 21)
        for g in range(10, 21)
        if abs(a * b * b * g * g - 200_000) <= 5_000
    }
    assert points == by_hand
    assert all(min(point) >= 1 for point in points)


def test_the_papers_choice_is_on_its_grid():
    grid = coefficient_grid(step=0.05, tolerance=0.1)
    assert (1.2, 1.1, 1.15) in {(c.alpha, c.beta, c.gamma) for c in grid}


def test_an_empty_grid_is_refused():
    with pytest.raises(InputError, match=r"no alpha, beta, gamma on a grid of step 0\.9"):
        coefficient_grid(step=0.9, tolerance=0.01)


def test_candidates_are_distinct_and_cost_the_same_measured_flops(small):
    members, dropped = grown_members(small, TRIPLED, **SIZES)
    base = measure_cost(small, **SIZES).flops
    costs = [measure_cost(member.architecture, **SIZES).flops for _, member in members]
    assert all(cost / base == pytest.approx(3, rel=0.05) for cost in costs)
    assert len({member.architecture.key for _, member in members}) == len(members) > 2
    assert len(members) + len(dropped) == len(coefficient_grid(step=0.2, tolerance=0.1))


def test_by_the_papers_rule_all_have_one_phi_and_costs_of_their_own(small):
    members, _ = grown_members(small, TRIPLED.replace(rule="phi", phi=1.0), **SIZES)
    for direction, member in members:
        assert member.architecture.key == scale(small, phi=1, coefficients=direction).key
    costs = [member.cost.flops for _, member in members]
    assert max(costs) / min(costs) > 1.2


def test_a_direction_whose_network_moves_another_dimension_is_dropped(small):
    """Within .3 % of three times the FLOPs nothing that is only deeper fits."""
    members, dropped = grown_members(small, TRIPLED.replace(flops_tolerance=0.003), **SIZES)
    assert (2.0, 1.0, 1.0) not in {tuple(dict(direction).values()) for direction, _ in members}
    (why,) = [each.reason for each in dropped if each.alpha == 2]
    assert why.startswith("off its direction (width moved): it would be depth 2.75, width 1.00")


def test_a_network_off_its_direction_does_not_stand_for_it(small):
    """One layer a stage: what costs 15 % more than the baseline is never deeper."""
    stages = [{**dict(stage), "layers": 1} for stage in small.stages]
    section = TRIPLED.replace(target_ratio=1.15, flops_tolerance=0.02)
    members, dropped = grown_members(small.replace(stages=stages), section, **SIZES)
    assert (2.0, 1.0, 1.0) not in {tuple(dict(direction).values()) for direction, _ in members}
    (why,) = [each.reason for each in dropped if each.alpha == 2]
    assert "off its direction (width moved): it would be depth 1.00" in why


@pytest.mark.parametrize("rule", ["equal_flops", "phi"])
@pytest.mark.parametrize("size", [8, 16, 32])
def test_what_is_trained_grows_in_the_dimensions_that_its_coefficients_name(size, rule):
    """Of its growth in FLOPs at most a tenth lies elsewhere; what has the coefficient 1 stays."""

    def shares(depth, width, resolution):
        parts = [math.log(depth), 2 * math.log(width), 2 * math.log(resolution)]
        return [part / sum(parts) for part in parts]

    for baseline in load_space("mbconv_small").at(size).members(4, seed=size):
        members, dropped = grown_members(baseline, CoefficientsSection(rule=rule), **SIZES)
        assert len(members) + len(dropped) == len(coefficient_grid(step=0.1, tolerance=0.1))
        for direction, member in members:
            reached = member.reached_factors()
            named = shares(*dict(direction).values())
            off = sum(abs(a - b) for a, b in zip(shares(*reached), named, strict=True)) / 2
            assert off <= 0.1 + 1e-9
            assert all(r == 1 for r, (_, c) in zip(reached, direction, strict=True) if c == 1)


def test_a_target_that_no_direction_reaches_says_what_to_change(small):
    with pytest.raises(
        InputError, match=r"none of \d+ directions can be .*the nearest cost .*flops_tolerance"
    ):
        grown_members(small, TRIPLED.replace(flops_tolerance=1e-6), **SIZES)


@pytest.fixture
def larger_is_better():
    """By pixels; with the first seed, which chooses the leaders, some luck for the smallest."""

    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        luck = 0.5 if seed < 1000 and architecture.resolution < 18 else seed % 10 / 1e4
        return 0.2 + architecture.resolution / 100 + luck

    return evaluate


@pytest.fixture
def train(config, by_hand, small, larger_is_better):
    def run(**section):
        changed = config.replace(coefficients=TRIPLED.replace(**section))
        session = by_hand(changed, larger_is_better)
        session.folder.write_baseline(small)
        chosen = run_coefficients(session, small)
        return session.folder, chosen, load_trials(config.run, study="coefficients")

    return run


def test_leaders_are_trained_again_and_the_best_mean_is_chosen(train, capsys):
    folder, chosen, trials = train(leaders=3)
    first, again = (trials[trials["round"] == number] for number in (1, 2))
    assert set(again.contender) == set(first.nlargest(3, "accuracy").contender)
    assert again.groupby("contender").seed.nunique().tolist() == [2, 2, 2]
    assert again.seed.nunique() == 2  # the same for all
    assert not set(again.seed) & set(first.seed)
    means = again.groupby("contender").accuracy.mean()
    assert "alpha {:g} beta {:g} gamma {:g}".format(*dict(chosen).values()) == means.idxmax()
    assert folder.coefficients() == chosen
    told = capsys.readouterr().err
    grown = again.set_index("contender").loc[means.idxmax()].iloc[0]
    assert f"{means.idxmax()} was trained as depth {grown.reached_depth:.2f}, width" in told
    write_report(folder)
    lines = coefficients_text(folder).splitlines()
    assert lines[2].split()[:4] == ["1", *(f"{value:.4g}" for value in dict(chosen).values())]
    assert "is first with a mean accuracy of" in coefficients_text(folder)


def test_what_is_left_out_is_told_with_what_it_would_have_been(train, capsys):
    train(flops_tolerance=0.003)
    told = capsys.readouterr().err
    assert "coefficients: 2 directions to train; 0 more come to the same networks, and 4" in told
    assert "left out: alpha 2 beta 1 gamma 1: off its direction (width moved): it would be" in told


def test_a_finished_grid_trains_nothing_and_more_seeds_only_themselves(train):
    _, chosen, before = train()
    _, again, same = train()
    assert (again, len(same)) == (chosen, len(before))
    _, _, after = train(seeds=3)
    assert len(after) == len(before) + 2
