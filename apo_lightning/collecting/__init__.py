"""Asking teachers over HTTP: who may be asked what, with which key, and how nothing that was paid for is lost."""
