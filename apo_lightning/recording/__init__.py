"""Open models as teachers: what they write about studies, and how likely each token of it was to them, kept on disk."""
