"""Training: recipes, augmentation, losses and a loop that survives interruption."""
