"""The whole of `scaler train`: check, train or go on, test once, draw."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from experiments.config.files import write_json
from experiments.config.messages import WorkFailed, event, say
from experiments.config.run_folder import environment_facts
from experiments.config.units import readable_seconds
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.training.checkpoint import load_tensors, read_metadata, write_bytes
from experiments.training.device import choose_device
from experiments.training.loop import TrainingDiverged, TrainingState
from experiments.training.members.activation_maximisation import maximise
from experiments.training.members.figures import activations_png, curves_png, gradient_norms_png
from experiments.training.members.folder import TrainingFolder
from experiments.training.members.request import TrainRequest
from experiments.training.members.training import Epoch, MemberTraining
from experiments.training.members.transfer import Start, initial_weights
from search_spaces.network import Network
from search_spaces.records import InputError

_MAPS = 8  # of each tap, whose images are drawn


Told = Callable[[dict[str, float]], None]  # called with each epoch's row
Elsewhere = Callable[[MemberTraining, TrainingFolder, TrainingState | None, Told], None]


@dataclass(frozen=True)
class Trained:
    folder: TrainingFolder
    accuracy: float  # of the best epoch, on the validation part
    epoch: int  # the best one
    test_accuracy: float  # of its weights


def train_member(
    request: TrainRequest,
    path: Path,
    *,
    threads: int | None = None,
    elsewhere: Elsewhere | None = None,
) -> Trained:
    """Train what `request` asks for in the folder `path`, or go on with it there.

    `elsewhere` trains on several workers instead of in this process (`engine.distributed` has one),
    each with `threads`; None: as many as torch takes. Raises InputError for input that cannot be
    trained, before anything is written.
    """
    folder = TrainingFolder(path)
    folder.check(request)
    choose_device(request.train.device)
    _check_frozen(request)
    data = load_data(request.data, seed=request.seed)
    _check_data(folder, data)
    start = _start(request, data)
    training = MemberTraining(
        architecture=request.architecture,
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


def _train(training: MemberTraining, folder: TrainingFolder, elsewhere: Elsewhere | None) -> None:
    state = folder.read_state()
    if state is not None:
        say(f"goes on after epoch {state.epoch} of {training.epochs}")
    told = _progress(training, done=state.epoch if state else 0)
    if elsewhere is not None:
        elsewhere(training, folder, state, told)
        return

    def keep(epoch: Epoch) -> None:
        folder.keep(epoch)
        told(epoch.row)

    try:
        training.run(keep, state=state)
    except (TrainingDiverged, torch.OutOfMemoryError) as error:
        raise WorkFailed(str(error).splitlines()[0]) from error


def _progress(training: MemberTraining, *, done: int) -> Callable[[dict[str, float]], None]:
    """A line an epoch, with the time left."""
    best = seconds = 0.0

    def told(row: dict[str, float]) -> None:
        nonlocal best, seconds
        best = max(best, row["accuracy"])
        epoch, width = int(row["epoch"]), len(str(training.epochs))
        seconds += row["seconds"]
        left = seconds / (epoch - done) * (training.epochs - epoch)
        event(
            "epoch",
            line=f"{training.architecture.name} {epoch:>{width}}/{training.epochs}  "
            f"loss {row['train_loss']:.4f}  training {row['train_accuracy']:.4f}  "
            f"validation {row['accuracy']:.4f}  best {best:.4f}  {row['seconds']:.1f} s  "
            f"{readable_seconds(left)} left",
            **{"study": "train", **row, "epoch": epoch},
        )

    return told


def _finish(training: MemberTraining, folder: TrainingFolder) -> Trained:
    """Look at the test part once, with the best weights; draw; write the last checkpoint."""
    facts = read_metadata(folder.best)
    epoch, accuracy = int(facts["epoch"]), float(facts["accuracy"])
    if folder.finished():
        return Trained(folder, accuracy, epoch, float(facts["test_accuracy"]))
    network = training.network()
    network.load_state_dict(load_tensors(folder.best))
    test_accuracy = training.test(network)
    _draw(training, network, folder)
    best = training.checkpoint(network, epoch=epoch, accuracy=accuracy, test_accuracy=test_accuracy)
    write_bytes(folder.best, best)
    state = folder.read_state()
    assert state is not None, "the last epoch always leaves one"
    network.load_state_dict(state.average or state.weights)
    last = training.checkpoint(network, epoch=state.epoch, accuracy=state.accuracies[-1])
    write_bytes(folder.last, last)
    folder.state.unlink(missing_ok=True)
    return Trained(folder, accuracy, epoch, test_accuracy)


def _draw(training: MemberTraining, network: Network, folder: TrainingFolder) -> None:
    rows = folder.rows()
    write_bytes(folder.figures / "curves.png", curves_png(rows))
    norms = gradient_norms_png(rows)
    if norms is not None:
        write_bytes(folder.figures / "gradient_norms.png", norms)
    found, strides = [], []
    resolution = training.architecture.resolution
    with torch.no_grad():
        device = next(network.parameters()).device
        blank = torch.zeros(1, training.data.channels, resolution, resolution, device=device)
        maps = network.eval().features(blank)
    for tap, shown in enumerate(maps):
        some = np.linspace(0, shown.shape[1] - 1, min(_MAPS, shown.shape[1])).round().astype(int)
        found.append(
            maximise(
                network,
                tap=tap,
                channels=[int(channel) for channel in some],
                statistics=training.data.statistics,
                resolution=resolution,
            )
        )
        strides.append(round(resolution / shown.shape[2]))
    write_bytes(folder.figures / "activations.png", activations_png(found, strides=strides))


def _start(request: TrainRequest, data: ImageData) -> Start:
    if request.init_from is None:
        return Start({}, "")
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
    """Raise InputError where the training was begun on other images."""
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
