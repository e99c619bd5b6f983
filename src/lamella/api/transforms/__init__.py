"""Functions to functions: gradients, batches, whole Jacobians, derivatives that a user states.

Read first: `gradients.value_and_grad`, then `batching.vmap`.
"""
