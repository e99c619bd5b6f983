"""What a plan costs: operations, bytes and predicted time, from the code of its kernels.

Read first: `cost.price`, `timing`, `profile.Profile`.
"""
