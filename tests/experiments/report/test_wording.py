"""A run's report speaks of its metric by name, and keeps scripts and columns."""

from experiments.report.charts.chart import Axis, Chart, Figure, Marks
from experiments.report.wording import worded, worded_page


def test_figures_and_sentences_carry_the_metrics_name():
    marks = Marks("dots", [1], [0.5], "validation accuracy", texts=["accuracy 0.5"])
    chart = Chart("Family: accuracy", Axis("flops_accuracy"), Axis("Accuracy"), (marks,))
    figure = worded(Figure((chart,), alt="an accuracy", caption="accuracy."), "Dice")
    (panel,) = figure.panels
    assert (panel.title, panel.y.label, figure.alt) == ("Family: Dice", "Dice", "a Dice")
    assert (panel.marks[0].name, panel.marks[0].texts) == ("validation Dice", ["Dice 0.5"])
    assert panel.x.label == "flops_accuracy"  # the name of a column
    assert panel.marks[0].y == [0.5]


def test_a_run_of_accuracy_is_left_as_it_is():
    text = ["an accuracy"]
    assert worded(text, "accuracy") is text


def test_of_a_page_what_is_read_is_worded_and_nothing_else():
    page = '<p class="accuracy">accuracy</p><script>["accuracy"]</script><pre>accuracy: 1</pre>'
    assert worded_page(page, "mean IoU") == (
        '<p class="accuracy">mean IoU</p><script>["accuracy"]</script><pre>accuracy: 1</pre>'
    )
