"""Drift between teachers, measured on their texts: how they disagree, and how that moves over steps and stream."""
