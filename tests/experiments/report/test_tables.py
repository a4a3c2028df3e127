from dataclasses import replace

import pandas as pd
import pytest

from experiments.config.search_section import SearchSection
from experiments.report.frame_files import read_frame, save_frame
from experiments.report.summary import arena_told, outcome
from experiments.report.tables import limits_table, make_tables, write_tables
from search_spaces import load_architecture


def test_every_csv_reads_back_equal_to_its_frame(done):
    tables = make_tables(done.folder)
    write_tables(done.folder.tables, tables)
    for name, table in tables.items():
        saved = save_frame(table, done.folder.path / "again" / f"{name}.csv")
        assert saved.read_bytes() == (done.folder.tables / f"{name}.csv").read_bytes()
        written = read_frame(saved)
        pd.testing.assert_frame_equal(written, table)


def test_the_search_table_ranks_finished_trials_by_reward(run):
    run.record("search", accuracy=0.90, flops=1_000_000)
    run.record("search", accuracy=0.91, flops=4_000_000, channels=40)  # 0.91 * 4^-0.07 = 0.826
    run.record("search", accuracy=0.95, state="pruned", channels=48)
    assert make_tables(run.folder)["search"]["number"].tolist() == [0, 1]


def test_the_coefficients_table_has_the_winner_first_and_the_growth(done):
    table = make_tables(done.folder)["coefficients"]
    assert table["alpha"].tolist() == [2.0, 1.2]
    assert table["growth"].tolist() == [2.0, 1.2]  # beta and gamma are 1


def test_the_confirmation_table_has_mean_and_spread_of_the_last_round(repeated):
    table = make_tables(repeated.folder)["confirmation"]
    assert table["contender"].tolist() == ["#1", "#2", "#0"]
    assert table["round"].tolist() == [2, 2, 1]
    first = table.iloc[0]
    assert (first["reward"], first["accuracy"]) == pytest.approx((0.91, 0.91))
    assert first["reward_spread"] == pytest.approx(0.02 / 2**0.5)
    assert (first["seeds"], first["search_reward"]) == (2, 0.95)


def test_the_coefficients_table_ranks_leaders_by_mean_before_the_others(repeated):
    table = make_tables(repeated.folder)["coefficients"]
    assert table["alpha"].tolist() == [1.2, 2.0, 1.4]
    assert table["accuracy"].tolist() == pytest.approx([0.95, 0.91, 0.80])
    assert table["first_accuracy"].tolist() == [0.91, 0.93, 0.80]
    assert table["seeds"].tolist() == [2, 2, 1]
    assert pd.isna(table["spread"][2])
    assert make_tables(repeated.folder)["dropped"]["reason"].tolist() == ["too coarse"]


def test_a_direction_whose_training_failed_comes_last_without_a_rank(repeated):
    attributes = {"alpha": 1.0, "beta": 1.0, "gamma": 1.4, "rule": "equal_flops", "round": 1}
    attributes |= {"contender": "alpha 1 beta 1 gamma 1.4", "baseline": repeated.baseline.key}
    repeated.record("coefficients", accuracy=None, state="fail", attributes=attributes)
    last = make_tables(repeated.folder)["coefficients"].iloc[-1]
    assert (last["gamma"], last["state"]) == (1.4, "fail")
    assert pd.isna(last["rank"])


def test_the_family_table_sets_flops_beside_baseline_and_target(done):
    table = make_tables(done.folder)["family"]
    assert table["member"].tolist() == ["hand_b0", "hand_b1"]
    assert table["times_baseline"].tolist() == [1.0, 2.1]
    assert pd.isna(table["times_target"][0])
    assert table["times_target"][1] == pytest.approx(1.05)
    assert table["test_accuracy"].tolist() == [0.9, 0.91]


def test_what_was_scaled_from_an_earlier_baseline_is_left_out(done, small):
    done.folder.write_baseline(small.replace(resolution=32))
    tables = make_tables(done.folder)
    assert tables["family"].empty
    assert tables["coefficients"].empty
    assert len(tables["trials"]) == 7


def test_there_is_a_table_of_failures_only_if_something_failed(run):
    run.record("search")
    assert "failures" not in make_tables(run.folder)
    run.record("search", accuracy=None, state="fail", reason="OSError: full")
    assert make_tables(run.folder)["failures"]["reason"].tolist() == ["OSError: full"]


def test_a_reason_cannot_break_out_of_its_markdown_cell(run):
    run.record("search", accuracy=None, state="fail", reason="a | b <script>\n\nc")
    write_tables(run.folder.tables, make_tables(run.folder))
    text = (run.folder.tables / "failures.md").read_text()
    assert "a \\| b &lt;script&gt; c" in text
    assert len(text.splitlines()) == 3


def test_an_empty_table_keeps_its_header(run):
    write_tables(run.folder.tables, make_tables(run.folder))
    assert (run.folder.tables / "family.csv").read_text().startswith("member,phi,depth,width,")
    assert len((run.folder.tables / "family.md").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("flops", "told"),
    [
        ([1.8e6], "uses 36% of the budget of 5 MFLOPs; no finished trial comes within 10% of it."),
        ([1.8e6, 5.1e6], "; the best within 10% of it is trial 1, with 50.00% accuracy and"),
        ([4.9e6, 5.1e6], "The found network uses 98% of the budget of 5 MFLOPs."),
    ],
)
def test_the_result_tells_how_much_of_the_budget_the_found_network_uses(flops, told):
    rows = [
        {"study": "search", "state": "complete", "number": i, "key": str(i), "flops": value}
        | {"reward": 0.6 - i / 10, "accuracy": 0.6 - i / 10}
        for i, value in enumerate(flops)
    ]
    (sentence,) = outcome(pd.DataFrame(rows), SearchSection(target=5e6))
    assert told in sentence


def test_of_each_limit_stands_what_the_baseline_has():
    section = SearchSection(max_peak_ram="96KiB", max_flops="12.6M", min_flops=1)
    table = limits_table(section, load_architecture("resnet8"), num_classes=10, in_channels=3)
    assert table["limit"].tolist() == ["FLOPs", "bytes of RAM at the peak"]
    assert table["has"].tolist() == [12_501_632, 49_152]
    assert table["share"].tolist() == pytest.approx([12_501_632 / 12.6e6, 0.5])
    assert table["binds"].tolist() == ["binds", ""]
    assert limits_table(SearchSection(), load_architecture("resnet8")).empty


def test_the_arena_is_told_where_ram_is_limited(searched):
    folder = searched.folder
    assert arena_told(folder) == []
    limited = folder.config.search.replace(max_peak_ram="1KiB")
    tight = replace(folder, config=folder.config.replace(search=limited))
    (sentence,) = arena_told(tight)
    assert sentence.startswith("ExecuTorch's arena has ")
    assert "over the limit of 1,024" in sentence
