import pytest

from experiments import load_trials
from experiments.config.sections import CoefficientsSection
from experiments.report.report import coefficients_text, write_report
from experiments.steps.coefficients import coefficient_grid, grown_members, run_coefficients
from scaler import measure_cost, scale
from search_spaces import InputError

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


def test_a_direction_out_of_reach_is_dropped_with_the_nearest_cost(small):
    members, dropped = grown_members(small, TRIPLED.replace(flops_tolerance=0.0003), **SIZES)
    out_of_reach = [each for each in dropped if "comes within 0.03% of" in each.reason]
    assert members
    assert out_of_reach
    assert all("the nearest cost" in each.reason for each in out_of_reach)


def test_a_network_off_its_direction_does_not_stand_for_it(small):
    """One layer a stage: what costs 15 % more than the baseline is never deeper."""
    stages = [{**dict(stage), "layers": 1} for stage in small.stages]
    section = TRIPLED.replace(target_ratio=1.15, flops_tolerance=0.02)
    members, dropped = grown_members(small.replace(stages=stages), section, **SIZES)
    assert (2.0, 1.0, 1.0) not in {tuple(dict(direction).values()) for direction, _ in members}
    (why,) = [each.reason for each in dropped if each.alpha == 2]
    assert "off its direction: depth 1.00" in why


def test_a_target_that_no_direction_reaches_says_what_to_change(small):
    with pytest.raises(
        InputError, match=r"none of \d+ directions can be scaled; .*flops_tolerance"
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


def test_leaders_are_trained_again_and_the_best_mean_is_chosen(train):
    folder, chosen, trials = train(leaders=3)
    first, again = (trials[trials["round"] == number] for number in (1, 2))
    assert set(again.contender) == set(first.nlargest(3, "accuracy").contender)
    assert again.groupby("contender").seed.nunique().tolist() == [2, 2, 2]
    assert again.seed.nunique() == 2  # the same for all
    assert not set(again.seed) & set(first.seed)
    means = again.groupby("contender").accuracy.mean()
    assert "alpha {:g} beta {:g} gamma {:g}".format(*dict(chosen).values()) == means.idxmax()
    assert folder.coefficients() == chosen
    write_report(folder)
    lines = coefficients_text(folder).splitlines()
    assert lines[2].split()[:4] == ["1", *(f"{value:.4g}" for value in dict(chosen).values())]
    assert "is first with a mean accuracy of" in coefficients_text(folder)


def test_a_finished_grid_trains_nothing_and_more_seeds_only_themselves(train):
    _, chosen, before = train()
    _, again, same = train()
    assert (again, len(same)) == (chosen, len(before))
    _, _, after = train(seeds=3)
    assert len(after) == len(before) + 2
