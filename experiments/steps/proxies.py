"""Random networks of a space, each with a long and short trainings and scores, stored by line.

`proxies.jsonl` in the run folder has a line for each measurement, written to the disk before the
next begins: a run that was killed continues with the missing ones.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count as counting
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch

from experiments.config.files import write_text
from experiments.config.messages import event
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.config.sections import ProxySection, ShortTraining
from experiments.config.units import readable_count, readable_seconds
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.data.split import stratified_sample
from experiments.engine.limits import WithinLimits, limits_text, searched_space
from experiments.engine.pricing import Pricing
from experiments.steps.proxy_table import (
    SCORES,
    cheapest,
    measured_networks,
    proxy_table,
    training_name,
)
from experiments.store.run_lock import RunLock
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.loop import TrainingDiverged
from experiments.training.training import Training
from scaler.conditions import find_device
from scaler.cost import measure_cost
from search_spaces import load_space
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

_DRAWS = 50  # random members in a row outside the limits; then a walk finds one within
_BATCH = 64  # images for a zero-cost score

Record = dict[str, Any]


def sample_networks(
    section: SearchSection, *, count: int, seed: int, num_classes: int, in_channels: int
) -> list[Architecture]:
    """Random members within the search's limits. InputError if the space has too few.

    A smaller number gives the first ones of a larger number. If random members are hardly ever
    within the limits, a walk finds the next.
    """
    space = replace(searched_space(section), training={})
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    pricing = Pricing(section, **sizes)
    within = WithinLimits(space, pricing, **sizes, seed=seed)
    found: dict[str, Architecture] = {}
    misses = 0
    for member in _members(space, seed=seed):
        if member is not None and pricing.allows(pricing.cost(member)):
            found.setdefault(member.key, member)
            misses = 0
        elif member is None or (misses := misses + 1) == _DRAWS:
            params = within.find(found)
            if params is None:
                break
            drawn = space.suggest(optuna.trial.FixedTrial(dict(params)))
            found[drawn.key] = drawn.replace(name=f"{space.name}_within_{len(found)}")
            misses = 0
        if len(found) == count:
            return list(found.values())
    raise InputError(
        f"only {len(found)} networks of space '{section.space}' were found within the search's "
        f"limits{limits_text(section)}, and proxy.networks is {count}; widen them, or lower it"
    )


def _members(space: SearchSpace, *, seed: int) -> Iterator[Architecture | None]:
    """Random members, no network twice; then only None."""
    members: list[Architecture] = []
    for wanted in (_DRAWS * 2**i for i in counting()):
        before = len(members)
        members = space.members(wanted, seed=seed)  # a smaller number gives the first ones
        yield from members[before:]
        if len(members) < wanted:
            break
    yield from repeat(None)


def planned(section: ProxySection) -> list[tuple[str, ShortTraining | None, int]]:
    """(name, training, seed) of each training of a network; None is the longer training."""
    long = [("long", None, seed) for seed in range(section.seeds)]
    short = [
        (training_name(training), training, 0)
        for training in section.trainings
        if not training.full_schedule  # the longer training gives these too
    ]
    return [*long, *short, ("scores", None, 0)]


def measure_missing(config: SearchConfig, data: ImageData, *, kept: Path) -> Iterator[Record]:
    """Makes each missing measurement of `kept`, network by network, and adds it at once."""
    section = config.proxy
    networks = sample_networks(
        config.search,
        count=section.networks,
        seed=config.seed,
        num_classes=data.num_classes,
        in_channels=data.channels,
    )
    done = {(record["key"], record["name"], record["seed"]) for record in read_kept(kept)}
    for architecture in networks:
        for name, training, seed in planned(section):
            if (architecture.key, name, seed) in done:
                continue
            if name == "scores":
                record = _scores(architecture, data, config)
            else:
                record = _trained(architecture, data, config, training, seed=seed)
            cost = measure_cost(
                architecture, num_classes=data.num_classes, in_channels=data.channels
            )
            record = {
                "key": architecture.key,
                "name": name,
                "seed": seed,
                "flops": cost.flops,
                "params": cost.params,
                **record,
            }
            _add(kept, record)
            yield record


def read_kept(path: Path) -> list[Record]:
    """The measurements of a file, without an incomplete last line left by a kill."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _add(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.read_bytes() if path.exists() else b""
    with path.open("r+b" if path.exists() else "xb") as file:
        file.truncate(whole.rfind(b"\n") + 1)  # removes an incomplete line left by a kill
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _trained(
    architecture: Architecture,
    data: ImageData,
    config: SearchConfig,
    training: ShortTraining | None,
    *,
    seed: int,
) -> Record:
    """Accuracies after each epoch, and seconds; a training that diverges counts as chance."""
    epochs = config.proxy.epochs if training is None else training.epochs
    resolution = None
    if training is not None:
        data = _share(data, training.data)
        resolution = max(1, round(architecture.resolution * training.resolution))
    own = replace(
        _training(architecture, data, config, seed=seed), epochs=epochs, resolution=resolution
    )
    began = time.perf_counter()
    accuracies = []
    try:
        for result in own.run():
            accuracies.append(result.accuracy)
    except TrainingDiverged:
        accuracies += [1 / data.num_classes] * (epochs - len(accuracies))
    return {"accuracies": accuracies, "seconds": time.perf_counter() - began}


def _training(
    architecture: Architecture, data: ImageData, config: SearchConfig, *, seed: int
) -> Training:
    """The longer training."""
    return Training(
        architecture=architecture,
        data=data,
        data_config=config.data,
        config=config.train,
        epochs=config.proxy.epochs,
        seed=seed,
        threads=max(1, int(config.cluster.cpus_per_trial)),
        judged_in=config.search.precision,
    )


def _share(data: ImageData, share: float) -> ImageData:
    """A stratified part of the training images; validation as it is."""
    if share == 1.0:
        return data
    count = round(share * len(data.train))
    chosen = stratified_sample(data.train.labels, count, leave=0, random=np.random.RandomState(0))
    return replace(data, train=data.train.take(chosen))


def _scores(architecture: Architecture, data: ImageData, config: SearchConfig) -> Record:
    """Each zero-cost score of the network as initialised from seed 0."""
    device = find_device(config.train.device, setting="train.device")
    prepare = Preparation.of(data.statistics, resolution=architecture.resolution, device=device)
    chosen = torch.from_numpy(np.random.RandomState(0).permutation(len(data.train))[:_BATCH])
    images, labels = next(place(data.train, device).batches([chosen]))
    images = prepare(images)
    began = time.perf_counter()
    training = _training(architecture, data, config, seed=0)
    scores = {
        name: score(training.network().to(device), images, labels) for name, score in SCORES.items()
    }
    return {"scores": scores, "seconds": time.perf_counter() - began}


def run_proxies(config: SearchConfig) -> tuple[pd.DataFrame, str | None]:
    """The table of proxies, and the name of the cheapest one with the wanted correlation.

    Measurements are kept in `proxies.jsonl` of the run folder, the table in `tables/proxies.csv`.
    Raises InputError for a folder that holds something else, and for a space with too few members
    within the limits.
    """
    load_space(config.search.space)  # before anything is written
    data = load_data(config.data, seed=config.seed)
    if data.task != "classification":
        raise InputError(
            f"proxies are measured for classification, but the data '{data.name}' are for "
            f"{data.task}; name other data, or search without a proxy"
        )
    kept = config.run_folder / "proxies.jsonl"
    begun = {"proxy"} if kept.is_file() else set()
    folder = RunFolder.check(config, begun)
    folder.check_facts({"data": data.fingerprint})
    total = config.proxy.networks * len(planned(config.proxy))
    with RunLock(folder.path):
        folder.write_config()
        folder.write_environment(data=data.fingerprint)
        done, began = len(read_kept(kept)), time.monotonic()
        for count, record in enumerate(measure_missing(config, data, kept=kept), start=1):
            left = (time.monotonic() - began) / count * (total - done - count)
            told = f"accuracy {record['accuracies'][-1]:.4f}  " if "accuracies" in record else ""
            event(
                "measured",
                line=f"proxy {done + count:>{len(str(total))}}/{total}  {record['name']}  "
                f"{readable_count(record['flops'])}FLOPs  {told}{record['seconds']:.1f} s  "
                f"{readable_seconds(left)} left",
                **record,
            )
        networks = measured_networks(read_kept(kept), config.proxy)
        table = proxy_table(networks, config.proxy)
        write_text(folder.tables / "proxies.csv", table.to_csv(index=False))
        write_text(folder.tables / "proxy_networks.csv", networks.to_csv(index=False))
    return table, cheapest(table, correlation=config.proxy.correlation)
