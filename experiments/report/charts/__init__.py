"""Figures as data, drawn once by matplotlib (files, print) and once by plotly (the page)."""
