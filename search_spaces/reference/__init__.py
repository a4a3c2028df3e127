"""The named architectures of the literature."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from search_spaces.architecture import Architecture
from search_spaces.records import choose, read_mapping
from search_spaces.reference.densenet import CIFAR, IMAGENET, densenet
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
    resnext,
)
from search_spaces.reference.vgg import TABLE_1, vgg

Builder = Callable[[], Architecture]


def _named(
    builder: Callable[..., Architecture], name: str, *key: object, **options: object
) -> Builder:
    """`builder` for a table's row, where the network's name does not follow from the row."""
    return partial(builder, *key, name=name, **options)


_CIFAR_PRE = {"order": "full_pre_activation", "shortcut": "B"}
_CIFAR_ORIGINAL = {"order": "original"}

_REFERENCES: dict[str, Builder] = {
    **{name: partial(vgg, name) for name in TABLE_1},
    **{f"{name}_bn": partial(vgg, name, norm=True) for name in TABLE_1 if name != "vgg11_lrn"},
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
    **{f"resnet{n}": _named(resnet, f"resnet{n}", n) for n in BASIC},
    **{f"resnet{n}": _named(bottleneck_resnet, f"resnet{n}", n) for n in BOTTLENECK},
    **{
        f"resnet{n}_v1": _named(bottleneck_resnet, f"resnet{n}_v1", n, stride_on="1x1")
        for n in BOTTLENECK
    },
    **{f"resnet{n}_a": _named(resnet, f"resnet{n}_a", n, shortcut="A") for n in BASIC},
    **{f"resnet{n}_c": _named(resnet, f"resnet{n}_c", n, shortcut="C") for n in BASIC},
    **{f"plain{n}": _named(resnet, f"plain{n}", n, shortcut="none") for n in BASIC},
    **{name: partial(resnext, name) for name in RESNEXT},
    **{f"cifar_resnet{n}": _named(cifar_resnet, f"cifar_resnet{n}", n) for n in CIFAR_DEPTHS},
    **{
        f"cifar_resnet{n}_b": _named(cifar_resnet, f"cifar_resnet{n}_b", n, shortcut="B")
        for n in CIFAR_DEPTHS[:-1]
    },
    **{
        f"cifar_plain{n}": _named(cifar_resnet, f"cifar_plain{n}", n, shortcut="none")
        for n in CIFAR_DEPTHS[:-1]
    },
    **{
        f"cifar_resnet110_{order}": _named(
            cifar_resnet, f"cifar_resnet110_{order}", 110, order=order
        )
        for order in ORDERS
    },
    **{
        f"cifar_resnet{n}": _named(cifar_bottleneck_resnet, f"cifar_resnet{n}", n, **_CIFAR_PRE)
        for n in (164, 1001)
    },
    **{
        f"cifar_resnet164_original_{shortcut.lower()}": _named(
            cifar_bottleneck_resnet,
            f"cifar_resnet164_original_{shortcut.lower()}",
            164,
            shortcut=shortcut,
            **_CIFAR_ORIGINAL,
        )
        for shortcut in ("A", "B")
    },
    **{name: partial(cifar_resnext, name) for name in CIFAR_RESNEXT},
    **{f"cifar_highway{n}": partial(highway, n) for n in HIGHWAY},
    **{name: partial(densenet, name) for name in (*IMAGENET, *CIFAR)},
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    **{f"mnasnet_{member}": partial(mnasnet, member) for member in MNASNET},
    **{
        f"efficientnet_{member}": partial(efficientnet, member)
        for member in (*RELEASED, *RELEASED_LITE)
    },
}


def list_architectures() -> list[str]:
    """The names that `load_architecture` knows."""
    return list(_REFERENCES)


def load_architecture(name_or_path: str | Path) -> Architecture:
    """An architecture by its name (`efficientnet_b0`) or from a YAML or JSON file.

    Raises InputError for an unknown name, an unreadable file or an architecture that breaks a rule.
    """
    text = str(name_or_path)
    if text in _REFERENCES:
        return _REFERENCES[text]()
    path = Path(text)
    if path.suffix in (".yaml", ".yml", ".json") or path.exists():
        return Architecture.parse(read_mapping(path), source=text)
    builder: Callable[[], Architecture] = choose(_REFERENCES, text, what="architecture")
    return builder()
