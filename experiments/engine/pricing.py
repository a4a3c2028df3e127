"""What a candidate costs in the objective's own unit, and whether it lies within the limits."""

import hashlib
import math
from pathlib import Path
from typing import Any

from experiments.config.search_section import SearchSection
from experiments.samplers.known_cost import reward
from scaler.budget import ON_A_DEVICE
from scaler.compound import CompoundCoefficients
from scaler.conditions import find_device, machine_facts
from scaler.cost import Cost, device_cost, measure_cost
from scaler.latency import measure_latencies
from scaler.latency_model import LatencyModel
from scaler.scaled import scale_to
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

MEASURE_SECONDS = 2.0  # at most, of one candidate, its warm-up apart
TOLERANCE = 0.05
AT_BUDGET = 0.02  # how far a scaled shape may be from the target: (1.02)^-0.07 is 0.9986


class Pricing:
    """The cost, limits and reward factor that a search's section asks for.

    A latency is predicted by the section's `latency_model`, or measured once for each network, here
    on the machine of the driver, at the moment that the candidate is drawn.
    """

    def __init__(self, section: SearchSection, *, num_classes: int, in_channels: int) -> None:
        self._section = section
        self._sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self._model = None
        if section.latency_model is not None:
            self._model = LatencyModel.from_file(section.latency_model)
        self._measured: dict[str, float] = {}
        self._brought: dict[str, Architecture | InputError] = {}

    @property
    def measures(self) -> bool:
        """Whether latency is measured, not predicted."""
        return self._section.needs_latency and self._model is None

    def cost(self, architecture: Architecture) -> Cost:
        """What is counted of a network; RAM and flash only where the section asks for them."""
        section = self._section
        limited = min(section.max_peak_ram, section.max_flash) < math.inf
        measure = device_cost if limited or section.cost in ON_A_DEVICE else measure_cost
        return measure(architecture, **self._sizes)

    def brought(self, architecture: Architecture) -> Architecture:
        """What is trained of a suggested shape: itself, or scaled to the target (`at: budget`).

        The resolution stays. Raises InputError where the shape cannot reach the target. Limits are
        looked at afterwards: the solver takes seconds to find that nothing keeps them.
        """
        if self._section.at == "formula":
            return architecture
        key = architecture.key
        if key not in self._brought:
            try:
                self._brought[key] = self._at_the_target(architecture)
            except InputError as error:
                self._brought[key] = error
        brought = self._brought[key]
        if isinstance(brought, InputError):
            raise brought
        return brought

    def _at_the_target(self, architecture: Architecture) -> Architecture:
        section = self._section
        model = self._model
        scaled = scale_to(
            architecture,
            target=section.known_target,
            cost=section.cost,
            coefficients=CompoundCoefficients(),
            tolerance=AT_BUDGET,
            latency=None if model is None else lambda a: model(measure_cost(a, **self._sizes)),
            resolution=architecture.resolution,
            num_classes=self._sizes["num_classes"],
            in_channels=self._sizes["in_channels"],
        )
        return scaled.architecture.replace(name=architecture.name)

    def allows(self, cost: Cost) -> bool:
        """Whether all that is counted lies within the limits."""
        section = self._section
        return (
            section.min_flops <= cost.flops <= section.max_flops
            and cost.params <= section.max_params
            and cost.activations <= section.max_activations
            and (cost.peak_ram or 0) <= section.max_peak_ram
            and (cost.flash or 0) <= section.max_flash
        )

    def excess(self, cost: Cost, latency: float | None) -> float:
        """How far outside the limits: the sum of the logarithms of its ratios to them.

        0 within. Without a `latency` nothing is said of it.
        """
        excess = 0.0
        for name, limit in self._section.limits.items():
            side, what = name.split("_", 1)
            value = latency if what == "latency" else getattr(cost, what)
            if value is not None:
                ratio = math.log(max(value, 1e-12) / limit)
                excess += max(0.0, ratio if side == "max" else -ratio)
        return excess

    def latency(self, architecture: Architecture, cost: Cost) -> float | None:
        """Seconds, where the section needs them; see `Latency.quiet` for what is measured."""
        if not self._section.needs_latency:
            return None
        if self._model is not None:
            return self._model(cost)
        key = architecture.key
        if key not in self._measured:
            (latency,) = measure_latencies(
                [architecture],
                conditions=self._section.latency,
                **self._sizes,
                budget=MEASURE_SECONDS,
                tolerance=TOLERANCE,
            )
            self._measured[key] = latency.quiet
        return self._measured[key]

    def allows_latency(self, latency: float | None) -> bool:
        """Whether seconds are within `max_latency`; None where no latency is measured."""
        return latency is None or latency <= self._section.max_latency

    def price(self, cost: Cost, latency: float | None) -> float:
        """What the objective divides by its target."""
        if self._section.cost == "latency":
            assert latency is not None
            return latency
        return float(getattr(cost, self._section.cost))

    def factor(self, price: float) -> float:
        """(COST/T)^w, known before the trial."""
        return reward(
            1.0, price, target=self._section.known_target, exponent=self._section.known_exponent
        )


def latency_facts(section: SearchSection) -> dict[str, Any]:
    """What makes latencies of one run comparable: the model's contents, or where they are measured.

    Raises InputError where the model cannot be read, or the device is not there.
    """
    if not section.needs_latency:
        return {}
    if section.latency_model is not None:
        LatencyModel.from_file(section.latency_model)
        contents = Path(section.latency_model).read_bytes()
        return {"latency_model": hashlib.sha256(contents).hexdigest()[:16]}
    return {"latency_hardware": machine_facts(find_device(section.latency.device))["hardware"]}
