"""What cheap evaluations are worth: short trainings and zero-cost scores against longer ones."""
