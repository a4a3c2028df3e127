"""Colours by role, for light and dark backgrounds.

Hues of Okabe and Ito, which colour-blind eyes tell apart too, each at least 3 to 1 against its
background. Marks of unlike meaning differ in shape or dash as well.
"""

LIGHT = {
    "ink": "#1f2328",
    "soft": "#59626c",
    "line": "#dde2e7",
    "paper": "#ffffff",
    "grey": "#8b949e",
    "blue": "#0067b3",
    "orange": "#c96a00",
    "green": "#00805c",
    "red": "#c2331f",
    "purple": "#a0489b",
    "sky": "#2b92c9",
}
DARK = {
    "ink": "#e6e9ec",
    "soft": "#a3abb4",
    "line": "#343b43",
    "paper": "#15181c",
    "grey": "#757e88",
    "blue": "#56a8ee",
    "orange": "#f2a33c",
    "green": "#3cc29a",
    "red": "#ff7d6b",
    "purple": "#d88fd2",
    "sky": "#86d1f7",
}
BLUE, ORANGE, GREY = (LIGHT[role] for role in ("blue", "orange", "grey"))
