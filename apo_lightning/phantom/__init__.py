"""The embedded world: drawn frontal chest radiographs with known findings, and words for them."""
