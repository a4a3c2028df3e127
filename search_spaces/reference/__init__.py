"""The named architectures of the literature."""

from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.records import InputError, choose, other_kind, read_mapping
from search_spaces.reference.densenet import CIFAR, IMAGENET, densenet
from search_spaces.reference.detection import DETECTORS
from search_spaces.reference.efficientdet import GROWN, efficientdet
from search_spaces.reference.efficientnet import RELEASED, RELEASED_LITE, efficientnet
from search_spaces.reference.highway import HIGHWAY, highway
from search_spaces.reference.inception import (
    bn_inception,
    googlenet,
    inception_resnet_v2,
    inception_v3,
    inception_v4,
)
from search_spaces.reference.mobile import MNASNET, mnasnet, mobilenet_v1, mobilenet_v2
from search_spaces.reference.resnet import (
    BASIC,
    BOTTLENECK,
    CIFAR_DEPTHS,
    CIFAR_RESNEXT,
    ORDERS,
    RESNEXT,
    bottleneck_resnet,
    cifar_bottleneck_resnet,
    cifar_resnet,
    cifar_resnext,
    resnet,
    resnet8,
    resnext,
)
from search_spaces.reference.segmentation import SEGMENTERS
from search_spaces.reference.vgg import TABLE_1, vgg

# Every builder is called with the name under which it stands here.
_REFERENCES: dict[str, Callable[[str], Architecture]] = {
    **{name: partial(vgg, column=name) for name in TABLE_1},
    **{
        f"{name}_bn": partial(vgg, column=name, norm=True)
        for name in TABLE_1
        if name != "vgg11_lrn"
    },
    "googlenet": googlenet,
    "googlenet_aux": partial(googlenet, auxiliary=True),
    "googlenet_3x3": partial(googlenet, variant="3x3"),
    "googlenet_3x3_aux": partial(googlenet, variant="3x3", auxiliary=True),
    "bn_inception": bn_inception,
    "bn_inception_576": partial(bn_inception, variant="576"),
    "inception_v3": inception_v3,
    "inception_v3_aux": partial(inception_v3, auxiliary=True),
    "inception_v4": inception_v4,
    "inception_resnet_v2": inception_resnet_v2,
    **{f"resnet{n}": partial(resnet, depth=n) for n in BASIC},
    **{f"resnet{n}": partial(bottleneck_resnet, depth=n) for n in BOTTLENECK},
    **{f"resnet{n}_v1": partial(bottleneck_resnet, depth=n, stride_on="1x1") for n in BOTTLENECK},
    **{f"resnet{n}_a": partial(resnet, depth=n, shortcut="A") for n in BASIC},
    **{f"resnet{n}_c": partial(resnet, depth=n, shortcut="C") for n in BASIC},
    **{f"plain{n}": partial(resnet, depth=n, shortcut="none") for n in BASIC},
    **dict.fromkeys(RESNEXT, resnext),
    "resnet8": resnet8,
    **{f"cifar_resnet{n}": partial(cifar_resnet, depth=n) for n in CIFAR_DEPTHS},
    **{
        f"cifar_resnet{n}_b": partial(cifar_resnet, depth=n, shortcut="B")
        for n in CIFAR_DEPTHS[:-1]
    },
    **{
        f"cifar_plain{n}": partial(cifar_resnet, depth=n, shortcut="none")
        for n in CIFAR_DEPTHS[:-1]
    },
    **{
        f"cifar_resnet110_{order}": partial(cifar_resnet, depth=110, order=order)
        for order in ORDERS
    },
    **{
        f"cifar_resnet{n}": partial(
            cifar_bottleneck_resnet, depth=n, order="full_pre_activation", shortcut="B"
        )
        for n in (164, 1001)
    },
    **{
        f"cifar_resnet164_original_{shortcut.lower()}": partial(
            cifar_bottleneck_resnet, depth=164, order="original", shortcut=shortcut
        )
        for shortcut in ("A", "B")
    },
    **dict.fromkeys(CIFAR_RESNEXT, cifar_resnext),
    **{f"cifar_highway{n}": partial(highway, depth=n) for n in HIGHWAY},
    **dict.fromkeys([*IMAGENET, *CIFAR], densenet),
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v1_025_96": partial(mobilenet_v1, width=0.25, resolution=96),
    "mobilenet_v2": mobilenet_v2,
    **dict.fromkeys(MNASNET, mnasnet),
    **{
        f"efficientnet_{member}": partial(efficientnet, member=member)
        for member in (*RELEASED, *RELEASED_LITE)
    },
    **SEGMENTERS,
    **DETECTORS,
    **{f"efficientdet_{member}": partial(efficientdet, member=member) for member in GROWN},
}


def list_architectures() -> list[str]:
    """The names that `load_architecture` knows."""
    return list(_REFERENCES)


def load_architecture(name_or_path: str | Path) -> Architecture:
    """An architecture by its name (`efficientnet_b0`) or from a YAML or JSON file.

    Raises InputError for an unknown name, an unreadable file or an architecture that breaks a rule.
    """
    text = str(name_or_path)
    path = Path(text)
    if text not in _REFERENCES and (path.suffix in (".yaml", ".yml", ".json") or path.exists()):
        data = read_mapping(path, wanted="an architecture")
        _taken_sizes(data, text)
        return Architecture.parse(data, source=text)
    if resources.files("search_spaces").joinpath("spaces", f"{text}.yaml").is_file():
        raise other_kind(text, "a search space", wanted="an architecture")
    if "/" in text:
        raise InputError(f"there is no file or run folder '{text}' (`scaler list` has the names)")
    builder: Callable[[str], Architecture] = choose(_REFERENCES, text, what="architecture")
    return builder(text)


def stated_sizes(name_or_path: str | Path) -> dict[str, int]:
    """The `num_classes` and `in_channels` that an architecture's file states; a name has none.

    A run writes them into its files, so that they are counted for its own data. Raises InputError
    where one is no whole number from 1.
    """
    text = str(name_or_path)
    if text in _REFERENCES or not Path(text).is_file():
        return {}
    return _taken_sizes(read_mapping(Path(text)), text)


def _taken_sizes(data: dict[str, Any], source: str) -> dict[str, int]:
    """Take the two sizes out of the data of a file; what is left is the architecture."""
    names = ("num_classes", "in_channels")
    sizes: dict[str, int] = {name: data.pop(name) for name in names if name in data}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError(f"{source}: {name} must be a whole number from 1, but got {size!r}")
    return sizes
