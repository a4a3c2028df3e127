"""The whole line: search, coefficients, family, report."""

import time

from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.units import readable_seconds
from experiments.engine.session import open_session
from experiments.steps.coefficients import coefficient_grid, run_coefficients
from experiments.steps.family import run_family
from experiments.steps.search import check_search, run_search
from scaler.cost import measure_cost


def run_line(config: SearchConfig) -> RunFolder:
    """From a search space to a scaled, trained family and its report; continues what was begun."""
    from experiments.report.report import write_report

    check_search(config)
    coefficient_grid(step=config.coefficients.step, tolerance=config.coefficients.tolerance)
    with open_session(config, searches=True) as session:
        began = time.monotonic()
        seconds: dict[str, float] = {}

        def lap(part: str) -> None:
            seconds[part] = round(time.monotonic() - began - sum(seconds.values()), 1)

        baseline = run_search(session)
        lap("search")
        cost = measure_cost(baseline, **session.sizes)
        say(f"baseline: {cost.flops:,} FLOPs, {cost.params:,} parameters")
        coefficients = run_coefficients(session, baseline)
        lap("coefficients")
        values = ", ".join(f"{name} {value:g}" for name, value in coefficients)
        say(f"coefficients: {values} (growth {coefficients.growth:.3f})")
        run_family(session, baseline, coefficients)
        lap("family")
        session.folder.write_environment(**{**session.folder.environment(), "seconds": seconds})
    write_report(session.folder)
    say(f"done in {readable_seconds(time.monotonic() - began)}")
    return session.folder
