"""Networks of the literature at the budget of a search: the alternative to a search.

They are trained beside the confirmation's winner: same recipe, epochs and seeds. Their study is
their own, so that none of them becomes the baseline.
"""

from optuna.trial import FrozenTrial

from experiments.config.messages import say
from experiments.config.search_section import SearchSection
from experiments.config.sections import ConfirmationSection
from experiments.config.units import readable_cost
from experiments.engine.limits import limits_text
from experiments.engine.pricing import Pricing
from experiments.engine.session import Session
from experiments.steps.noise import completed, repeated, train_repeats
from experiments.store.trial import Candidate, architecture_of, training_of
from scaler.budget import CostName
from scaler.compound import CompoundCoefficients
from scaler.scaled import scale_to
from search_spaces.architecture import Architecture
from search_spaces.heads.fpn import PyramidHead
from search_spaces.records import InputError
from search_spaces.reference import load_architecture

# How far the known network may be from the budget; the least that its shape allows is taken. With
# few layers and channels there are gaps: a ResNet-20 at 5 MFLOPs comes within 5 %.
TOLERANCES = (0.01, 0.02, 0.05, 0.1)
SMALL = 64  # largest pixels for networks made for CIFAR
SMALL_ONES = ("cifar_resnet20", "cifar_densenet40_k12")  # with two strides, for CIFAR
LARGE_ONES = ("mobilenet_v2", "efficientnet_b0")
SEGMENTERS = ("unet_bn", "fcn_resnet50")  # for any resolution: the solver removes layers
DETECTORS = ("fcos_resnet50_fpn", "retinanet_resnet50_fpn")
STUDY = "known"


def check_known(section: ConfirmationSection | None) -> None:
    """Raise InputError for a name that is no network."""
    for name in (section and section.known) or ():
        load_architecture(name)


def known_trainings(section: ConfirmationSection, *, seeds: int) -> int:
    """How many trainings `train_known` will add, at most."""
    return seeds * (len(SMALL_ONES) if section.known is None else len(section.known))


def known_plan(section: ConfirmationSection, *, seeds: int) -> str:
    """The part of the plan that `train_known` adds, before the winner is known."""
    count = known_trainings(section, seeds=1)
    if not count:
        return ""
    return (
        f"; then {count} known networks x {seeds} seeds at the same budget, as long as "
        f"the last round (`confirmation.known: []` leaves them out)"
    )


def train_known(session: Session, section: ConfirmationSection, winner: FrozenTrial) -> None:
    """Train the known networks with the winner's recipe, and its last round's epochs and seeds.

    Nothing is trained without a confirmation, and nothing that is in the store already.
    """
    own = [
        (trial, training.round)
        for trial, training in repeated(completed(session, "confirmation"))
        if training.contender == winner.user_attrs.get("contender")
    ]
    if not own:
        return
    last = max(round_ for _, round_ in own)
    trained = [trial.user_attrs for trial, round_ in own if round_ == last]
    candidates = _candidates(session, section, winner)
    if not candidates:
        return
    seeds, epochs = sorted(a["seed"] for a in trained), trained[0]["epochs"]
    trainings = len(candidates) * len(seeds)
    say(
        f"known networks: {', '.join(c.attributes['contender'] for c in candidates)} x "
        f"{len(seeds)} seeds of {epochs} epochs: {trainings} trainings, {trainings * epochs} "
        f"epochs in all"
    )
    train_repeats(session, STUDY, candidates, round_=last, seeds=seeds, epochs=epochs)


def _candidates(
    session: Session, section: ConfirmationSection, winner: FrozenTrial
) -> list[Candidate]:
    """The known networks at the budget; a line says which cannot be scaled to it, and why."""
    search, like = session.config.search, architecture_of(winner)
    names = section.known
    if names is None:
        names = SMALL_ONES if like.resolution <= SMALL else LARGE_ONES
        names = {"segmentation": SEGMENTERS, "detection": DETECTORS}.get(like.task, names)
    target, cost = budget_of(search, flops=winner.user_attrs["flops"])
    pricing = Pricing(search, **session.sizes)
    candidates = []
    for name in names:
        try:
            network = known_at(name, target=target, cost=cost, like=like, **session.sizes)
        except InputError as error:
            say(f"known networks: {name} is left out: {error}")
            continue
        counted = pricing.cost(network)
        latency = pricing.latency(network, counted)
        if not (pricing.allows(counted) and pricing.allows_latency(latency)):
            say(f"known networks: {name} is left out: it is not within{limits_text(search)}")
            continue
        price = pricing.price(counted, latency)
        candidates.append(
            Candidate(
                architecture=network,
                cost=counted,
                seed=0,  # each repeat has its own
                suggestion=0,
                reward_factor=pricing.factor(price),
                attributes={"contender": name, "cost": price},
                training=training_of(winner),
            )
        )
    return candidates


def budget_of(search: SearchSection, *, flops: int) -> tuple[float, CostName]:
    """(target, cost) of known networks: the search's; for a latency the `flops` of the winner."""
    return (flops, "flops") if search.cost == "latency" else (search.known_target, search.cost)


def budget_text(search: SearchSection, *, flops: int) -> str:
    """`5 MFLOPs`; of a latency, `4.2 MFLOPs, which the found network has`."""
    target, cost = budget_of(search, flops=flops)
    return readable_cost(cost, target) + (
        ", which the found network has" if search.cost == "latency" else ""
    )


def known_at(
    known: str | Architecture,
    *,
    target: float,
    cost: CostName,
    like: Architecture,
    num_classes: int,
    in_channels: int,
) -> Architecture:
    """A known network scaled to the budget at the resolution of `like`, to be trained as it is.

    Settings of training and judging, as opposed to the shape, are taken from `like`: the momentum
    of batch norm (0.01 in MobileNetV2 and EfficientNet is too slow for short trainings), dropout,
    drop connect, and the least score of boxes (0.2 in FCOS cuts off its precision curve). Raises
    InputError if the network is not known or cannot be scaled to the budget.
    """
    loaded = load_architecture(known) if isinstance(known, str) else known
    if loaded.task != like.task:
        raise InputError(f"it is for {loaded.task}, but the found network for {like.task}")
    for tolerance in TOLERANCES:
        try:
            scaled = scale_to(
                loaded,
                target=target,
                cost=cost,
                coefficients=CompoundCoefficients(),
                tolerance=tolerance,
                resolution=like.resolution,
                num_classes=num_classes,
                in_channels=in_channels,
            ).architecture
        except InputError:
            if tolerance == TOLERANCES[-1]:
                raise
            continue
        return _trained_like(scaled, like).replace(name=loaded.name)
    raise AssertionError("the last tolerance returns or raises")


def _trained_like(network: Architecture, like: Architecture) -> Architecture:
    momentum = like.conventions.batch_norm_momentum
    head = network.head
    if hasattr(head, "dropout") and hasattr(like.head, "dropout"):
        head = head.replace(dropout=like.head.dropout)
    boxes = network.task == "detection"
    if boxes and isinstance(head, PyramidHead) and isinstance(like.head, PyramidHead):
        least = like.head.boxes.score_threshold
        head = head.replace(predictor=head.boxes.replace(score_threshold=least))
    return network.replace(
        conventions=network.conventions.replace(batch_norm_momentum=momentum),
        drop_connect=like.drop_connect,
        head=head,
    )
