"""Zero-cost scores of networks, and how well each proxy ranks as the longer training does."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn

from experiments.config.sections import ProxySection, ShortTraining
from search_spaces.network import TrainingScores, weighted_loss

_RESAMPLES = 2_000  # of the networks, for the intervals
_TOP = 0.25  # of the networks


def training_name(training: ShortTraining) -> str:
    """`first 2 epochs`, `2 epochs, half the data` and the like."""
    epochs = f"{training.epochs} epoch{'s' if training.epochs > 1 else ''}"
    if training.full_schedule:
        return f"first {epochs}"
    data = f", {training.data:.0%} of the data" if training.data < 1 else ""
    pixels = f", {training.resolution:.0%} of the resolution" if training.resolution < 1 else ""
    return f"{epochs}{data}{pixels}"


def measured_networks(records: Sequence[dict[str, Any]], section: ProxySection) -> pd.DataFrame:
    """A row for each completely measured network: `truth`, and a column for each proxy.

    `truth` is the mean accuracy of the longer trainings; `seconds.<name>` are each proxy's seconds,
    `seconds.truth` those of one longer training.
    """
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        row = rows.setdefault(record["key"], {"key": record["key"]})
        row |= {"flops": record["flops"], "params": record["params"]}
        name, seed, seconds = record["name"], record["seed"], record["seconds"]
        if name == "long":
            curve = record["accuracies"]
            row[f"long.{seed}"], row[f"seconds.long.{seed}"] = curve[-1], seconds
            if seed == 0:
                for training in section.trainings:
                    if training.full_schedule:
                        label = training_name(training)
                        row[label] = curve[training.epochs - 1]
                        row[f"seconds.{label}"] = seconds * training.epochs / len(curve)
        elif name == "scores":
            row |= record["scores"]
            row |= dict.fromkeys((f"seconds.{score}" for score in SCORES), seconds / len(SCORES))
        else:
            row[name], row[f"seconds.{name}"] = record["accuracies"][-1], seconds
    longs = [f"long.{seed}" for seed in range(section.seeds)]
    wanted = ["key", "flops", "params", *longs, *_names(section), *SCORES]
    table = pd.DataFrame(list(rows.values()))
    if not set(wanted) <= set(table.columns):
        return pd.DataFrame(columns=[*wanted, "truth"])
    table = table.dropna(subset=wanted).reset_index(drop=True)
    table["truth"] = table[longs].mean(axis=1)
    table["seconds.truth"] = table[[f"seconds.{name}" for name in longs]].mean(axis=1)
    return table


def proxy_table(networks: pd.DataFrame, section: ProxySection) -> pd.DataFrame:
    """A row for each proxy: Spearman's rho with its 95 % interval, Kendall's tau, hits, lost, cost.

    `top` is the share of the truly best quarter that the proxy's best quarter holds; `lost` the
    accuracy lost by taking the network that the proxy ranks first; `cost` its seconds over the
    longer training's, the median over the networks. The first row, another longer training, is the
    limit set by noise. Intervals are percentiles of 2,000 resamples of the networks.
    """
    truth = networks["truth"].to_numpy(float)
    ceiling = networks[["long.0", "long.1"]].to_numpy(float)
    rows = [_row("longer training, another seed", ceiling[:, 0], ceiling[:, 1], cost=1.0)]
    for name in [*_names(section), "params", "flops", *SCORES]:
        scores = networks[name].to_numpy(float)
        seconds = networks.get(f"seconds.{name}")
        cost = 0.0 if seconds is None else float((seconds / networks["seconds.truth"]).median())
        rows.append(_row(name, scores, truth, cost=cost))
    return pd.DataFrame(rows)


def cheapest(table: pd.DataFrame, *, correlation: float) -> str | None:
    """The training or score of least cost whose Spearman's rho is at least `correlation`."""
    able = table.iloc[1:]
    able = able[able["spearman"] >= correlation]
    return None if able.empty else str(able.sort_values("cost", kind="stable").iloc[0]["proxy"])


def _names(section: ProxySection) -> list[str]:
    return [training_name(training) for training in section.trainings]


def _row(name: str, scores: np.ndarray, truth: np.ndarray, *, cost: float) -> dict[str, Any]:
    low, high = _interval(scores, truth)
    count = max(1, round(_TOP * len(truth)))
    best = set(np.argsort(-truth, kind="stable")[:count])
    first = np.argsort(-scores, kind="stable")
    return {
        "proxy": name,
        "spearman": _spearman(scores, truth),
        "low": low,
        "high": high,
        "kendall": float(stats.kendalltau(scores, truth).statistic),
        "top": len(best & set(first[:count])) / count,
        "lost": float(truth.max() - truth[first[0]]),
        "cost": cost,
    }


def _spearman(scores: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's rho; 0 if all values of one are equal: such a proxy ranks nothing."""
    if len(set(scores)) < 2 or len(set(truth)) < 2:
        return 0.0
    return float(stats.spearmanr(scores, truth).statistic)


def _interval(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Percentiles of Spearman's rho over resamples of the networks; 0 if all of one are equal."""
    count = len(truth)
    chosen = np.random.RandomState(0).randint(count, size=(_RESAMPLES, count))
    ranks = [stats.rankdata(values[chosen], axis=1) for values in (scores, truth)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    products = (first * second).sum(axis=1)
    rho = np.divide(products, spread, out=np.zeros(_RESAMPLES), where=spread > 0)
    low, high = np.percentile(rho, [2.5, 97.5])
    return float(low), float(high)


_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU)

Score = Callable[[nn.Module, Tensor, Tensor], float]


def synflow(network: nn.Module, images: Tensor, labels: Tensor) -> float:  # noqa: ARG001
    """log of the sum of |w * dR/dw|, R = the summed scores of ones through the weights |w|.

    Batch norm is in eval mode, which before any training is the identity; so it needs no data
    (arXiv:2006.05467, equation 2; as a score of whole networks arXiv:2101.08134).
    """
    network.eval().double()
    signs = {name: p.detach().sign() for name, p in network.named_parameters()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network.zero_grad()
    torch.autograd.backward(network(torch.ones_like(images[:1], dtype=torch.float64)).sum())
    total = sum(float((weight * grad).abs().sum()) for weight, grad in _gradients(network))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(signs[name])
    network.float()
    return float(torch.tensor(total, dtype=torch.float64).log())


def naswot(network: nn.Module, images: Tensor, labels: Tensor) -> float:  # noqa: ARG001
    """log |det K|, K_ij = how many activations are on for both images or off for both.

    A unit is on where its activation's input is above 0 (arXiv:2006.04647, section 3).
    """
    network.train()
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64, device=images.device)

    def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        on = (inputs[0].detach().flatten(1) > 0).double()  # (N, units)
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    hooks = [
        module.register_forward_pre_hook(add)
        for module in network.modules()
        if isinstance(module, _ACTIVATIONS)
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)


def gradient_norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Euclidean norm of the loss's gradient by all weights, at the start (arXiv:2101.08134)."""
    network.train()
    network.zero_grad()
    output = network(images)
    assert isinstance(output, Tensor | TrainingScores)
    loss = weighted_loss(output, partial(nn.functional.cross_entropy, target=labels))
    torch.autograd.backward(loss)
    return float(torch.stack([(grad**2).sum() for _, grad in _gradients(network)]).sum().sqrt())


SCORES: dict[str, Score] = {"synflow": synflow, "naswot": naswot, "gradient_norm": gradient_norm}


def _gradients(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """(weight, its gradient) of kernels and matrices, without those of normalisation."""
    return [
        (weight.detach(), weight.grad)
        for weight in network.parameters()
        if weight.ndim > 1 and weight.grad is not None
    ]
