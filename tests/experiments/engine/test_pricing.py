"""Limits and costs of candidates: what lies outside is never handed out, and counted by reason."""

import pytest

from experiments.config.search_section import SearchSection
from experiments.config.units import count_of
from experiments.engine import pricing
from experiments.engine.limits import check_limits
from experiments.engine.pricing import Pricing
from experiments.engine.progress import screened_text
from experiments.engine.sampled import MOST_SLOW, SampledCandidates
from experiments.store.trial import Trial
from scaler.cost import Cost, device_cost
from scaler.latency_model import LatencyModel
from search_spaces import InputError, load_space
from tests.scaler.test_latency_model import table

SIZES = {"num_classes": 10, "in_channels": 1}


def sampled(**settings):
    section = SearchSection(sampler="random", **settings)
    space = load_space("mbconv_small").at(8)
    return SampledCandidates(space, section=section, seed=0, finished=[], **SIZES)


@pytest.fixture
def model_file(tmp_path):
    """A millisecond, and 5 ns an element."""
    path = tmp_path / "latency.json"
    path.write_text(table(lambda _, activations: 1e-3 + 5e-9 * activations).to_json())
    return path


@pytest.fixture
def measured(monkeypatch):
    """Measurements that take no time and say 10 ms; the keys of what was measured."""
    keys = []

    def measure(networks, **_):
        keys.extend(network.key for network in networks)
        return [type("Latency", (), {"quiet": 0.01})() for _ in networks]

    monkeypatch.setattr(pricing, "measure_latencies", measure)
    return keys


@pytest.mark.parametrize(("name", "limit"), [("params", 30_000), ("activations", 15_000)])
def test_nothing_above_a_limit_is_handed_out(name, limit):
    source = sampled(**{f"max_{name}": limit})
    costs = [getattr(source.next().cost, name) for _ in range(15)]
    assert max(costs) <= limit
    assert source.screened_by["outside"] > 0


def test_nothing_slower_than_the_limit_is_handed_out(model_file):
    source = sampled(latency_model=model_file, max_latency=1.1e-3)
    model = LatencyModel.from_file(model_file)
    found = [source.next() for _ in range(10)]
    assert max(model(c.cost) for c in found) <= 1.1e-3
    assert [c.attributes["latency"] for c in found] == [model(c.cost) for c in found]
    assert source.screened_by["slow"] > 0


@pytest.mark.parametrize("cost", ["flops", "params", "activations", "latency"])
def test_the_reward_uses_the_cost_that_stands_on_the_trial(cost, model_file):
    source = sampled(cost=cost, target=7.0, exponent=-0.1, latency_model=model_file)
    candidate = source.next()
    trial = Trial(candidate).ended("complete", 0.8, extra={"cost": 1.0, "latency": 2.0}).frozen()
    stored = trial.user_attrs
    assert stored["cost"] == stored[cost]
    assert trial.value == pytest.approx(0.8 * (stored[cost] / 7.0) ** -0.1)


def test_a_network_is_measured_once(measured):
    source = sampled(cost="latency", target=0.005)
    found = [source.next() for _ in range(30)]
    assert [c.architecture.key for c in found] == measured
    assert {c.attributes["cost"] for c in found} == {0.01}


def test_a_search_in_which_all_is_slow_gives_up_after_some_measurements(measured):
    source = sampled(max_latency=0.001)
    assert source.next() is None
    assert 0 < source.screened_by["slow"] <= MOST_SLOW
    assert len(measured) == len(set(measured)) <= MOST_SLOW
    assert "no more networks" in source.ended or "too slow" in source.ended


def test_what_was_thrown_back_is_told_by_reason():
    assert screened_text({}) == ""
    assert screened_text({"repeated": 2, "outside": 3}) == (
        "5 screened out before training (3 outside the limits, 2 already tried)"
    )


def test_a_model_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json.*is required"):
        pricing.latency_facts(SearchSection(latency_model=tmp_path / "other.json"))


def test_a_changed_model_is_another_fact(model_file):
    section = SearchSection(latency_model=model_file)
    before = pricing.latency_facts(section)
    model_file.write_text(model_file.read_text().replace("an abacus", "another"))
    assert pricing.latency_facts(section) != before
    assert pricing.latency_facts(SearchSection()) == {}


def test_limits_of_a_device_keep_networks_out_by_bytes():
    section = SearchSection(space="mbconv_small", max_peak_ram="40KiB", max_flash="1MiB")
    assert (section.max_peak_ram, section.max_flash) == (40 * 1024, 2**20)
    pricing = Pricing(section, num_classes=10, in_channels=3)
    assert pricing.allows(Cost(1, 1, 1, peak_ram=40 * 1024, flash=2**20))
    assert not pricing.allows(Cost(1, 1, 1, peak_ram=40 * 1024 + 1, flash=2**20))
    assert not pricing.allows(Cost(1, 1, 1, peak_ram=40 * 1024, flash=2**20 + 1))


def test_ram_and_flash_are_costs_that_the_reward_divides_by_its_target():
    member = load_space("mbconv_small").at(16).members(1, seed=0)[0]
    whole = device_cost(member, num_classes=10)
    for cost in ("peak_ram", "flash"):
        section = SearchSection(space="mbconv_small", cost=cost, target="16KiB")
        pricing = Pricing(section, num_classes=10, in_channels=3)
        price = pricing.price(pricing.cost(member), None)
        assert price == getattr(whole, cost)
        assert pricing.factor(price) == pytest.approx((price / 16384) ** -0.07)


def test_ram_of_networks_that_score_pixels_is_limited_too():
    dense = SearchSection(space="mbconv_dense", max_peak_ram="1KiB", target=1e7)
    member = load_space("mbconv_dense").members(1, seed=0)[0]
    pricing = Pricing(dense, num_classes=5, in_channels=3)
    assert pricing.excess(pricing.cost(member), None) > 0


COUNTS = [("15M", 15e6), ("256KiB", 262_144), ("3e5", 3e5), (".001", 0.001), (".5M", 5e5)]


@pytest.mark.parametrize(("text", "count"), COUNTS)
def test_counts_are_read_as_people_write_them(text, count):
    assert count_of(text) == count
    with pytest.raises(ValueError, match="15M or 256KiB; got '5 apples'"):
        count_of("5 apples")


def test_ram_and_flash_are_counted_where_they_are_limited():
    sizes = {"num_classes": 10, "in_channels": 1}
    member = load_space("mbconv_small").at(16).members(1, seed=0)[0]
    whole = device_cost(member, **sizes)
    assert whole.peak_ram
    assert whole.flash
    for limit in ({"max_peak_ram": whole.peak_ram - 1}, {"max_flash": whole.flash - 1}):
        pricing = Pricing(SearchSection(**limit), **sizes)
        assert not pricing.allows(pricing.cost(member))
        assert pricing.excess(pricing.cost(member), None) > 0
    assert Pricing(SearchSection(), **sizes).cost(member).peak_ram is None
    tight = SearchSection(space="mbconv_small", resolution=16, max_peak_ram="1KiB", target=1e6)
    with pytest.raises(
        InputError, match=r"max_peak_ram 1024\): the cheapest .* of RAM at the peak"
    ):
        check_limits(tight, **sizes)
    with pytest.raises(InputError, match=r"the last has [\d,]+ bytes of RAM at the peak, but the"):
        check_limits(tight.replace(at="budget"), **sizes)


def test_a_limit_of_ram_binds_networks_that_find_boxes_too():
    member = load_space("mbconv_detect").at(64).members(1, seed=1)[0]
    sizes = {"num_classes": 3, "in_channels": 3}
    peak = device_cost(member, **sizes).peak_ram
    for limit, kept in ((peak, True), (peak - 1, False)):
        pricing = Pricing(SearchSection(space="mbconv_detect", max_peak_ram=limit), **sizes)
        assert pricing.allows(pricing.cost(member)) is kept
