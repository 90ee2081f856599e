"""Networks side by side, trained and measured alike: the paper's tables."""
