"""A run's report and its messages speak of the run's metric by name."""

import re
from dataclasses import asdict

import pandas as pd
import pytest

from experiments.report.cells import heads
from experiments.report.figures import make_figures
from experiments.report.report import coefficients_text, result_text, write_report
from experiments.report.tables import make_analysis, make_tables


def texts_in(value):
    """Every text in nested dicts, lists and tuples."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [t for v in inner for t in texts_in(v)] if isinstance(value, dict | list | tuple) else []


def test_the_column_accuracy_is_headed_by_the_metrics_name():
    table = pd.DataFrame(columns=["member", "test_accuracy", "accuracy_low"])
    assert heads(table, "Dice") == ["member", "test Dice", "Dice low"]


@pytest.mark.usefixtures("blank")
def test_a_report_of_dice_nowhere_reads_accuracy(done):
    done.folder.write_environment(metric="Dice")
    page = write_report(done.folder).read_text()
    read = re.sub(
        r"<script.*?</script>|<style.*?</style>|<pre.*?</pre>|<[^>]*>", " ", page, flags=re.S
    )
    assert "accuracy" not in read.lower().replace("top-1 accuracy", "")
    assert "Validation Dice" in read
    assert "test Dice" in read
    assert "accuracy" not in result_text(done.folder)
    assert "accuracy" not in coefficients_text(done.folder)


def test_figures_of_dice_nowhere_read_accuracy(repeated):
    repeated.folder.write_environment(metric="Dice")
    tables = make_tables(repeated.folder)
    tables |= make_analysis(repeated.folder, tables["trials"])
    figures = make_figures(repeated.folder, tables)
    told = [text for figure in figures.values() for text in texts_in(asdict(figure))]
    assert "validation Dice" in told
    assert not [text for text in told if "ccuracy" in text]
