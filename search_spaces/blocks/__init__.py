"""The block families: one file each, with its data, its module and how it widens."""

from typing import Annotated

from pydantic import Field

from search_spaces.blocks.block import Block, Conventions, Layer
from search_spaces.blocks.convolution import Convolution
from search_spaces.blocks.mbconv import MBConv

AnyBlock = Annotated[Convolution | MBConv, Field(discriminator="kind")]

__all__ = ["AnyBlock", "Block", "Conventions", "Convolution", "Layer", "MBConv"]
