"""What a stage iterates (``examples``), and how it becomes tensors (``collate``)."""
