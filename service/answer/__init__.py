"""Which regularisation helps, and how sure that is: replicates, tests, parts, the answer."""
