"""What is computed once and read by every arm and trial: reference log-probs and image features, on disk."""
