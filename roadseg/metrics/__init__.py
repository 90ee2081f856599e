"""How good labels are: confusion matrix (G, C, mIoU) and boundary F1."""
