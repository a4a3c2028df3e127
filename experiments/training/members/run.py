"""The whole of `scaler train`: check, train or go on, test once, draw."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.config.files import write_json
from experiments.config.messages import WorkFailed, event, say
from experiments.config.run_folder import environment_facts
from experiments.config.units import readable_seconds
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.training.checkpoint import (
    TrainedEpoch,
    TrainingState,
    checkpoint_bytes,
    load_tensors,
    read_metadata,
    state_bytes,
    write_whole,
)
from experiments.training.detection import SURE
from experiments.training.hardware import card_is_full
from experiments.training.loop import TrainingDiverged
from experiments.training.members.folder import KeptEpoch, TrainingFolder, TrainRequest
from experiments.training.members.pictures import draw_training
from experiments.training.members.transfer import Start, initial_weights
from experiments.training.training import Best, Pace, Training
from experiments.training.trial import SHEET
from scaler.conditions import find_device
from search_spaces.records import InputError

Told = Callable[[dict[str, float]], None]  # called with each epoch's row
Elsewhere = Callable[[Training, TrainingFolder, TrainingState | None, Told], None]


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    folder: TrainingFolder
    accuracy: float  # the metric's value after the best epoch, on the validation part
    epoch: int  # the best one
    test_accuracy: float  # of its weights
    metric: str  # the metric's name for people; `accuracy` above is its value


def train_member(
    request: TrainRequest,
    path: Path,
    *,
    threads: int | None = None,
    elsewhere: Elsewhere | None = None,
) -> Trained:
    """Train what `request` asks for in the folder `path`, or go on with it there.

    `elsewhere` trains on several workers instead of in this process, each with `threads`; None: as
    many as torch takes. See `engine.machines.distributed`. Raises InputError for input that
    cannot be trained, before anything is written.
    """
    folder = TrainingFolder(path)
    folder.check(request)
    find_device(request.train.device, setting="train.device")
    _check_frozen(request)
    data = load_data(request.data, seed=request.seed)
    _check_data(folder, data)
    start = _start(request, data)
    training = Training(
        architecture=start.architecture,
        data=data,
        data_config=request.data,
        config=request.train,
        epochs=request.epochs,
        seed=request.seed,
        threads=threads or torch.get_num_threads(),
        initial=start.weights,
        frozen=request.frozen,
    )
    with folder.opened(request):
        write_json(path / "environment.json", environment_facts(data=data.fingerprint))
        if start.told:
            say(start.told)
        if not folder.finished():
            _train(training, folder, elsewhere)
        return _finish(training, folder)


def _train(training: Training, folder: TrainingFolder, elsewhere: Elsewhere | None) -> None:
    state = folder.read_state()
    if state is not None:
        say(f"goes on after epoch {state.epoch} of {training.epochs}")
    told = _progress(training, done=state.epoch if state else 0)
    if elsewhere is not None:
        elsewhere(training, folder, state, told)
        return

    def keep(epoch: KeptEpoch) -> None:
        folder.keep(epoch)
        told(epoch.row)

    try:
        train_and_keep(training, keep, state=state)
    except RuntimeError as error:
        if not (isinstance(error, TrainingDiverged) or card_is_full(error)):
            raise
        raise WorkFailed(str(error).splitlines()[0]) from error


def train_and_keep(
    training: Training,
    keep: Callable[[KeptEpoch], None],
    *,
    state: TrainingState | None = None,
    rank: int = 0,
    workers: int = 1,
) -> None:
    """Train on from `state`, handing each epoch to `keep`.

    With several `workers` only the first one (`rank` 0) calls `keep`.
    """
    best = Best.of(state.accuracies if state else ())
    pace = Pace()
    for result in training.run(state=state, rank=rank, workers=workers):
        if rank:
            continue
        began = time.perf_counter()
        checkpoint = None
        if best.improves(result.epoch, result.accuracy):
            facts = training.metadata(epoch=result.epoch, accuracy=result.accuracy)
            checkpoint = checkpoint_bytes(result.network, metadata=facts)
        due = pace.due(result.seconds) or result.epoch == training.epochs
        left = state_bytes(result.state()) if due else None
        keep(KeptEpoch(_row(result), checkpoint, left))
        if due:
            pace.saved(time.perf_counter() - began)


def _row(result: TrainedEpoch) -> dict[str, float]:
    """A row of curve.csv."""
    return {
        "epoch": result.epoch,
        "train_loss": result.train_loss,
        **({} if result.train_accuracy is None else {"train_accuracy": result.train_accuracy}),
        "accuracy": result.accuracy,
        "seconds": round(result.seconds, 3),
        **result.gradient_norms,
    }


def _progress(training: Training, *, done: int) -> Callable[[dict[str, float]], None]:
    """A line for each epoch, with the time left."""
    best = seconds = 0.0
    # In training the right images, or pixels, are counted, for any metric.
    label = "" if training.metric.name == "accuracy" else f" {training.metric.label}"

    def told(row: dict[str, float]) -> None:
        nonlocal best, seconds
        best = max(best, row["accuracy"])
        epoch, width = int(row["epoch"]), len(str(training.epochs))
        seconds += row["seconds"]
        seen = f"training {row['train_accuracy']:.4f}  " if "train_accuracy" in row else ""
        left = seconds / (epoch - done) * (training.epochs - epoch)
        event(
            "epoch",
            line=f"{training.architecture.name} {epoch:>{width}}/{training.epochs}  "
            f"loss {row['train_loss']:.4f}  {seen}"
            f"validation{label} {row['accuracy']:.4f}  best {best:.4f}  {row['seconds']:.1f} s  "
            f"{readable_seconds(left)} left",
            **{"study": "train", **row, "epoch": epoch},
        )

    return told


def _finish(training: Training, folder: TrainingFolder) -> Trained:
    """Test the best weights once on the test part; draw; write the last checkpoint."""
    facts = read_metadata(folder.best)
    epoch, accuracy = int(facts["epoch"]), float(facts["accuracy"])
    if folder.finished():
        tested = float(facts["test_accuracy"])
        return Trained(folder, accuracy, epoch, tested, training.metric.label)
    network = training.network()
    network.load_state_dict(load_tensors(folder.best))
    chosen = training.best_score(network)
    score, sheet = chosen.get("score", SURE), folder.figures / SHEET
    test_accuracy = training.judged(network, folder.path, sheet=sheet, score=score).value
    draw_training(
        network,
        folder,
        data=training.data,
        resolution=training.architecture.resolution,
        metric=training.metric.label,
    )
    best = training.metadata(epoch=epoch, accuracy=accuracy, test_accuracy=test_accuracy, **chosen)
    write_whole(folder.best, checkpoint_bytes(network, metadata=best))
    state = folder.read_state()
    assert state is not None, "the last epoch always leaves one"
    network.load_state_dict(state.average or state.weights)
    last = training.metadata(epoch=state.epoch, accuracy=state.accuracies[-1])
    write_whole(folder.last, checkpoint_bytes(network, metadata=last))
    folder.state.unlink(missing_ok=True)
    return Trained(folder, accuracy, epoch, test_accuracy, training.metric.label)


def _start(request: TrainRequest, data: ImageData) -> Start:
    if request.init_from is None:
        return Start({}, "", request.architecture)
    return initial_weights(
        Path(request.init_from),
        request.architecture,
        classes=data.classes,
        in_channels=data.channels,
        seed=request.seed,
        source=request.source,
        source_model=request.source_model,
    )


def _check_data(folder: TrainingFolder, data: ImageData) -> None:
    """Raise InputError if the training was begun on other images."""
    before = folder.environment().get("data")
    if before not in (None, data.fingerprint):
        raise InputError(
            f"'{folder.path}' was begun with data {before}, but now it is {data.fingerprint}; "
            f"put it back, or name a new folder with --run"
        )


def _check_frozen(request: TrainRequest) -> None:
    stages = len(request.architecture.stages)
    if request.frozen is not None and request.frozen > stages:
        raise InputError(
            f"frozen stages must be at most {stages}, the stages of "
            f"'{request.architecture.name}', but is {request.frozen}"
        )
