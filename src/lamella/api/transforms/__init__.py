"""Functions to functions: gradients, batches, whole Jacobians, derivatives that a user states,
products of few bits.

Read first: `gradients.value_and_grad`, then `batching.vmap`.
"""
