"""The block families: one file each, with its data, its module and how it widens."""

from typing import Annotated

from pydantic import Field

from search_spaces.blocks.block import Block, Conventions, Layer
from search_spaces.blocks.convolution import Convolution, Normalisation
from search_spaces.blocks.dense import Dense
from search_spaces.blocks.highway import Highway
from search_spaces.blocks.inception import Inception, InceptionResidual, InceptionStem
from search_spaces.blocks.mbconv import DepthwiseSeparable, FusedMBConv, MBConv
from search_spaces.blocks.pooling import Pool
from search_spaces.blocks.residual import Basic, Bottleneck

AnyBlock = Annotated[
    Convolution
    | MBConv
    | FusedMBConv
    | DepthwiseSeparable
    | Pool
    | Normalisation
    | Basic
    | Bottleneck
    | Inception
    | InceptionStem
    | InceptionResidual
    | Dense
    | Highway,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyBlock",
    "Basic",
    "Block",
    "Bottleneck",
    "Conventions",
    "Convolution",
    "Dense",
    "DepthwiseSeparable",
    "FusedMBConv",
    "Highway",
    "Inception",
    "InceptionResidual",
    "InceptionStem",
    "Layer",
    "MBConv",
    "Normalisation",
    "Pool",
]
