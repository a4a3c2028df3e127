"""timm's entry points: importing this module registers our networks with timm.

Then `timm.create_model("scaler_network", architecture=NAME_OR_FILE_OR_TABLE)` builds any of our
networks, `timm.create_model("scaler_resnet50")` a named one, and
`timm.create_model("local-dir:FOLDER", pretrained=True)` loads an exported folder.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from timm.models import (
    build_model_with_cfg,
    checkpoint_seq,
    register_model,
)
from torch import Tensor, nn

from experiments.export.model import check_task, conventional
from search_spaces.architecture import Architecture
from search_spaces.folding import fold_batch_norm
from search_spaces.heads.classifier import ClassificationHead
from search_spaces.network import Network, initialise
from search_spaces.records import InputError
from search_spaces.reference import list_architectures, load_architecture


class TimmNetwork(Network):
    """Our network with the methods that timm's tools ask for.

    Auxiliary classifiers are left out: timm's training has one loss. `num_features` are the
    channels of `forward_features`, `head_hidden_size` what the classifier gets.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        folded: bool = False,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
    ) -> None:
        table = architecture.replace(auxiliary=())
        if drop_rate is not None:
            table = table.replace(head=table.head.replace(dropout=drop_rate))
        if drop_path_rate is not None:
            table = table.replace(drop_connect=drop_path_rate)
        _check_pool(global_pool, num_classes)
        super().__init__(table, num_classes=num_classes, in_channels=in_chans)
        initialise(self, scheme=table.conventions.initialisation)
        if folded:
            fold_batch_norm(self)
        # Sequential, so that timm's feature extractors find each stage.
        self.add_module("stages", nn.Sequential(*self.stages))
        self.num_classes, self.in_chans, self.global_pool = num_classes, in_chans, global_pool
        self.grad_checkpointing = False
        self.conventions = table.conventions
        self.feature_info = _feature_info(table, self._taps)
        self.head_hidden_size = self.head.num_features
        if not isinstance(self.head, ClassificationHead):  # hidden layers behind the last map
            self.num_features = self.feature_info[-1]["num_chs"]

    def get_classifier(self, name_only: bool = False) -> nn.Module | str:
        """The last layer, or its name."""
        return "head.classifier" if name_only else self.head.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new, untrained classifier for `num_classes`; 0 leaves the features.

        `global_pool=""` with 0 classes leaves the map, None the pool that there is.
        """
        pool = self.global_pool if global_pool is None else global_pool
        _check_pool(pool, num_classes)
        self.num_classes, self.global_pool = num_classes, pool
        weight = next(self.parameters())
        self.head.classifier = (
            nn.Linear(self.head_hidden_size, num_classes, device=weight.device, dtype=weight.dtype)
            if num_classes
            else nn.Identity()
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the maps inside the stages again in the backward pass, which saves memory."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which parameters belong together, by name: a stage each, or a layer each."""
        body = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        last = (r"^head\.(?!classifier)", (99999,))  # timm's number for what stands behind all
        return {"stem": r"^stem\.", "blocks": [(body, None), last]}

    def forward(self, x: Tensor) -> Tensor:
        """The scores; without classes the features, without a pool too the map."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """The map that is pooled: (N, num_features, H, W)."""
        x = self.stem(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():  # type: ignore[attr-defined]
            x = checkpoint_seq(self.stages, x, flatten=True)
        else:
            x = self.stages(x)
        return self.head.maps(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From that map to scores, or with `pre_logits` to (N, head_hidden_size)."""
        if self.global_pool == "":
            return x
        x = self.head.pooled(x)
        return x if pre_logits else self.head.classifier(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps of `feature_info`, all or those of `indices`, and `forward_features`.

        `norm` normalises the last where the head begins with a norm. `stop_early` computes nothing
        behind the last map that is asked for, which then is returned in place of the features.
        """
        if output_fmt != "NCHW":
            raise InputError(f"output_fmt must be 'NCHW', but got '{output_fmt}'")
        taps = [self._taps[number] for number in self._numbers(indices)]
        end = max(taps) if stop_early else len(self.stages)
        maps = []
        for i, step in enumerate([self.stem, *self.stages][: end + 1]):
            x = checkpoint_seq(step, x) if i and self.grad_checkpointing else step(x)
            if i in taps:
                maps.append(self._normed(x) if norm and i == len(self.stages) else x)
        if intermediates_only:
            return maps
        return self.head.maps(x) if end == len(self.stages) else x, maps

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] | None = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Drop what stands behind the last map of `indices`; return the maps' numbers."""
        numbers = self._numbers(indices)
        end = self._taps[max(numbers)]
        if end < len(self.stages) or prune_norm:
            self.stages = self.stages[:end]
            self.num_features = self.feature_info[max(numbers)]["num_chs"]
            self.head_hidden_size = self.num_features
            self.head = ClassificationHead(
                self.num_features,
                0,
                stride=1,
                features=0,
                activation=None,
                dropout=0.0,
                conventions=self.conventions,
            )
            prune_head = True
        if prune_head:
            self.reset_classifier(0, "")
        return numbers

    def _normed(self, x: Tensor) -> Tensor:
        return self.head.normalise(x) if isinstance(self.head, ClassificationHead) else x

    def _numbers(self, indices: int | Sequence[int] | None) -> list[int]:
        """The maps' numbers of timm's `indices`: None for all, n for the last n, or a list."""
        numbers = range(len(self.feature_info))
        wanted = range(-indices, 0) if isinstance(indices, int) else indices
        return list(numbers) if wanted is None else [numbers[i] for i in wanted]


def _check_pool(global_pool: str, num_classes: int) -> None:
    if global_pool not in ("avg", ""):
        raise InputError(f"global_pool must be 'avg' or '', but got '{global_pool}'")
    if global_pool == "" and num_classes:
        raise InputError(
            f"global_pool='' gives a map and no scores, so num_classes must be 0, "
            f"but got {num_classes}"
        )


def _feature_info(table: Architecture, taps: list[int]) -> list[dict[str, Any]]:
    """Of each map that `Network.features` gives: its channels, stride, and the module it is of."""
    rows = table.rows(num_classes=0, in_channels=3)[:-1]
    channels = {row.part.rpartition(".")[0]: row.layer.out_channels for row in rows}
    names = ["", *(f"stages.{i}" for i in range(len(table.stages)))]  # the stem has no dot
    strides = [table.stem.stride, *(stage.stride for stage in table.stages)]
    reductions = list(accumulate(strides, mul))
    return [
        {
            "num_chs": channels[names[tap]],
            "reduction": reductions[tap],
            "module": names[tap] or "stem",
        }
        for tap in taps
    ]


def _default_config(table: Architecture, *, num_classes: int, in_chans: int) -> dict[str, Any]:
    """What timm asks of a network without weights."""
    images = conventional(size=table.resolution, channels=in_chans)
    return {
        "input_size": (in_chans, table.resolution, table.resolution),
        "num_classes": num_classes,
        "mean": images.mean,
        "std": images.std,
        "crop_pct": 1.0,
        "interpolation": images.interpolation,
        **_facts(table),
    }


def _facts(table: Architecture) -> dict[str, Any]:
    """What follows from the architecture alone, whatever its weights."""
    return {
        "pool_size": (table.sizes()[-1],) * 2,
        "first_conv": _first_convolution(table),
        "classifier": "head.classifier",
    }


def _first_convolution(table: Architecture) -> str:
    """The name of the convolution that reads the image."""
    stem = table.rows(num_classes=0, in_channels=3)[0].layer
    with torch.device("meta"):
        modules = stem.build(table.conventions).named_modules(prefix="stem")
    return next(name for name, module in modules if isinstance(module, nn.Conv2d))


def _build(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    table = kwargs["architecture"]
    known = _facts(table)
    if not kwargs.get("pretrained_cfg"):  # an exported folder has one
        sizes = {name: kwargs.get(name, n) for name, n in _SIZES.items()}
        known = _default_config(table, **sizes)
    kwargs["pretrained_cfg_overlay"] = known | (kwargs.get("pretrained_cfg_overlay") or {})
    strides = [table.stem.stride, *(stage.stride for stage in table.stages)]
    taps = 1 + sum(stride > 1 for stride in strides[1:])
    return build_model_with_cfg(
        TimmNetwork,
        variant,
        pretrained,
        pretrained_filter_fn=_without_auxiliary,
        feature_cfg={"out_indices": tuple(range(taps)), "flatten_sequential": True},
        **kwargs,
    )


def _without_auxiliary(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("auxiliary.")}


def scaler_network(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Any network of this package, by its `architecture`."""
    table = _parsed(kwargs.get("architecture", "efficientnet_b0"))
    check_task(table, "classification", what="timm's layout")
    kwargs["architecture"] = table
    return _build("scaler_network", pretrained, **kwargs)


def _parsed(architecture: str | dict[str, Any] | Architecture) -> Architecture:
    if isinstance(architecture, dict):
        return Architecture.parse(architecture, source="architecture")
    return (
        architecture if isinstance(architecture, Architecture) else load_architecture(architecture)
    )


def _named(name: str) -> Callable[..., nn.Module]:
    """The entry point of a named network: a tool that passes a name alone can take it."""

    def entry(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _build(entry.__name__, pretrained, architecture=load_architecture(name), **kwargs)

    entry.__name__ = f"scaler_{name}"
    return entry


_SIZES = {"num_classes": 1000, "in_chans": 3}
_CLASSIFIERS = {
    name: network
    for name in list_architectures()
    if (network := load_architecture(name)).task == "classification"
}
default_cfgs = {
    f"scaler_{name}": _default_config(network, **_SIZES) for name, network in _CLASSIFIERS.items()
}
default_cfgs["scaler_network"] = default_cfgs["scaler_efficientnet_b0"]
for _entry in (scaler_network, *map(_named, _CLASSIFIERS)):
    register_model(_entry)
