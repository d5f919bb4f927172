"""Asking teachers over a network: what is asked of whom, each answer on disk as it comes, limits, budgets, batches."""
