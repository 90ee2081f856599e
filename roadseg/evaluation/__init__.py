"""Accuracy: confusion matrix (G, C, mIoU), boundary F1, and a backend's scores on a data set."""
