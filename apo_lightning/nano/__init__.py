"""The recipe of the embedded student, a real Qwen2.5-VL of about 2 M parameters: ``make nano`` rebuilds it."""
