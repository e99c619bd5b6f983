"""Floor 14: a model file behind the Open Inference Protocol, with bounds that are kept.

Purpose: registry of models, admission, dynamic batching, the protocol's messages, the server.
May import: the floors up to `formats`.
Read first: `batcher.Batcher`, `lane.Lane`, `server.serve`.
"""
