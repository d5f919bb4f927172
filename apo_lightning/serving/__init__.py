"""The student writes through a server of vLLM or SGLang: its adapter, its questions, and the client."""
