"""Pure tensor maths: tensors in, tensors out; no modules, no settings, no logging."""
