"""Segmenters: U-Net, FCN on VGG-16, and FCN, DeepLab, U-Net and FPN heads on classifiers' bodies.

Ronneberger et al., arXiv:1505.04597; Long et al., arXiv:1411.4038; Chen et al., arXiv:1706.05587;
Kirillov et al., arXiv:1901.02446.
The figures of torchvision's are without their auxiliary heads.
"""

from collections.abc import Callable
from typing import Literal

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Conventions, Convolution
from search_spaces.heads import DeepLabHead, FCNHead, FPNHead, Pixels, UNetHead
from search_spaces.reference.efficientnet import efficientnet
from search_spaces.reference.resnet import CONVENTIONS, dilated_bottleneck_resnet, resnet
from search_spaces.reference.vgg import vgg

DECODER = (256, 128, 64, 32, 16)  # segmentation_models_pytorch's widths, from coarse to fine


def unet(name: str, *, norm: Literal["batch_norm", "none"]) -> Architecture:
    """Figure 1 of arXiv:1505.04597 with padded convolutions: `unet` with biases, `unet_bn`."""
    block = Convolution(
        kernel_size=3, activation="relu", norm=norm, bias=norm == "none", downsample="max_pool"
    )
    widths = (128, 256, 512, 1024)
    return Architecture(
        name=name,
        resolution=512,
        stem=Stem(channels=64, stride=1, block=block),
        stages=(
            Stage(channels=64, layers=1, stride=1, block=block),
            *(Stage(channels=width, layers=2, stride=2, block=block) for width in widths),
        ),
        head=UNetHead(kind="unet", widths=(512, 256, 128, 64), up="deconvolution", norm=norm),
        conventions=CONVENTIONS,
    )


def fcn_vgg16(name: str, *, skips: int) -> Architecture:
    """FCN-32s, 16s and 8s on VGG-16, whose fully connected layers became convolutions.

    The Caffe nets pad the image by 100 pixels, so that a 7 x 7 kernel without padding fits; here
    that kernel is padded instead: the same parameters, fewer FLOPs, nothing to crop.
    """
    body = vgg(name, column="vgg16")
    pools = [i for i, stage in enumerate(body.stages) if stage.stride > 1]  # what the paper reads
    head = FCNHead(
        kind="fcn",
        widths=(4096, 4096),
        kernel_size=7,
        skips=skips,
        up="deconvolution",
        norm="none",
        dropout=0.5,
        reads=tuple(pools),
    )
    return body.replace(resolution=512, head=head)


def fcn_resnet(name: str, *, depth: int) -> Architecture:
    """torchvision's fcn_resnet50 and fcn_resnet101, at output stride 8."""
    body = dilated_bottleneck_resnet(name, depth=depth)
    head = FCNHead(kind="fcn", widths=(512,), dropout=0.1)
    return body.replace(resolution=520, head=head)


def deeplabv3_resnet(name: str, *, depth: int) -> Architecture:
    """torchvision's deeplabv3_resnet50 and deeplabv3_resnet101, at output stride 8."""
    body = dilated_bottleneck_resnet(name, depth=depth)
    return body.replace(resolution=520, head=DeepLabHead(kind="deeplab"))


def unet_resnet34(name: str) -> Architecture:
    """segmentation_models_pytorch's Unet on resnet34."""
    head = UNetHead(kind="unet", widths=DECODER, up="nearest", scores_kernel_size=3)
    return resnet(name, depth=34).replace(resolution=512, head=head)


def unet_efficientnet_b0(name: str) -> Architecture:
    """segmentation_models_pytorch's Unet on efficientnet-b0; it reads the stem at stride 2."""
    reads: tuple[int | Literal["stem"], ...] = ("stem", 1, 2, 4, 7)
    head = UNetHead(kind="unet", widths=DECODER, up="nearest", scores_kernel_size=3, reads=reads)
    return split_efficientnet_b0(name).replace(head=head)


def split_efficientnet_b0(name: str) -> Architecture:
    """segmentation_models_pytorch's efficientnet-b0 at 512 px.

    At stride 16 its heads read the first of the three layers of 112 channels, which is therefore a
    stage of its own here.
    """
    body = efficientnet(name, member="b0")
    *before, wide, sixth, last = body.stages
    split = (wide.replace(layers=1), wide.replace(layers=wide.layers - 1))
    same: Conventions = body.conventions.replace(padding="same")
    stages = (*before, *split, sixth, last)
    return body.replace(resolution=512, stages=stages, conventions=same)


def fpn_resnet34(name: str) -> Architecture:
    """segmentation_models_pytorch's FPN on resnet34."""
    return resnet(name, depth=34).replace(resolution=512, head=smp_fpn())


def fpn_efficientnet_b0(name: str) -> Architecture:
    """segmentation_models_pytorch's FPN on efficientnet-b0."""
    return split_efficientnet_b0(name).replace(head=smp_fpn(reads=(1, 2, 4, 7)))


def smp_fpn(reads: tuple[int, ...] | None = None) -> FPNHead:
    """Its decoder: levels of 256 channels at strides 4 to 32, and convolutions of 128."""
    pixels = Pixels(kind="pixels", norm="group_norm_4", up="bilinear_corners", dropout=0.2)
    return FPNHead(kind="fpn", levels=(4, 8, 16, 32), predictor=pixels, reads=reads)


SEGMENTERS: dict[str, Callable[[str], Architecture]] = {
    "unet": lambda name: unet(name, norm="none"),
    "unet_bn": lambda name: unet(name, norm="batch_norm"),
    "fcn32s_vgg16": lambda name: fcn_vgg16(name, skips=1),
    "fcn16s_vgg16": lambda name: fcn_vgg16(name, skips=2),
    "fcn8s_vgg16": lambda name: fcn_vgg16(name, skips=3),
    "fcn_resnet50": lambda name: fcn_resnet(name, depth=50),
    "fcn_resnet101": lambda name: fcn_resnet(name, depth=101),
    "deeplabv3_resnet50": lambda name: deeplabv3_resnet(name, depth=50),
    "deeplabv3_resnet101": lambda name: deeplabv3_resnet(name, depth=101),
    "unet_resnet34": unet_resnet34,
    "unet_efficientnet_b0": unet_efficientnet_b0,
    "fpn_resnet34": fpn_resnet34,
    "fpn_efficientnet_b0": fpn_efficientnet_b0,
}
