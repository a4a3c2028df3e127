"""Settings of a search without a config follow from its data: photographs differ from digits."""

from typing import Any

from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.engine.begun import begun_with
from experiments.engine.machines.cluster_check import check_cluster
from experiments.steps.search import check_search
from scaler.conditions import find_device

Settings = dict[str, Any]  # {place in the config, as `search.epochs`: value}

# Recognising what a photograph shows takes more pixels than the 32 of the shipped small spaces.
# A side twice as long costs four times the FLOPs, which a CPU cannot spare.
PHOTOGRAPH = {"cpu": 64, "cuda": 128}  # px
SMALLER = (96, 64, 48, 32)  # px, if a search has no time for more
FEWEST_STEPS = 40  # an epoch; with fewer, five epochs hardly move the weights from their start
BATCHES = (64, 32, 16)  # 64 is the recipe's; its learning rate is for that one
UPRIGHT = ("digits", "mnist")  # data whose mirrored images have another meaning
# Masks: what the config `aerial` was tuned to.
MASKS: Settings = {
    "search.space": "mbconv_dense",
    "search.epochs": 6,
    "train.batch_size": 16,
    "train.learning_rate": 0.05,
    "train.label_smoothing": 0.0,
    "train.loss": "cross_entropy_dice",
}
DENSE_SIDE = 96  # px
# Boxes: what the config `bccd` was tuned to.
BOXES: Settings = {
    "search.space": "mbconv_detect",
    "search.epochs": 5,
    "train.optimizer": "adamw",
    "train.learning_rate": 0.004,
    "train.weight_decay": 0.01,
    "train.epsilon": 1e-8,
    "train.batch_size": 8,
}
DETECTION_SIDE = 160  # px


def settings_by_data(config: SearchConfig) -> Settings:
    """The settings that follow from the data, for those that the user left out; a line says them.

    A begun run keeps its settings. Raises InputError for wrong data.
    """
    check_search(config)  # all of these before the data, which may take minutes
    check_cluster(config.cluster)
    before = begun_with(config)
    if before is None:
        RunFolder.check(config, set())
    data = load_data(config.data, seed=config.seed)
    found = settings_of(data, cards=_on_cards(config))
    if config.search.space != SearchSection().space:
        found.pop("search.resolution", None)  # a named space has its own
    if before is not None:
        return {place: _at(before, place) for place in found}
    usual = SearchConfig(name="usual")
    told = ", ".join(
        f"{place}={value}"
        for place, value in found.items()
        if _at(config, place) == _at(usual, place)  # else the user set another
    )
    if told:
        say(f"by the data, where nothing else is given: {told} (`--set KEY=VALUE` changes one)")
    return found


def settings_of(data: ImageData, *, cards: bool) -> Settings:
    """The settings for these images, on a GPU (`cards`) or a CPU, without the schema's defaults.

    For images of 16 to 32 px the space's own resolution is kept.
    """
    side = data.image_size
    if data.task == "segmentation":
        return {**MASKS, "search.resolution": min(side, DENSE_SIDE)}
    if data.task == "detection":
        return {**BOXES, "search.resolution": min(side, DETECTION_SIDE)}
    found: Settings = {}
    if side > 32:
        found["search.resolution"] = min(side, PHOTOGRAPH["cuda" if cards else "cpu"])
    elif side < 16:
        found["search.resolution"] = 16  # with less, the last stage's map is one pixel
    batch = next((b for b in BATCHES if len(data.train) >= b * FEWEST_STEPS), BATCHES[-1])
    if batch != BATCHES[0]:
        found |= {"train.batch_size": batch, "train.learning_rate_batch": BATCHES[0]}
    if data.name in UPRIGHT:
        found["data.flip"] = False
    return found


def _on_cards(config: SearchConfig) -> bool:
    """Whether trials run on GPUs. A cluster may have them if this machine has none."""
    device = config.train.device
    if config.cluster.address is not None:
        return device == "cuda"
    return find_device(device, setting="train.device").type == "cuda"


def _at(config: SearchConfig, place: str) -> Any:
    value: Any = config
    for key in place.split("."):
        value = getattr(value, key)
    return value
