"""The runs made by hand, which the report's tests use too."""

from tests.experiments.report.conftest import (  # noqa: F401
    begin_run,
    blank,
    done,
    make_sample,
    repeated,
    run,
    sampled,
    searched,
    shelf,
)
