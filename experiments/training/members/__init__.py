"""Training one network fully: `scaler train`, on one process or several."""
