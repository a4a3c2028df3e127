"""timm's entry point: importing this module registers `scaler_network`.

Then `timm.create_model("scaler_network", architecture=NAME_OR_FILE_OR_TABLE)` builds any of our
networks, and `timm.create_model("local-dir:FOLDER", pretrained=True)` loads an exported folder.
"""

from typing import Any

from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

from experiments.export.formats import fold_batch_norm
from search_spaces.architecture import Architecture
from search_spaces.network import Network, initialise
from search_spaces.reference import load_architecture

default_cfgs = {
    "scaler_network": {
        "classifier": "head.classifier",
        "interpolation": "bilinear",
        "crop_pct": 1.0,
    }
}


class TimmNetwork(Network):
    """Our network with the methods that timm's tools ask for."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        folded: bool = False,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
    ) -> None:
        table = architecture
        if drop_rate is not None:
            table = table.replace(head=table.head.replace(dropout=drop_rate))
        if drop_path_rate is not None:
            table = table.replace(drop_connect=drop_path_rate)
        super().__init__(table, num_classes=num_classes, in_channels=in_chans)
        initialise(self, scheme=table.conventions.initialisation)
        self.num_classes, self.in_chans = num_classes, in_chans
        self.num_features = self.head_hidden_size = self.get_classifier().in_features
        if folded:
            fold_batch_norm(self)

    def get_classifier(self) -> nn.Linear:
        classifier = self.head.get_submodule("classifier")
        assert isinstance(classifier, nn.Linear)
        return classifier

    def reset_classifier(self, num_classes: int) -> None:
        """A new, untrained classifier for `num_classes`."""
        self.num_classes = num_classes
        self.head.register_module("classifier", nn.Linear(self.num_features, num_classes))

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map, before the head."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        return self.head(x)


def scaler_network(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Any network of this package, by its `architecture`."""
    kwargs["architecture"] = table = _parsed(kwargs.get("architecture", "efficientnet_b0"))
    if not kwargs.get("pretrained_cfg"):  # an exported folder has one
        size = (kwargs.get("in_chans", 3), table.resolution, table.resolution)
        overlay = {"input_size": size, "num_classes": kwargs.get("num_classes", 1000)}
        kwargs["pretrained_cfg_overlay"] = overlay | (kwargs.get("pretrained_cfg_overlay") or {})
    return build_model_with_cfg(
        TimmNetwork, "scaler_network", pretrained, kwargs_filter=("global_pool",), **kwargs
    )


register_model(scaler_network)


def _parsed(architecture: str | dict[str, Any] | Architecture) -> Architecture:
    if isinstance(architecture, dict):
        return Architecture.parse(architecture, source="architecture")
    return (
        architecture if isinstance(architecture, Architecture) else load_architecture(architecture)
    )
