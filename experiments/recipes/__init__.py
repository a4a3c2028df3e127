"""How a network is trained, as data: shipped recipes by name, and the user's own."""

from experiments.recipes.settings import TrainConfig
from experiments.recipes.shipped import list_recipes, load_recipe

__all__ = ["TrainConfig", "list_recipes", "load_recipe"]
