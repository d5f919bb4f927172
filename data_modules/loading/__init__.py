"""Which studies a step sees: splits by patient, checks, resumable order, loading processes."""
